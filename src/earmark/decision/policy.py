"""The one rule that turns scores into a label, for clips, streams, evaluation and exports.

A class counts only from its own threshold on. The label is the one with the highest score among
those that count; where none does, it is none of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NONE = "none of these"
NO_CLASS = -1  # the number of no class, where classes are numbers
STREAM_THRESHOLD = 0.5  # of every class of a stream, where the model has no thresholds of its own

Scores = NDArray[np.float32]


class Policy:
    """Decides by thresholds.

    Args:
        thresholds: score from which each class counts, in class order; empty: every class always
            counts, so that the most likely one is the label.

    Attributes:
        thresholds: the same, `(classes,)` or empty.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        self.thresholds: Scores = np.array(thresholds, np.float32)

    @classmethod
    def of_model(
        cls,
        own: Sequence[float],
        classes: int,
        *,
        threshold: float = 0.0,
        otherwise: float = 0.0,
    ) -> Policy:
        """Return the policy of a model, or of whoever uses it.

        Args:
            own: the model's thresholds; empty where it has none.
            classes: number of its classes.
            threshold: takes the place of all thresholds, unless it is 0.
            otherwise: stands for the thresholds of a model that has none, unless it is 0.
        """
        one = threshold or (0.0 if own else otherwise)
        return cls([one] * classes if one else own)

    def counts(self, scores: Scores) -> NDArray[np.bool_]:
        """Tell which scores `(..., classes)` reach the thresholds of their classes."""
        if not len(self.thresholds):
            return np.ones(scores.shape, np.bool_)
        return scores >= self.thresholds

    def accepted(self, scores: Scores) -> NDArray[np.bool_]:
        """Tell for each row of scores `(..., classes)` whether some class counts, `(...)`."""
        return np.asarray(self.counts(scores).any(axis=-1), np.bool_)

    def decide(self, scores: Scores) -> NDArray[np.int64]:
        """Return the number of the label of each row of scores `(..., classes)`, or `NO_CLASS`."""
        counts = self.counts(scores)
        best = np.where(counts, scores, -np.inf).argmax(axis=-1)
        return np.where(counts.any(axis=-1), best, NO_CLASS)
