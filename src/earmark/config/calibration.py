"""What turns a model's scores into decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.config.codec import check, check_types, rename_keys


@dataclass(frozen=True)
class Calibration:
    """What turns a model's scores into decisions; fitted on validation clips.

    Attributes:
        temperature: the logits are divided by it before the softmax.
        thresholds: score from which each class counts, in class order; when no class reaches its
            own, the clip is none of these. Empty: nothing is rejected.
        false_alarm_rate: share of the negatives, and of clips of other classes, that reached the
            thresholds when they were fitted.
        clips: validation clips they were fitted on.
        negatives: clips of no class they were fitted on.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    false_alarm_rate: float = 0.0
    clips: int = 0
    negatives: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check(self.temperature > 0, "temperature", "above 0", self.temperature)
        inside = all(0 <= value <= 1 for value in self.thresholds)
        check(inside, "thresholds", "numbers from 0 to 1", self.thresholds)
        rate = self.false_alarm_rate
        check(0 <= rate < 1, "false_alarm_rate", "at least 0 and below 1", rate)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote under the names of now."""
        return rename_keys(values, {"backgrounds": "negatives"})
