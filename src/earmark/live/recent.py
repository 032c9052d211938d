"""The last sound of a stream, at 16 bits, and the times of a clock at which it came."""

from __future__ import annotations

import bisect
import datetime
from collections import deque

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = 32_767
_CLOCK_POINTS = 4096  # about half an hour of a live stream


class RecentSound:
    """Keeps the last samples of a stream.

    Args:
        sample_rate: of the samples, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._kept: deque[NDArray[np.int16]] = deque()
        self._from = self._to = 0

    @property
    def end(self) -> float:
        """End of what came, in seconds of the stream."""
        return self._to / self.sample_rate

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples `(samples,)`, full scale at -1 to 1."""
        self._kept.append(np.round(np.clip(samples, -1, 1) * _FULL_SCALE).astype(np.int16))
        self._to += len(samples)

    def between(self, first: float, last: float) -> NDArray[np.int16]:
        """Return what is kept of the samples between two times, in seconds of the stream."""
        kept = np.concatenate([np.zeros(0, np.int16), *self._kept])
        start = max(0, round(first * self.sample_rate) - self._from)
        return kept[start : max(0, round(last * self.sample_rate) - self._from)].copy()

    def forget_before(self, seconds: float) -> None:
        """Let go of what came before a time, in seconds of the stream."""
        while self._kept and self._from + len(self._kept[0]) <= seconds * self.sample_rate:
            self._from += len(self._kept.popleft())


class StreamClock:
    """Says when a place in a stream was, in UTC.

    A sound card's clock and the system's drift apart, and a pipe may stand still; so each block's
    end is noted with the time at which it came, and a place counts from the block that it lies in.
    """

    def __init__(self) -> None:
        self._ends: list[float] = []
        self._times: list[datetime.datetime] = []

    def note(self, end: float, time: datetime.datetime) -> None:
        """Take note that the stream was at `end` seconds at a time."""
        self._ends.append(end)
        self._times.append(time)
        if len(self._ends) > 2 * _CLOCK_POINTS:
            del self._ends[:_CLOCK_POINTS], self._times[:_CLOCK_POINTS]

    def time_of(self, seconds: float) -> datetime.datetime:
        """Return when a place of the stream was, in UTC."""
        place = min(bisect.bisect_left(self._ends, seconds), len(self._ends) - 1)
        return self._times[place] + datetime.timedelta(seconds=seconds - self._ends[place])
