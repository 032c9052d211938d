"""How the scores of a stream become events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from earmark.config.codec import check, check_at_least, check_types, rename_keys, setting
from earmark.config.model import LAGS_SECONDS

_OF_MODEL = -1.0  # of a lag: as the model has it


@dataclass(frozen=True)
class EventSettings:
    """How the scores of a stream become events with onset and offset."""

    EARLIER_NAMES: ClassVar[dict[str, str]] = {
        "release": "off_ratio",
        "shortest_seconds": "min_duration_seconds",
        "gap_seconds": "merge_gap_seconds",
    }

    window_seconds: float = setting(
        0.75, "the model's outputs over this long are pooled into the scores of a segment"
    )
    smoothing_seconds: float = setting(1.2, "scores are averaged over this long")
    threshold: float = setting(
        0.0,
        "score from which any class counts; 0: each class's own, as the model has them, and half "
        "for events where it has none",
    )
    off_ratio: float = setting(
        0.8, "an event ends when its score falls below this share of its class's threshold"
    )
    min_duration_seconds: float = setting(0.3, "shorter events are dropped")
    merge_gap_seconds: float = setting(1.0, "events of a class closer than this are one")
    onset_lag_seconds: float = setting(
        _OF_MODEL,
        "how long scores rise after a sound begins; onsets are moved back by it; -1: as the model "
        "has it",
    )
    offset_lag_seconds: float = setting(
        _OF_MODEL,
        "how long scores fall after a sound ends; offsets are moved back by it; -1: as the model "
        "has it",
    )

    def __post_init__(self) -> None:
        check_types(self)
        check(self.window_seconds > 0, "window_seconds", "above 0", self.window_seconds)
        check(0 <= self.threshold < 1, "threshold", "at least 0 and below 1", self.threshold)
        check(0 < self.off_ratio <= 1, "off_ratio", "above 0 and at most 1", self.off_ratio)
        check_at_least(
            self,
            ("smoothing_seconds", "min_duration_seconds", "merge_gap_seconds"),
            0,
        )
        for name in ("onset_lag_seconds", "offset_lag_seconds"):
            value = getattr(self, name)
            rule = "at least 0, or -1, which takes the model's own"
            check(value >= 0 or value == _OF_MODEL, name, rule, value)

    def with_lags(self, lags_seconds: Sequence[float] = LAGS_SECONDS) -> EventSettings:
        """Return the same settings, with a model's own lags where none were given.

        Args:
            lags_seconds: of onset and offset, see `ModelSettings`.
        """
        names = ("onset_lag_seconds", "offset_lag_seconds")
        missing = [n for n in zip(names, lags_seconds, strict=True) if getattr(self, n[0]) < 0]
        return replace(self, **dict(missing)) if missing else self

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote under the names of now."""
        return rename_keys(values, EventSettings.EARLIER_NAMES)
