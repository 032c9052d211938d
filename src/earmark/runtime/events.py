"""Scores of a stream -> events with onset and offset.

Raw scores come in, one row for each step of the model; they are averaged over time, and an event
lasts from where its class's average reaches its threshold to where it falls below the lower one
(hysteresis). Short pauses are bridged, short events dropped. A row of scores decides nothing that
later rows could change, so the events do not depend on how the stream was cut into chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings
from earmark.decision.policy import STREAM_THRESHOLD, Policy

TOP_CLASSES = 3

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Event:
    """A sound of one class in a stream.

    Attributes:
        label: its class.
        onset: where it starts, in seconds from the start of the stream.
        offset: where it ends, in seconds.
        score: the highest averaged score of its class in it.
        top: mean scores of the most likely classes over it, most likely first.
        source: the stream or file.
        model: fingerprint of the model.
    """

    label: str
    onset: float
    offset: float
    score: float
    top: dict[str, float]
    source: str = ""
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain values."""
        return {
            "label": self.label,
            "onset": round(self.onset, 3),
            "offset": round(self.offset, 3),
            "score": round(self.score, 4),
            "top": {name: round(score, 4) for name, score in self.top.items()},
            "source": self.source,
            "model": self.model,
        }


@dataclass(frozen=True)
class Ongoing:
    """An event under way: its first and last step, highest score, and sums of all scores.

    `pending` is what came after the last step and belongs to the event only if the class returns.
    """

    first: int
    last: int
    highest: float
    total: NDArray[np.float64]
    pending: NDArray[np.float64]


@dataclass(frozen=True)
class EventState:
    """What an `EventFinder` knows of a stream.

    Attributes:
        recent: the raw scores that the next average needs, `(smoothing - 1, classes)`; zeros
            stand before the first.
        steps: steps so far.
        ongoing: the classes with an event under way, by number.
    """

    recent: Scores
    steps: int
    ongoing: dict[int, Ongoing]

    def without_events(self) -> EventState:
        """Return the same with no event under way."""
        return replace(self, ongoing={})


class EventFinder:
    """Finds events in the scores of a stream. It holds no state; each stream has its own.

    Args:
        classes: class names.
        thresholds: the model's score from which each class counts; empty: half for every class.
        step_seconds: time from one row of scores to the next.
        settings: how to smooth, merge and drop; lags that are the model's own are those of most
            models, see `EventSettings.with_lags`.
        model: fingerprint of the model, for the events.
    """

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Sequence[float],
        step_seconds: float,
        settings: EventSettings,
        model: str = "",
    ) -> None:
        self.classes, self.model, self.step_seconds = tuple(classes), model, step_seconds
        settings = settings.with_lags()
        self.policy = Policy.of_model(
            thresholds,
            len(self.classes),
            threshold=settings.threshold,
            otherwise=STREAM_THRESHOLD,
        )
        self.lower = self.policy.thresholds * np.float32(settings.off_ratio)
        self._smoothing = max(1, round(settings.smoothing_seconds / step_seconds))
        self._gap = round(settings.merge_gap_seconds / step_seconds)
        self._shortest = settings.min_duration_seconds
        # An average over n steps follows by (n - 1) / 2 of them.
        smoothed = (self._smoothing - 1) / 2 * step_seconds
        self._onset_lag = settings.onset_lag_seconds + smoothed
        self._offset_lag = settings.offset_lag_seconds + smoothed

    def initial_state(self) -> EventState:
        """Return the state before the first row of scores."""
        return EventState(np.zeros((self._smoothing - 1, len(self.classes)), np.float32), 0, {})

    def step(
        self, scores: Scores, state: EventState, source: str = ""
    ) -> tuple[list[Event], EventState]:
        """Take the next rows of scores.

        Args:
            scores: `(steps, classes)`, any number of rows, none included.
            state: from `initial_state` or the step before.
            source: name of the stream, for the events.

        Returns:
            The events that have ended, in the order of their ends, and the new state.
        """
        smooth, recent = self.smooth(scores, state)
        return self.follow(smooth, recent, state, source=source)

    def smooth(self, scores: Scores, state: EventState) -> tuple[Scores, Scores]:
        """Average each of the next rows of scores with those before it.

        Returns:
            The averages, and the raw rows that the next ones need.
        """
        joined = np.concatenate([state.recent, scores])
        # One addition for each row of the average, the oldest first, however the stream was cut.
        rows = len(scores)
        smooth = joined[:rows].copy()
        for later in range(1, self._smoothing):
            smooth += joined[later : later + rows]
        if state.steps >= self._smoothing:  # nearly always
            smooth /= np.float32(self._smoothing)
        else:
            counts = np.minimum(state.steps + 1 + np.arange(rows), self._smoothing)
            smooth /= counts[:, None].astype(np.float32)
        return smooth, joined[rows:]

    def follow(
        self, smooth: Scores, recent: Scores, state: EventState, *, source: str = ""
    ) -> tuple[list[Event], EventState]:
        """Do what `step` does, with what `smooth` gave."""
        events: list[Event] = []
        ongoing = dict(state.ongoing)
        steps = state.steps + len(smooth)
        counts = self.policy.counts(smooth)
        if not ongoing and not counts.any():  # most of the time
            return [], EventState(recent, steps, {})
        for row, (values, above) in enumerate(zip(smooth, counts, strict=True)):
            at = state.steps + row
            over = [n for n, known in ongoing.items() if at - known.last > self._gap + 1]
            for number in sorted(over):
                events += self._end(number, ongoing.pop(number), source)
            for number in {*ongoing, *np.flatnonzero(above).tolist()}:
                ongoing[number] = self._follow(ongoing.get(number), number, at, values)
        return events, EventState(recent, steps, ongoing)

    def under_way(self, state: EventState, source: str = "") -> list[Event]:
        """Return the events that have begun, are long enough already, and have not ended.

        Each will come from `step` or `finish` with the same label and onset, whatever follows; its
        offset and scores are those so far.
        """
        return self.finish(state, source) if state.ongoing else []

    def finish(self, state: EventState, source: str = "") -> list[Event]:
        """Return the events that were still under way when the stream ended."""
        order = sorted(state.ongoing.items(), key=lambda item: (item[1].last, item[0]))
        return [event for number, known in order for event in self._end(number, known, source)]

    def onset_of(self, first: int) -> float:
        """Return where an event begins whose first step is this one, in seconds."""
        return max(0.0, first * self.step_seconds - self._onset_lag)

    def _follow(self, known: Ongoing | None, number: int, at: int, values: Scores) -> Ongoing:
        """Return what is known of a class after one more step."""
        row = values.astype(np.float64)
        score = float(values[number])
        if known is None:
            return Ongoing(at, at, score, row, np.zeros_like(row))
        # While it lasts, the lower threshold keeps it; after a pause, only the upper one does.
        upper = self.policy.thresholds
        enough = self.lower[number] if known.last == at - 1 else upper[number]
        if score < enough:
            return replace(known, pending=known.pending + row)
        return Ongoing(
            known.first,
            at,
            max(known.highest, score),
            known.total + known.pending + row,
            np.zeros_like(row),
        )

    def _end(self, number: int, known: Ongoing, source: str) -> list[Event]:
        """Return the event, unless it is too short."""
        onset = self.onset_of(known.first)
        offset = (known.last + 1) * self.step_seconds - self._offset_lag
        offset = max(offset, onset + self.step_seconds)  # a sound shorter than the lags
        steps = known.last - known.first + 1
        if steps * self.step_seconds < self._shortest:
            return []
        mean = known.total / steps
        best = np.argsort(-mean, kind="stable")[:TOP_CLASSES]
        top = {self.classes[place]: float(mean[place]) for place in best}
        return [Event(self.classes[number], onset, offset, known.highest, top, source, self.model)]
