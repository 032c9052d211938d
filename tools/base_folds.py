"""The heads of the folds' bases: what they say of clips that base and head have not met."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tools.base_bank import Bank, read_clip
from tools.base_heads import CLIPS, Array, Clips, Distilled, Labels, Mask, embed_crops
from tools.base_network import FRONT_END, embed, load_base
from torch import Tensor

from earmark.config import Calibration
from earmark.data.dataset import generate_negative_frames
from earmark.data.synthetic.negatives import KINDS
from earmark.decision.calibration import fit_calibration, with_temperature
from earmark.decision.policy import NO_CLASS, Policy
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.features import LogMel
from earmark.training.similarity import Whitening, class_means, fit_known, nearest_cosine

FOLDS = (1, 2, 3, 4, 5)
CROPS = 6000  # of the bank, that teach a head: three of each clip
NEGATIVES = 400  # generated clips of no class that set a model's thresholds; as many test
TRAIN_NEGATIVES = 600  # that train a head
RATE = 0.05  # of them may be accepted ...
KIND_RATE = 0.02  # ... and of each kind of them for any one class, so that noise is not wind
OTHERS_RATE = 0.15  # of clips may be accepted as if their own class were none
THRESHOLD_SEED, _TEST_SEED, _TRAIN_SEED = 10**9, 2 * 10**9, 3 * 10**9
NEGATIVE_KINDS = len(KINDS) + 1  # they come in turn; babble comes twice


class BaseHead:
    """A head on a frozen base: a linear layer taught by the teacher's head, and a similarity.

    Args:
        path: file of the base.
        bank: the crops, of which the first are the clips.
        clips: the table.
        use: the clips that it may learn from, `(2000,)`.
        seed: see `Distilled`.

    Attributes:
        base: the base.
        record: how the base was trained.
        distilled: the linear layer.
        whitening: of the similarity.
        means: of the classes, whitened.
    """

    def __init__(self, path: Path, bank: Bank, clips: Clips, use: Mask, seed: int = 0) -> None:
        self.base, self.record = load_base(path)
        x = embed_crops(path, bank, CROPS)
        teacher = bank.read_steps(np.arange(CROPS)).mean(1).double().numpy()
        taken = np.array([bool(use[row["clips"]].all()) for row in bank.rows[:CROPS]])
        label = clips.label[[row["clips"][0] for row in bank.rows[:CROPS]]]
        self.distilled = Distilled(
            x[taken],
            teacher[taken],
            label[taken],
            np.flatnonzero(taken) < CLIPS,
            seed,
            negatives=embed_negatives(self.base, _TRAIN_SEED, TRAIN_NEGATIVES),
        )
        self.whitening = Whitening.fit(x[:CLIPS][use], clips.label[use])
        self.means = class_means(self.whitening(x[:CLIPS][use]), clips.label[use])

    def scores_of_negatives(self, seed: int) -> tuple[Array, Array]:
        """Return scores and cosines of generated sounds of no class."""
        negatives = embed_negatives(self.base, seed)
        return self.distilled.probabilities(negatives), self.cosine(negatives)

    def cosine(self, x: Array) -> Array:
        """Return the largest cosine of embeddings `(clips, 384)` with a class's mean."""
        return nearest_cosine(self.whitening(x), self.means)

    def cosine_without(self, x: Array, labels: Labels) -> Array:
        """Return the largest cosine with the mean of a class that is not a clip's own."""
        cosines = self.whitening(x) @ self.means.T
        cosines[np.arange(len(x)), labels] = -1.0
        largest: Array = cosines.max(1)
        return largest


@dataclass(frozen=True)
class FoldScores:
    """What the head of a fold says of clips that it has not met.

    Attributes:
        fold: the official fold.
        epochs: for which its base was trained.
        labels: of the fold's clips.
        known: which of them are of ESC-10.
        scores: a softmax of each, `(clips, classes)`.
        cosine: see `BaseHead.cosine`.
        cosine_without: see `BaseHead.cosine_without`: as if their class were none.
        negatives: scores and cosines of two sets of generated negatives: for thresholds, for tests.
    """

    fold: int
    epochs: float
    labels: Labels
    known: Mask
    scores: Array
    cosine: Array
    cosine_without: Array
    negatives: tuple[tuple[Array, Array], ...]

    def without_own(self) -> Array:
        """Return the scores as if each clip's own class were none: a softmax of the others."""
        scores = self.scores.copy()
        scores[np.arange(len(scores)), self.labels] = 0.0
        rest: Array = scores / scores.sum(1, keepdims=True)
        return rest


def score_fold(clips: Clips, bank: Bank, bases: Path, fold: int) -> FoldScores:
    """Return what the head of a fold says; neither base nor head has met a clip of it."""
    path, test = bases / f"base-fold-{fold}.safetensors", clips.fold == fold
    head = BaseHead(path, bank, clips, ~test)
    if head.record["test_fold"] != [fold]:
        raise SystemExit(f"{path}: was not trained with fold {fold} held out")
    x = embed_clips(head.base, [clips.paths[n] for n in np.flatnonzero(test)])
    labels, scores = clips.label[test], head.distilled.probabilities(x)
    print(f"fold {fold}: {100 * (scores.argmax(1) == labels).mean():.2f} %", flush=True)
    return FoldScores(
        fold=fold,
        epochs=head.record["epochs"],
        labels=labels,
        known=clips.known[test],
        scores=scores,
        cosine=head.cosine(x),
        cosine_without=head.cosine_without(x, labels),
        negatives=tuple(head.scores_of_negatives(seed) for seed in (THRESHOLD_SEED, _TEST_SEED)),
    )


@dataclass(frozen=True)
class Decision:
    """What makes scores of logits and of cosines, and labels of scores.

    Attributes:
        slope: see `earmark.nn.similarity.Similarity`.
        offset: the same.
        calibration: temperature and thresholds.
    """

    slope: float
    offset: float
    calibration: Calibration

    @classmethod
    def fit(cls, rows: list[FoldScores], own: tuple[Array, Array]) -> Decision:
        """Fit it to what the heads of some folds say.

        The probability of any class is fitted to the folds' clips, against the same clips as if
        their own class were none, and against generated negatives. The temperature is the geometric
        mean of the folds', each threshold the median; but of each kind of generated negatives no
        class takes more than its rate in the model that is decided on.

        Args:
            rows: what the heads say of their folds.
            own: scores and cosines of generated negatives by the model that it is for.
        """
        known = np.concatenate([row.cosine for row in rows])
        unknown = [
            np.concatenate([row.cosine_without for row in rows]),
            np.concatenate([row.negatives[0][1] for row in rows]),
        ]
        slope, offset = (round(value, 4) for value in fit_known(known, unknown))
        plain = cls(slope, offset, Calibration())
        found = [
            fit_calibration(
                row.labels,
                plain.scores(row.scores, row.cosine),
                plain.scores(*row.negatives[0]),
                RATE,
            )
            for row in rows
        ]
        temperature = float(np.exp(np.mean([np.log(one.temperature) for one in found])))
        others = [
            with_temperature(
                plain.scores(row.without_own(), row.cosine_without), one.temperature
            ).max(1)
            for row, one in zip(rows, found, strict=True)
        ]
        lowest = [np.quantile(top, 1 - OTHERS_RATE, method="higher") for top in others]
        each = np.maximum([one.thresholds for one in found], np.array(lowest)[:, None])
        raised = _highest_of_kinds(with_temperature(plain.scores(*own), temperature))
        thresholds = np.maximum(np.median(each, axis=0), raised)
        calibration = Calibration(
            round(temperature, 4),
            tuple(round(float(threshold), 6) for threshold in thresholds),
            RATE,
            sum(one.clips for one in found),
            sum(one.negatives for one in found),
        )
        return cls(slope, offset, calibration)

    def scores(self, softmax: Array, cosine: Array) -> NDArray[np.float32]:
        """Return the scores `(clips, classes)` as the model gives them."""
        known = 1 / (1 + np.exp(-(self.slope * cosine + self.offset)))
        return with_temperature(softmax * known[:, None], self.calibration.temperature)


def _highest_of_kinds(scores: NDArray[np.float32]) -> Array:
    """Return for each class what only its rate of any kind of generated negatives reaches."""
    kinds = [scores[number::NEGATIVE_KINDS] for number in range(NEGATIVE_KINDS)]
    highest: Array = np.max(
        [np.quantile(k, 1 - KIND_RATE, axis=0, method="higher") for k in kinds], 0
    )
    return highest


def measure(rows: list[FoldScores], names: list[str]) -> dict[str, Any]:
    """Return the figures of the heads of the folds, each decided as the other four folds say."""
    labels = np.concatenate([row.labels for row in rows])
    accepted, right, passed, others = [], [], [], []
    for row in rows:
        decision = Decision.fit([other for other in rows if other is not row], row.negatives[0])
        policy = Policy(decision.calibration.thresholds)
        decided = policy.decide(decision.scores(row.scores, row.cosine))
        accepted.append(decided != NO_CLASS)
        right.append(decided == row.labels)
        passed.append(policy.accepted(decision.scores(*row.negatives[1])))
        others.append(policy.accepted(decision.scores(row.without_own(), row.cosine_without)))
    most = np.concatenate([row.scores.argmax(1) for row in rows])
    known, kept = np.concatenate([row.known for row in rows]), np.concatenate(accepted)
    return {
        "epochs": [row.epochs for row in rows],
        "accuracy": float((most == labels).mean()),
        "fold_accuracies": [float((r.scores.argmax(1) == r.labels).mean()) for r in rows],
        "esc10_among_fifty": float((most == labels)[known].mean()),
        "coverage": float(kept.mean()),
        "accuracy_of_accepted": float(np.concatenate(right)[kept].mean()),
        "negatives_accepted": float(np.concatenate(passed).mean()),
        "others_accepted": float(np.concatenate(others).mean()),
        "per_class": {
            name: {
                "recall": float((most == labels)[labels == number].mean()),
                "precision": float((labels == number)[most == number].mean()),
                "accepted": float(kept[labels == number].mean()),
            }
            for number, name in enumerate(names)
        },
    }


@torch.inference_mode()
def embed_clips(base: LSTMClassifier, paths: list[Path]) -> Array:
    """Return embeddings `(clips, 384)` of files as they are; the rest after whole steps is cut."""
    front_end = LogMel(FRONT_END)
    found = []
    for path in paths:
        frames = front_end(torch.from_numpy(read_clip(path))[None])
        found.append(embed(base, frames)[0].numpy())
    return np.stack(found).astype(np.float64)


@functools.cache
def negative_frames(seed: int, count: int) -> Tensor:
    """Return the frames of generated sounds of no class, `(count, frames, mels)`."""
    return torch.from_numpy(generate_negative_frames(FRONT_END, count, seed))


@torch.inference_mode()
def embed_negatives(base: LSTMClassifier, seed: int, count: int = NEGATIVES) -> Array:
    """Return embeddings `(count, 384)` of generated sounds of no class."""
    parts = [embed(base, part).numpy() for part in negative_frames(seed, count).split(20)]
    return np.concatenate(parts).astype(np.float64)
