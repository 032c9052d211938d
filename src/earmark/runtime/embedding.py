"""Embeddings of the segments of a stream: samples of any rate in, a vector a second out.

    stream = classifier.embedding_stream(sample_rate=48_000)
    for segment in stream.push(samples):
        segment.onset, segment.vector

Each vector pools the steps of its own segment and no other; the LSTM's state is carried on from
segment to segment. Segment n begins with the step nearest to n times the length that was asked for,
so that segments lie end to end and do not drift from the clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.errors import AudioError, SettingsError
from earmark.io import waveform
from earmark.io.resample import Resampler
from earmark.runtime.engine import Engine, Floats

LONGEST_SEGMENT = 60.0  # seconds; a segment is read at once
_POOLED = "pooled"  # the state that everything so far is pooled in


class Embedding(NamedTuple):
    """The embedding of a segment.

    Attributes:
        onset: where the segment begins, in seconds from the start of the stream.
        offset: where it ends.
        vector: what the model's head would classify, `(size,)`.
    """

    onset: float
    offset: float
    vector: Floats


class EmbeddingStream:
    """Embeds the segments of one stream.

    Args:
        engine: runs the model; streams share it.
        sample_rate: sample rate of the stream.
        every_seconds: length of a segment, at least one step of the model.
        source: name of the stream, for messages.

    Raises:
        ModelError: the model is bidirectional, or a file that gives no embeddings.
        AudioError: a rate that is not supported.
        SettingsError: a length below 0 or above a minute.
    """

    def __init__(
        self,
        engine: Engine,
        sample_rate: int,
        *,
        every_seconds: float = 1.0,
        source: str = "stream",
    ) -> None:
        if not 0 <= every_seconds <= LONGEST_SEGMENT:
            raise SettingsError(
                f"every_seconds must be from 0 (each step) to {LONGEST_SEGMENT:.0f}, "
                f"got {every_seconds}"
            )
        if not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
            raise AudioError(f"{source}: has an unsupported sample rate of {sample_rate} Hz")
        self.embedding_size, self.source = engine.embedding_size, source
        self._engine = engine
        self._state = engine.initial_state(1)
        self._resampler = Resampler(sample_rate, engine.info.sample_rate)
        self._waiting: Floats = np.zeros(0, np.float32)
        self._segment_steps = max(1.0, every_seconds / engine.info.step_seconds)
        self._segments = self._steps = 0
        self._ended = False

    @property
    def seconds(self) -> float:
        """Length of what came so far."""
        info = self._engine.info
        return self._steps * info.step_seconds + len(self._waiting) / info.sample_rate

    def push(self, samples: NDArray[Any]) -> list[Embedding]:
        """Take the next samples; return the segments that they complete.

        Args:
            samples: `(samples,)` or `(samples, channels)`, any number, none included; floats with
                full scale at -1 to 1, or signed whole numbers with full scale at their ends.

        Raises:
            AudioError: NaN or infinite samples, another shape or type, or a stream that has ended.
                The stream is as it was before.
        """
        if self._ended:
            raise AudioError(f"{self.source}: has ended; begin another stream")
        mono = waveform.mono(samples, f"{self.source}, after {self.seconds:.1f} s")
        return self._take(self._resampler.push(mono))

    def finish(self) -> list[Embedding]:
        """End the stream; return its last segments.

        The last one may be shorter. What does not fill a step at the end is left out, but for a
        stream shorter than one step, which is filled up with zeros.
        """
        if self._ended:
            return []
        self._ended = True
        found = self._take(self._resampler.finish())
        step = self._engine.info.step_samples
        if not self._steps and 0 < len(self._waiting) < step:
            self._waiting = np.pad(self._waiting, (0, step - len(self._waiting)))
        if left := len(self._waiting) // step:
            found.append(self._embed(left))
        return found

    def embed(self, chunks: Iterable[NDArray[Any]]) -> Iterator[Embedding]:
        """Take chunks to their end, or to a fault in them, which is raised after all segments."""
        fault = None
        try:
            for chunk in chunks:
                yield from self.push(chunk)
        except AudioError as error:
            fault = error
        yield from self.finish()
        if fault:
            raise fault

    def _take(self, samples: Floats) -> list[Embedding]:
        self._waiting = np.concatenate([self._waiting, samples])
        found, step = [], self._engine.info.step_samples
        while len(self._waiting) >= step * (steps := self._next_steps()):
            found.append(self._embed(steps))
        return found

    def _next_steps(self) -> int:
        """Return the number of steps of the next segment."""
        return math.floor((self._segments + 1) * self._segment_steps + 0.5) - self._steps

    def _embed(self, steps: int) -> Embedding:
        """Embed the next steps, pooled from nothing."""
        info = self._engine.info
        size = steps * info.step_samples
        block, self._waiting = self._waiting[None, :size], self._waiting[size:]
        if _POOLED in self._state:
            self._state = {**self._state, _POOLED: np.zeros_like(self._state[_POOLED])}
        _, vector, self._state = self._engine.embed(block, self._state)
        onset, self._steps = self._steps * info.step_seconds, self._steps + steps
        self._segments += 1
        return Embedding(onset, self._steps * info.step_seconds, vector[0])
