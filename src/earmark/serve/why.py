"""Why an event was, or was not, raised: what came near, and the rule that stopped it.

A class *comes near* while its score, raw or averaged, is at least six tenths of its threshold. When
that is over and no event came of it, the first rule that stopped it is named:

    filter      the class is switched off
    threshold   no score of a segment reached the threshold
    smoothing   some did, but not on average over `smoothing_seconds`
    duration    the average did, for less than `min_duration_seconds`
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings
from earmark.runtime.events import Event, EventFinder

NEAR = 0.6  # of the threshold
_RAISED = "raised"


@dataclass(frozen=True)
class Reason:
    """What came near an event, or was one.

    Attributes:
        label: the class.
        onset: where it began, in seconds of the stream.
        offset: where it ended.
        raw: its highest score of a segment.
        score: its highest averaged score.
        threshold: what it had to reach.
        rule: "raised", or the rule that stopped it.
        text: the same for people.
    """

    label: str
    onset: float
    offset: float
    raw: float
    score: float
    threshold: float
    rule: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        rounded = {
            name: round(getattr(self, name), 3)
            for name in ("onset", "offset", "raw", "score", "threshold")
        }
        return {"label": self.label, **rounded, "rule": self.rule, "text": self.text}


@dataclass
class _Approach:
    """A class that is near: where it began and was last near, and its highest scores."""

    first: int
    last: int
    raw: float = 0.0
    score: float = 0.0
    raised: bool = False
    steps: int = field(default=0)  # on which the average reached the threshold


class Explainer:
    """Follows the scores of one stream beside its event finder.

    Args:
        finder: finds the events; it says steps and classes.
        settings: how scores become events.
    """

    def __init__(self, finder: EventFinder, settings: EventSettings) -> None:
        self._classes, self._step = finder.classes, finder.step_seconds
        self._settings = settings
        self._quiet = round(settings.merge_gap_seconds / finder.step_seconds) + 2
        self.set_thresholds(finder.policy.thresholds)
        self.off = np.zeros(len(self._classes), np.bool_)
        self._near: dict[int, _Approach] = {}

    def set_thresholds(self, thresholds: NDArray[np.float32]) -> None:
        """Judge what comes from now on by other thresholds `(classes,)`."""
        self.thresholds = np.array(thresholds, np.float32)
        self._near_from = NEAR * self.thresholds

    def step(
        self,
        raw: NDArray[np.float32],
        smooth: NDArray[np.float32],
        at: int,
        events: list[Event],
    ) -> list[Reason]:
        """Take the next rows of scores.

        Args:
            raw: scores of segments, `(steps, classes)`.
            smooth: their averages.
            at: number of the first row.
            events: the events that ended in these rows.

        Returns:
            What came near, when it is over and no event came of it.
        """
        brief: dict[int, float] = {}  # events that began and ended in these rows, by their score
        for event in events:
            number = self._classes.index(event.label)
            if number in self._near:
                self._near[number].raised = True
            else:
                brief[number] = event.score
        close = np.maximum(raw, smooth) >= self._near_from
        if not self._near and not close.any():  # most of the time
            return []
        reached = smooth >= self.thresholds
        reasons: list[Reason] = []
        for row in range(len(raw)):
            now = at + row
            over = [n for n, known in self._near.items() if now - known.last > self._quiet]
            reasons += [self._reason(number, self._near.pop(number)) for number in over]
            for number in np.flatnonzero(close[row]).tolist():
                known = self._near.setdefault(number, _Approach(now, now))
                known.last = now
                known.raw = max(known.raw, float(raw[row, number]))
                known.score = max(known.score, float(smooth[row, number]))
                known.raised |= known.score >= brief.get(number, math.inf)
                known.steps += int(reached[row, number])
        return [reason for reason in reasons if reason.rule != _RAISED]

    def finish(self, events: list[Event]) -> list[Reason]:
        """Return what was near when the stream ended."""
        for event in events:
            if known := self._near.get(self._classes.index(event.label)):
                known.raised = True
        reasons = [self._reason(number, known) for number, known in self._near.items()]
        self._near = {}
        return [reason for reason in reasons if reason.rule != _RAISED]

    def why(self, event: Event) -> str:
        """Say why an event was raised."""
        threshold = float(self.thresholds[self._classes.index(event.label)])
        settings = self._settings
        return (
            f"{event.score:.2f} on average over {settings.smoothing_seconds:g} s; "
            f"the threshold is {threshold:.2f}, and the shortest event "
            f"{settings.min_duration_seconds:g} s"
        )

    def _reason(self, number: int, known: _Approach) -> Reason:
        threshold = float(self.thresholds[number])
        label, settings = self._classes[number], self._settings
        raw, score = known.raw, known.score
        if known.raised:
            rule, text = _RAISED, ""
        elif self.off[number]:
            rule, text = "filter", f"{label} is switched off; it reached {max(raw, score):.2f}"
        elif max(raw, score) < threshold:
            rule = "threshold"
            text = f"it reached {max(raw, score):.2f}, and its threshold is {threshold:.2f}"
        elif score < threshold:
            rule = "smoothing"
            text = (
                f"it reached {raw:.2f} for a moment, but {score:.2f} on average over "
                f"{settings.smoothing_seconds:g} s; its threshold is {threshold:.2f}"
            )
        else:
            rule = "duration"
            text = (
                f"it reached its threshold for {known.steps * self._step:.2f} s, and events "
                f"shorter than {settings.min_duration_seconds:g} s are dropped"
            )
        onset = max(0.0, known.first * self._step - settings.onset_lag_seconds)
        offset = (known.last + 1) * self._step
        return Reason(label, onset, offset, raw, score, threshold, rule, text)
