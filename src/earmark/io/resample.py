"""Changing the sample rate of a stream, with a state that can be kept and gone on from."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

_KEPT_SECONDS = 0.5  # soxr's filter reaches back less than a tenth of that
_ONCE_SECONDS = 2.0  # soxr keeps for good the memory that the longest piece took


@dataclass(frozen=True)
class ResamplerState:
    """Where a `Resampler` stands, as a value that can be kept and gone on from.

    Attributes:
        taken: samples that went in.
        given: samples that came out.
        recent: the last samples that went in, enough to make the next ones that come out.
    """

    taken: int
    given: int
    recent: NDArray[np.float32]


class Resampler:
    """Changes the sample rate of a stream with soxr's HQ setting; chunks change no sample.

    Args:
        from_hz: rate of what goes in.
        to_hz: rate of what comes out.

    Attributes:
        taken: samples that went in.
        given: samples that came out.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz, self.taken, self.given = from_hz, to_hz, 0, 0
        common = math.gcd(from_hz, to_hz)
        self._period, self._period_given = from_hz // common, to_hz // common
        self._needed = round(_KEPT_SECONDS * from_hz)
        self._recent: deque[NDArray[np.float32]] = deque()
        self._kept = self._skip = 0
        self._soxr = None
        if from_hz != to_hz:
            self._soxr = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    @classmethod
    def resumed(
        cls, from_hz: int, to_hz: int, state: ResamplerState
    ) -> tuple[Resampler, NDArray[np.float32]]:
        """Go on from a state.

        soxr keeps its own state to itself, so a new stream is given the recent samples again; what
        comes out then differs by rounding, below 1e-6.

        Returns:
            The resampler, and samples that it gives earlier than the first one did, often none.
        """
        resampler = cls(from_hz, to_hz)
        first = state.taken - len(state.recent)  # a whole number of periods
        resampler.taken, resampler.given = first, state.given
        resampler._skip = state.given - first // resampler._period * resampler._period_given
        return resampler, resampler.push(state.recent)

    @property
    def state(self) -> ResamplerState:
        """Where it stands now."""
        recent = np.concatenate([*self._recent, np.zeros(0, np.float32)])
        first = max(0, self.taken - self._needed) // self._period * self._period
        if self._soxr is not None:
            recent = recent[len(recent) - (self.taken - first) :]
        return ResamplerState(self.taken, self.given, recent)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples `(samples,)`; return what can be given by now."""
        self.taken += len(samples)
        if self._soxr is None:
            self.given += len(samples)
            return samples
        if len(samples):
            # Of much at once no more than is needed, or all of it would stay in memory.
            recent = samples[-self._needed - self._period :]
            self._recent.append(recent if len(recent) == len(samples) else recent.copy())
            self._kept += len(recent)
        while self._recent and self._kept - len(self._recent[0]) >= self._needed + self._period:
            self._kept -= len(self._recent.popleft())
        most = round(_ONCE_SECONDS * self.from_hz)
        parts = [samples[at : at + most] for at in range(0, len(samples), most)] or [samples]
        made = [self._soxr.resample_chunk(part) for part in parts]
        return self._given(made[0] if len(made) == 1 else np.concatenate(made))

    def finish(self) -> NDArray[np.float32]:
        """Return the rest of a stream that has ended."""
        if self._soxr is None:
            return np.zeros(0, np.float32)
        return self._given(self._soxr.resample_chunk(np.zeros(0, np.float32), last=True))

    def _given(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leave out what was given before the state that this one goes on from."""
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        self.given += len(samples) - skipped
        return samples[skipped:]
