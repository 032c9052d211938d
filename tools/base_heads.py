"""Heads on the frozen base: logistic regression, and a layer taught by the teacher's head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tools.base_bank import Bank, read_table
from tools.base_network import encode_late, load_base
from torch import nn
from torch.nn import functional

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
CLIPS = 2000  # the bank's first crops are the unchanged clips, in the order of the table
STRENGTH = 0.01  # C of the logistic regression, not tuned
_TEACHER_STRENGTH = 0.03  # of the one on the teacher's embedding
_EPOCHS, _RATE, _BATCH, _DECAY, _DROPOUT = 30, 2e-3, 128, 1e-2, 0.3
_AT_ONCE = 32


class Clips:
    """The table of ESC-50, as arrays over its clips.

    Attributes:
        names: of the classes, sorted.
        label: of each clip, a place in `names`.
        fold: the official one, 1 to 5.
        known: whether the clip is of ESC-10.
        licence: of each clip.
        group: of each clip, the recording it was cut from.
        paths: of the files.
    """

    def __init__(self, esc50: Path) -> None:
        rows = read_table(esc50)
        self.names = sorted({row["label"] for row in rows})
        self.label = np.array([self.names.index(row["label"]) for row in rows])
        self.fold = np.array([int(row["fold"]) for row in rows])
        self.known = np.array([row["path"].startswith("../esc10") for row in rows])
        self.group = np.array([row["group"] for row in rows])
        self.licence = np.array([row["licence"] for row in rows])
        self.paths = [esc50 / row["path"] for row in rows]


@torch.inference_mode()
def embed_crops(path: Path, bank: Bank, count: int) -> Array:
    """Return a base's embeddings of the first crops of a bank, kept beside the base's file.

    Args:
        path: the base's file; `PATH.embeddings.npy` beside it is read where it is long enough.
        bank: the crops.
        count: how many of them.

    Returns:
        `(count, 384)`.
    """
    kept = path.with_name(f"{path.stem}.embeddings.npy")
    if kept.exists() and len(found := np.load(kept)) >= count:
        return found[:count].astype(np.float64)
    base, _ = load_base(path)
    parts = []
    for start in range(0, count, _AT_ONCE):
        early, _ = bank.read(np.arange(start, min(start + _AT_ONCE, count)))
        parts.append(encode_late(base, early).mean(1).numpy())
    np.save(kept, np.concatenate(parts))
    return np.concatenate(parts).astype(np.float64)


class Regression:
    """Logistic regression on standardised embeddings.

    Args:
        x: embeddings `(clips, 384)`.
        y: their labels.
        strength: C, the inverse of the regularisation.
        negatives: embeddings of sounds of no class, whose target is every class alike.
    """

    def __init__(
        self, x: Array, y: Labels, strength: float = STRENGTH, negatives: Array | None = None
    ) -> None:
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        weights = np.ones(len(x))
        if negatives is not None:
            classes = np.unique(y)
            x = np.concatenate([x, np.repeat(negatives, len(classes), axis=0)])
            y = np.concatenate([y, np.tile(classes, len(negatives))])
            rest = np.full(len(x) - len(weights), 1 / len(classes))
            weights = np.concatenate([weights, rest])
        self.model = LogisticRegression(C=strength, max_iter=400)
        self.model.fit((x - self.mean) / self.scale, y, sample_weight=weights)
        self.classes: Labels = self.model.classes_

    def probabilities(self, x: Array) -> Array:
        """Return `(clips, classes)`, in the order of `classes`."""
        found: Array = self.model.predict_proba((x - self.mean) / self.scale)
        return found

    def logits(self, x: Array) -> Array:
        """Return what the probabilities are the softmax of, `(clips, classes)`."""
        found: Array = self.model.decision_function((x - self.mean) / self.scale)
        return found

    def fold(self) -> tuple[Array, Array]:
        """Return weights `(classes, 384)` and bias of a linear layer on embeddings as they are."""
        weights: Array = self.model.coef_ / self.scale
        return weights, self.model.intercept_ - weights @ self.mean


class Distilled:
    """A linear softmax layer on all augmented crops, taught by a head on the teacher's embedding.

    Args:
        x: the base's embeddings of the crops of the training clips, `(crops, 384)`.
        teacher: the teacher's of the same crops.
        y: label of each crop's first clip; only those of `clean` are used.
        clean: which crops are unchanged clips: the teacher's head is fitted to these.
        seed: of order, dropout and first weights.
        negatives: embeddings of sounds of no class, whose target is every class alike; together
            they weigh half as much as the crops, or steady noise would pass for wind.
    """

    def __init__(
        self,
        x: Array,
        teacher: Array,
        y: Labels,
        clean: Mask,
        seed: int,
        *,
        negatives: Array | None = None,
    ) -> None:
        first = Regression(teacher[clean], y[clean], _TEACHER_STRENGTH)
        wanted = first.probabilities(teacher)
        self.classes = first.classes
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        if negatives is not None:
            more = np.resize(negatives, (len(x) // 2, x.shape[1]))
            x = np.concatenate([x, more])
            alike = np.full((len(more), len(self.classes)), 1 / len(self.classes))
            wanted = np.concatenate([wanted, alike])
        targets = torch.from_numpy(wanted).float()
        inputs = torch.from_numpy((x - self.mean) / self.scale).float()
        torch.manual_seed(seed)
        self.layer = nn.Linear(x.shape[1], len(self.classes))
        optimizer = torch.optim.AdamW(self.layer.parameters(), lr=_RATE, weight_decay=_DECAY)
        batch = min(_BATCH, len(x))
        per_epoch = len(x) // batch
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS * per_epoch)
        for _ in range(_EPOCHS):
            for chosen in torch.randperm(len(x))[: per_epoch * batch].split(batch):
                logits = self.layer(functional.dropout(inputs[chosen], _DROPOUT))
                optimizer.zero_grad()
                functional.cross_entropy(logits, targets[chosen]).backward()
                optimizer.step()
                schedule.step()

    @torch.inference_mode()
    def probabilities(self, x: Array) -> Array:
        """Return `(clips, classes)`, in the order of `classes`."""
        inputs = torch.from_numpy((x - self.mean) / self.scale).float()
        scores: Array = self.layer(inputs).softmax(1).double().numpy()
        return scores

    def fold(self) -> tuple[Array, Array]:
        """Return weights `(classes, 384)` and bias of a linear layer on embeddings as they are."""
        weights = self.layer.weight.detach().double().numpy() / self.scale
        bias = self.layer.bias.detach().double().numpy()
        return weights, bias - weights @ self.mean
