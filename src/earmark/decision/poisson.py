"""How sure a rate is that was counted: exact intervals of Poisson counts.

Garwood 1936 ("Fiducial limits for the Poisson distribution"). Of no event at all the whole 5 % lie
above, which makes the rule of three: fewer than 3 in the time that was looked at.
"""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95


def count_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the lowest and highest mean that a count is still likely under.

    Args:
        count: events that were counted, 0 or more.
        confidence: how often the interval holds the mean.
    """
    missed = 1 - confidence
    if count == 0:
        return 0.0, -math.log(missed)
    lower = _solve(count - 1, 1 - missed / 2)
    return lower, _solve(count, missed / 2)


def rate_interval(count: int, hours: float) -> tuple[float, float]:
    """Return the lowest and highest rate an hour that a count in some hours is likely under."""
    lower, upper = count_interval(count)
    return lower / hours, upper / hours


def _solve(count: int, share: float) -> float:
    """Return the mean under which a share of all counts is at most `count`, by bisection."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, middle) > share else (low, middle)
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """Return how probable a count of at most `count` is."""
    if mean <= 0:
        return 1.0
    counts = np.arange(1, count + 1)
    logs = np.cumsum(np.log(mean) - np.log(counts)) - mean
    return float(math.exp(-mean) + np.exp(logs).sum())
