"""Scores that mean what they say: temperature, thresholds, "none of these".

The temperature (Guo et al. 2017) makes a score of 0.8 right in about 80 of 100 cases. A clip whose
scores all stay below the thresholds of their classes is none of these. Both are fitted on clips
that neither trained the model nor test it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earmark.config import Calibration
from earmark.decision.policy import NO_CLASS

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]

FALSE_ALARM_RATE = 0.05
BINS = 10
_LOWEST = 1e-12
_ROUNDING = 1e-4  # by which the probabilities of a softmax may miss 1
_SPREAD = 0.5  # of the logarithm of the temperature, before any clip was seen
_HIGHEST_THRESHOLD = 0.99  # a class that no score could reach would be lost


def with_temperature(scores: NDArray[np.floating], temperature: float) -> Scores:
    """Return probabilities `(clips, classes)` as a softmax at another temperature gives them.

    What a row lacks to 1, the probability that the clip is of no class, it goes on lacking.
    """
    scores = scores.astype(np.float64)
    known = scores.sum(axis=1, keepdims=True)
    known[known > 1 - _ROUNDING] = 1.0
    logits = np.log(np.maximum(scores, _LOWEST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (known * powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def cross_entropy(labels: Labels, scores: Scores) -> float:
    """Return the mean negative log probability of the true class, in nats.

    For a clip of no class every class is as right: the mean over all of them counts.
    """
    negative = labels == NO_CLASS
    losses = -np.log(np.maximum(scores[np.arange(len(labels)), labels], _LOWEST))
    if negative.any():
        losses[negative] = -np.log(np.maximum(scores[negative], _LOWEST)).mean(axis=1)
    return float(losses.mean())


def fit_temperature(labels: Labels, scores: Scores) -> float:
    """Return the most probable temperature, between 1/5 and 5, for clips that have a class.

    Its logarithm is expected around 0 with a spread of 0.5, so that a few dozen clips, all of them
    named rightly, do not make every score a certainty. Without any clip it is 1.
    """
    if len(labels) == 0:
        return 1.0
    from scipy.optimize import minimize_scalar

    def cost(log: float) -> float:
        entropy = cross_entropy(labels, with_temperature(scores, float(np.exp(log))))
        return entropy * len(labels) + 0.5 * (log / _SPREAD) ** 2

    found = minimize_scalar(
        cost,
        bounds=(-np.log(5.0), np.log(5.0)),
        method="bounded",
    )
    return round(float(np.exp(found.x)), 4)


def fit_calibration(
    labels: Labels,
    scores: Scores,
    generated: Scores | None,
    rate: float = FALSE_ALARM_RATE,
) -> Calibration:
    """Fit temperature and thresholds.

    The rate holds for recorded and for generated negatives each, so that many of one kind do not
    drown few of the other.

    Args:
        labels: class numbers of the validation clips `(clips,)`, `NO_CLASS` for recorded
            negatives among them.
        scores: the model's probabilities for them `(clips, classes)`.
        generated: those for generated negatives `(negatives, classes)`. Without negatives of
            either kind nothing is ever rejected.
        rate: share of the negatives that may pass for some class, and of the validation clips
            of other classes that may reach a class's threshold.

    Returns:
        The calibration.
    """
    recorded = scores[labels == NO_CLASS]
    labels, scores = labels[labels != NO_CLASS], scores[labels != NO_CLASS]
    temperature = fit_temperature(labels, scores)
    kinds = [kind for kind in (generated, recorded) if kind is not None and len(kind)]
    if not kinds:
        return Calibration(temperature, (), 0.0, len(labels), 0)
    scores = with_temperature(scores, temperature)
    highest = [with_temperature(kind, temperature).max(axis=1) for kind in kinds]
    lowest = max(float(np.quantile(top, 1 - rate, method="higher")) for top in highest)
    thresholds = []
    for number in range(scores.shape[1]):
        others = scores[labels != number, number]
        reached = float(np.quantile(others, 1 - rate, method="higher")) if len(others) else 0.0
        threshold = np.nextafter(np.float32(max(lowest, reached)), np.float32(1))
        above = math.ceil(1e6 * float(threshold)) / 1e6  # rounded down, it would let them pass
        thresholds.append(min(above, _HIGHEST_THRESHOLD))
    return Calibration(temperature, tuple(thresholds), rate, len(labels), sum(map(len, kinds)))


def reliability(labels: Labels, scores: Scores, bins: int = BINS) -> list[dict[str, float]]:
    """Compare score and accuracy in equal ranges of the highest score.

    Returns:
        For each range that holds clips: `low`, `high`, `clips`, their mean `score` and `accuracy`.
    """
    top, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    place = np.minimum((top * bins).astype(int), bins - 1)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "clips": int((place == number).sum()),
            "score": float(top[place == number].mean()),
            "accuracy": float(right[place == number].mean()),
        }
        for number in range(bins)
        if (place == number).any()
    ]


def expected_calibration_error(labels: Labels, scores: Scores, bins: int = BINS) -> float:
    """Return the mean gap between score and accuracy over the ranges of `reliability`."""
    rows = reliability(labels, scores, bins)
    gaps = [row["clips"] * abs(row["score"] - row["accuracy"]) for row in rows]
    return float(sum(gaps) / len(labels))


def auroc(known: NDArray[np.floating], unknown: NDArray[np.floating]) -> float:
    """Return how often a known clip's highest score lies above an unknown one's."""
    from sklearn.metrics import roc_auc_score

    marks = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    return float(roc_auc_score(marks, np.r_[known, unknown]))
