"""Measure heads on the frozen bases of the folds: ESC-10, ESC-50, unknown classes, few clips.

    python -m tools.evaluate_base path/to/ESC-50 --bank bank --bases bases --out figures.json

`bases` holds `base-fold-1.safetensors` to `5`. The base of a fold has met no clip of it nor another
take of their sources; every figure of the fold comes from that base. With `--teacher` the teacher's
embedding, which is not causal, is measured in its place. Heads, see `tools.base_heads`: regression
on the unchanged training clips, filled up with silence to 5.12 s; and distilled, on augmented
crops, with three seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from tools.base_bank import Bank
from tools.base_heads import (
    CLIPS,
    STRENGTH,
    Array,
    Clips,
    Distilled,
    Labels,
    Mask,
    Regression,
    embed_crops,
)

from earmark.training.similarity import Whitening, class_means, fit_known, nearest_cosine

FOLDS = (1, 2, 3, 4, 5)
SEEDS = (0, 1, 2)
NEAREST = 3
DRAWS = 10
_FEW_STRENGTH = 0.1


class Features:
    """Embeddings of the crops of a bank by one base, or by the teacher.

    Attributes:
        x: `(crops, 384)`, of which the first 2000 are the unchanged clips.
        teacher: the teacher's, of the same crops.
        clip: number of each crop's first clip.
    """

    def __init__(self, x: Array, teacher: Array, clip: Labels) -> None:
        self.x, self.teacher, self.clip = x, teacher, clip

    def fit_head(self, kind: str, use: Mask, label: Labels, seed: int) -> Regression | Distilled:
        """Return a head.

        Args:
            kind: `regression` or `distilled`.
            use: the training clips, `(2000,)`.
            label: of every clip, `(2000,)`.
            seed: see `Distilled`.
        """
        if kind == "regression":
            return Regression(self.x[:CLIPS][use], label[use])
        crops = use[self.clip]
        clean = np.flatnonzero(crops) < CLIPS
        y = label[self.clip[crops]]
        return Distilled(self.x[crops], self.teacher[crops], y, clean, seed)


def measure_accuracy(
    clips: Clips, own: Features, fold: int, *, kind: str, seed: int
) -> dict[str, float]:
    """Return the accuracies of one fold in percent: fifty classes, ten among them, ten alone."""
    ten = np.unique(clips.label[clips.known])
    x, train, test = own.x[:CLIPS], clips.fold != fold, clips.fold == fold
    scores = own.fit_head(kind, train, clips.label, seed).probabilities(x[test])
    right, inside = scores.argmax(1) == clips.label[test], clips.known[test]
    restricted = ten[scores[inside][:, ten].argmax(1)] == clips.label[test][inside]
    train, test = train & clips.known, test & clips.known
    alone = own.fit_head(kind, train, clips.label, seed).probabilities(x[test]).argmax(1)
    return {
        "ESC-50": 100 * float(right.mean()),
        "ESC-10 among fifty": 100 * float(right[inside].mean()),
        "ESC-10 of fifty, restricted to ten": 100 * float(restricted.mean()),
        "ESC-10, ten-class head": 100 * float((ten[alone] == clips.label[test]).mean()),
    }


def next_clips(x: Array, y: Labels, known: Mask, asked: Array) -> Array:
    """Return how near embeddings lie to training clips of a class: mean cosine to the next three.

    Args:
        x: training embeddings, `(clips, 384)`, clips of no class among them if there are any.
        y: their labels: those of no class under their own, so that their spread counts too.
        known: which of them are of a class.
        asked: `(asked, 384)`.
    """
    whitening = Whitening.fit(x, y, x.shape[1])
    cosines = whitening(asked) @ whitening(x[known]).T
    nearest: Array = np.sort(cosines, axis=1)[:, -NEAREST:].mean(1)
    return nearest


def class_similarity(
    x: Array, y: Labels, known: Mask, group: NDArray[np.str_], asked: list[Array]
) -> list[tuple[Array, Array]]:
    """Return the largest cosine with a class's mean, and how likely it makes any class.

    The second is fitted to the training clips alone: each of a class against means without
    clips of its source, each also as if its class were none, and those of no class.

    Args:
        x: see `next_clips`.
        y: see `next_clips`.
        known: see `next_clips`.
        group: source of each training clip.
        asked: embeddings, `(asked, 384)` each.
    """
    whitening = Whitening.fit(x, y)
    inside, labels = whitening(x[known]), y[known]
    means = class_means(inside, labels)
    cosines = inside @ means.T
    own = np.searchsorted(np.unique(labels), labels)
    left = np.array(
        [
            inside[(labels == label) & (group[known] != source)].mean(0)
            for label, source in zip(labels, group[known], strict=True)
        ]
    )
    cosines[np.arange(len(own)), own] = -1.0
    without = cosines.max(1)
    alone = (inside * left).sum(1) / np.linalg.norm(left, axis=1)
    others = nearest_cosine(whitening(x[~known]), means) if (~known).any() else np.zeros(0)
    slope, offset = fit_known(np.maximum(alone, without), [without, others])
    found = [nearest_cosine(whitening(part), means) for part in asked]
    return [(cosine, 1 / (1 + np.exp(-(slope * cosine + offset)))) for cosine in found]


def compare(known: Array, unknown: Array) -> tuple[float, float]:
    """Return AUROC, and the share of the unknown accepted where 95 % of the known are."""
    truth = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    accepted = (unknown >= np.quantile(known, 0.05)).mean()
    return float(roc_auc_score(truth, np.r_[known, unknown])), float(accepted)


def fit_sigmoids(x: Array, y: Labels) -> Callable[[Array], Array]:
    """Return what gives each class a probability of its own, `(clips, classes)`.

    A logistic regression for each class against all others, as strong as `Regression`. (Its
    `predict_proba` would divide them by their sum.)
    """
    mean, scale = x.mean(0), x.std(0) + 1e-6
    model = OneVsRestClassifier(LogisticRegression(C=STRENGTH, max_iter=400))
    model.fit((x - mean) / scale, y)
    return lambda asked: 1 / (1 + np.exp(-model.decision_function((asked - mean) / scale)))


def measure_rejection(clips: Clips, own: Features, fold: int) -> dict[str, tuple[float, float]]:
    """Return AUROC and accepted share of ESC-10's clips of a fold against clips of no class.

    Nothing known but the ten classes; the forty others as negatives; and eight of the forty
    unknown, the other 32 as negatives, the mean over the five eights.
    """
    x, train, test = own.x[:CLIPS], clips.fold != fold, clips.fold == fold
    ten = np.unique(clips.label[clips.known])
    others = np.random.default_rng(0).permutation(np.unique(clips.label[~clips.known]))
    inside, outside = test & clips.known, test & ~clips.known
    settings = [("ten alone", train & clips.known, outside), ("forty as negatives", train, outside)]
    for part in range(5):
        unmet = np.isin(clips.label, others[8 * part : 8 * part + 8])
        settings.append(
            ("32 as negatives, 8 others unknown", train & ~unmet, outside & unmet),
        )
    found: dict[str, list[tuple[float, float]]] = {}
    for name, use, unknown in settings:
        head = Regression(x[use], clips.label[use])
        ours = np.isin(head.classes, ten)
        pair = [head.probabilities(x[part])[:, ours].max(1) for part in (inside, unknown)]
        found.setdefault(f"{name}, largest probability of the ten", []).append(compare(*pair))
        energies = [
            np.logaddexp.reduce(head.logits(x[part])[:, ours], axis=1) for part in (inside, unknown)
        ]
        found.setdefault(f"{name}, energy of the ten", []).append(compare(*energies))
        sigmoids = fit_sigmoids(x[use], clips.label[use])
        apart = [sigmoids(x[part])[:, ours].max(1) for part in (inside, unknown)]
        found.setdefault(f"{name}, largest of the ten's sigmoids", []).append(compare(*apart))
        given = x[use], clips.label[use], clips.known[use]
        nearest = [next_clips(*given, x[part]) for part in (inside, unknown)]
        found.setdefault(f"{name}, next three clips", []).append(compare(*nearest))
        likely = class_similarity(*given, clips.group[use], [x[inside], x[unknown]])
        found.setdefault(f"{name}, class means", []).append(compare(*(c for c, _ in likely)))
        both = [top * known for top, (_, known) in zip(pair, likely, strict=True)]
        found.setdefault(f"{name}, largest probability times any class's", []).append(
            compare(*both)
        )
    return {
        name: (float(np.mean([p[0] for p in pairs])), float(np.mean([p[1] for p in pairs])))
        for name, pairs in found.items()
    }


def measure_few_clips(clips: Clips, own: Features, fold: int, count: int) -> float:
    """Return the mean accuracy, in percent, over ten draws of five classes, `count` clips each.

    Training clips come from the other four folds; tested are all clips of the fold of these
    classes. The embeddings are standardised by all of the other folds, without their labels.
    """
    x, right = own.x[:CLIPS], []
    everything = x[clips.fold != fold]
    mean, scale = everything.mean(0), everything.std(0) + 1e-6
    for draw in range(DRAWS):
        rng = np.random.default_rng((count, draw))
        classes = rng.choice(len(clips.names), 5, replace=False)
        pools = [np.flatnonzero((clips.label == c) & (clips.fold != fold)) for c in classes]
        train = np.concatenate([rng.choice(pool, count, replace=False) for pool in pools])
        test = np.flatnonzero(np.isin(clips.label, classes) & (clips.fold == fold))
        model = LogisticRegression(C=_FEW_STRENGTH, max_iter=400)
        model.fit((x[train] - mean) / scale, clips.label[train])
        right.append(np.mean(model.predict((x[test] - mean) / scale) == clips.label[test]))
    return 100 * float(np.mean(right))


def measure_fold(clips: Clips, own: Features, fold: int, kinds: list[str]) -> dict[str, Any]:
    """Return every figure of one fold."""
    figures: dict[str, Any] = {}
    for kind in kinds:
        for seed in SEEDS if kind == "distilled" else SEEDS[:1]:
            for name, value in measure_accuracy(clips, own, fold, kind=kind, seed=seed).items():
                figures.setdefault(f"{kind}, {name}", []).append(value)
    figures |= measure_rejection(clips, own, fold)
    for count in (1, 5, 10):
        name = f"five classes, {count} clips each"
        figures[name] = measure_few_clips(clips, own, fold, count)
    return figures


def main() -> None:
    """Measure, print each fold and the mean of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--bank", type=Path, required=True, help="the one with the clips")
    parser.add_argument("--bases", type=Path, help="folder of the folds' bases")
    parser.add_argument("--teacher", action="store_true", help="measure the teacher's embedding")
    parser.add_argument("--folds", type=int, nargs="+", default=FOLDS)
    parser.add_argument("--crops", type=int, default=6000, help="for the distilled heads")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.teacher == (args.bases is not None):
        parser.error("give one of --bases and --teacher")
    torch.set_num_threads(1)
    clips, bank = Clips(args.esc50), Bank([args.bank])
    crops = np.arange(args.crops)
    teacher = bank.read_steps(crops).mean(1).double().numpy()
    clip = np.array([row["clips"][0] for row in bank.rows[: args.crops]])
    kinds = ["regression"] if args.teacher else ["regression", "distilled"]
    found = {}
    for fold in args.folds:
        x = teacher
        if args.bases:
            x = embed_crops(args.bases / f"base-fold-{fold}.safetensors", bank, args.crops)
        found[fold] = measure_fold(clips, Features(x, teacher, clip), fold, kinds)
        print(f"fold {fold}: {json.dumps(found[fold])}", flush=True)
    for name in found[args.folds[0]]:
        mean = np.mean([np.atleast_1d(found[fold][name]) for fold in args.folds], axis=0)
        print(f"{name}: {np.round(mean, 3).tolist()}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
