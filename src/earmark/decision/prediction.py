"""What is said of one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.decision.policy import NO_CLASS, NONE, Policy, Scores


@dataclass(frozen=True)
class Prediction:
    """The classes of one clip.

    Attributes:
        path: the file, or a name for samples that came without one.
        seconds: length of the clip.
        scores: probability of each class, most likely first.
        label: the most likely of the classes that reach their thresholds, or `none of these`.
    """

    path: str
    seconds: float
    scores: dict[str, float]
    label: str

    @classmethod
    def of_scores(
        cls,
        path: str,
        seconds: float,
        classes: Sequence[str],
        scores: Scores,
        policy: Policy,
    ) -> Prediction:
        """Decide on the scores `(classes,)` of a clip, in class order."""
        ranked = {classes[n]: float(scores[n]) for n in np.argsort(-scores, kind="stable")}
        number = int(policy.decide(scores))
        return cls(path, seconds, ranked, NONE if number == NO_CLASS else classes[number])

    @property
    def accepted(self) -> bool:
        """Whether some class reaches its threshold; always so where no threshold applies."""
        return self.label in self.scores

    @property
    def most_likely(self) -> str:
        """The most likely class, whether it reaches its threshold or not."""
        return next(iter(self.scores))

    @property
    def score(self) -> float | None:
        """The probability of the label; None where it is none of these."""
        return self.scores.get(self.label)

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain values."""
        return {
            "path": self.path,
            "seconds": round(self.seconds, 3),
            "prediction": self.label,
            "most_likely": self.most_likely,
            "score": None if self.score is None else round(self.score, 6),
            "scores": {name: round(score, 6) for name, score in self.scores.items()},
        }
