"""Plain baselines on the clips of a split: what a model should be worth more than.

The largest class, and a support vector machine on statistics of mel-frequency cepstral coefficients
(MFCCs), which are computed from the model's own mel frames. Both take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.data.folds import class_of_one_source, grouped_folds
from earmark.data.splits import ClipSet, Split

LARGEST_CLASS, MFCC_SVM = "largest_class", "mfcc_svm"
TITLES = {LARGEST_CLASS: "the largest class", MFCC_SVM: "MFCC statistics with an SVM"}
_COEFFICIENTS = 20
_PARTS = 10  # of a clip, whose means keep the order in time
_ROUNDING = 1e-3  # of a logarithm
_COST = 10.0  # C of the SVM
_FOLDS = 3  # of the training clips, to choose the statistics
_SEED = 0
_MOST_CLIPS = 10_000  # that the SVM learns from; its time grows with the square of their number

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def measure_baselines(split: Split) -> dict[str, float]:
    """Return the accuracy of each baseline on a split's test part; see `measure_folds`."""
    return {name: found["accuracy"] for name, found in measure_folds([split]).items()}


def measure_folds(splits: Sequence[Split], *, pooled: bool = False) -> dict[str, Any]:
    """Measure each baseline on the test parts of some folds.

    The largest class is that of all tested clips, so it is never below chance. The SVM reads means,
    spreads and changes of the whole clip, or these and the means of ten equal parts, which tell
    sounds apart by their order. Which of the two, the training clips decide among themselves. Clips
    of no class have no part in it. Of a larger training part 10,000 clips are drawn.

    Args:
        splits: one for each fold.
        pooled: every clip counts alike, as in an accuracy over the clips of all folds; else every
            fold does, as in a mean of accuracies.

    Returns:
        `accuracy` and `by_fold` of each baseline, 0 to 1.
    """
    tested = [split.test.labels[split.test.of_class] for split in splits]
    classes = len(splits[0].classes)
    shares = np.stack([np.bincount(one, minlength=classes) / len(one) for one in tested])
    weights = [len(one) for one in tested] if pooled else None
    largest = np.average(shares, axis=0, weights=weights).argmax()
    by_fold = {
        LARGEST_CLASS: shares[:, largest].tolist(),
        MFCC_SVM: [_measure_svm(split) for split in splits],
    }
    return {
        name: {"accuracy": float(np.average(found, weights=weights)), "by_fold": found}
        for name, found in by_fold.items()
    }


def _measure_svm(split: Split) -> float:
    """Return the accuracy of the SVM on a split's test part."""
    train = _drawn(split.train.select(split.train.of_class))
    test = split.test.select(split.test.of_class)
    whole, parts = describe_clips(train, split.front_end)
    if _parts_tell_more(whole, parts, train):
        whole = np.hstack([whole, parts])
        tested = np.hstack(describe_clips(test, split.front_end))
    else:
        tested = describe_clips(test, split.front_end)[0]
    return float((_classify(whole, train.labels, tested) == test.labels).mean())


def _drawn(clips: ClipSet) -> ClipSet:
    """Return the clips, or as many of them, drawn at random, as the SVM can learn from."""
    if len(clips) <= _MOST_CLIPS:
        return clips
    mask = np.zeros(len(clips), bool)
    mask[np.random.default_rng(_SEED).permutation(len(clips))[:_MOST_CLIPS]] = True
    return clips.select(mask)


def describe_clips(clips: ClipSet, front_end: FrontEndSettings | None) -> tuple[Array, Array]:
    """Return statistics of whole clips `(clips, 60)`, and means of their parts `(clips, 200)`.

    Args:
        clips: the clips.
        front_end: of the log-mel frames, of which MFCCs are made; None: the features are unknown,
            and are taken as they are, in other sizes then.
    """
    features = clips.features.shape[1]
    matrix = cosine_matrix(features, _COEFFICIENTS) if front_end else np.eye(features)
    whole, parts = [], []
    for number in range(len(clips)):
        frames = clips.clip(number).astype(np.float64)
        frames = (_without_filling(frames, front_end) if front_end else frames) @ matrix
        changes = np.abs(np.diff(frames, axis=0, prepend=frames[:1]))
        whole.append(np.concatenate([frames.mean(0), frames.std(0), changes.mean(0)]))
        ends = np.linspace(0, len(frames), _PARTS + 1)
        spans = zip(ends[:-1].astype(int), np.ceil(ends[1:]).astype(int), strict=True)
        parts.append(np.concatenate([frames[begin:end].mean(0) for begin, end in spans]))
    return np.stack(whole), np.stack(parts)


def _without_filling(frames: Array, front_end: FrontEndSettings) -> Array:
    """Cut off the silence that a short clip was filled up with; a frame stays."""
    if len(frames) > front_end.min_clip_samples // front_end.hop_length:
        return frames
    loud = np.flatnonzero((frames > math.log(front_end.floor) + _ROUNDING).any(axis=1))
    return frames[: loud[-1] + 1] if len(loud) else frames[:1]


def cosine_matrix(bands: int, coefficients: int) -> Array:
    """Return the orthonormal cosine transform (DCT-II) as a matrix `(bands, coefficients)`."""
    order, place = np.arange(min(bands, coefficients)), np.arange(bands)
    matrix: Array = np.cos(math.pi / bands * np.outer(place + 0.5, order))
    matrix *= np.sqrt(np.where(order == 0, 1, 2) / bands)
    return matrix


def describe_baselines(accuracy: float, baselines: Mapping[str, float]) -> list[str]:
    """Say what the baselines reach, and, in a line of its own, that a model loses to one.

    Args:
        accuracy: the model's, 0 to 1.
        baselines: those of `measure_baselines`, or the accuracies of `measure_folds`.
    """
    shown = [f"{TITLES[name]} {100 * value:.2f} %" for name, value in baselines.items()]
    lines = [f"For comparison, on the same clips: {', '.join(shown)}."]
    best = max(baselines, key=lambda name: baselines[name])
    if baselines[best] > accuracy:
        behind = 100 * (baselines[best] - accuracy)
        lines.append(
            f"This recipe loses to {TITLES[best]} by {behind:.2f} points; use another one, or more "
            "clips."
        )
    return lines


def _parts_tell_more(whole: Array, parts: Array, train: ClipSet) -> bool:
    """Tell whether the means of parts help among the training clips, by sources held out."""
    labels, both = train.labels, np.hstack([whole, parts])
    if class_of_one_source(labels, train.groups) is not None:
        return True
    folds = min(_FOLDS, len(set(train.groups)), int(np.bincount(labels).max()))
    numbers = grouped_folds(labels, train.groups, folds, _SEED)
    right = [0, 0]
    for number in np.unique(numbers):
        inside = numbers == number
        for place, x in enumerate((whole, both)):
            found = _classify(x[~inside], labels[~inside], x[inside])
            right[place] += int((found == labels[inside]).sum())
    return right[1] > right[0]


def _classify(x: Array, y: Labels, asked: Array) -> Labels:
    """Return the classes that an SVM, fitted to `x` and `y`, gives to `asked`."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if len(np.unique(y)) < 2:
        return np.full(len(asked), y[0], np.int64)
    found: Labels = make_pipeline(StandardScaler(), SVC(C=_COST)).fit(x, y).predict(asked)
    return found
