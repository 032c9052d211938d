"""A session for one stream: samples of any rate in, events out.

    session = classifier.stream(sample_rate=48_000)
    for event in session.push(samples):
        ...

A session belongs to one stream and one thread at a time; the weights are shared by all sessions and
only read. All that it knows of its stream is one value, `session.state`, which can be kept, written
to a file and gone on from. Many sessions are advanced together by a `SessionPool`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings
from earmark.errors import AudioError, SettingsError
from earmark.io import decode
from earmark.io.notes import Warn
from earmark.io.resample import Resampler
from earmark.runtime.core import StreamCore
from earmark.runtime.engine import State
from earmark.runtime.events import Event
from earmark.runtime.scorer import ScorerState, StreamScorer
from earmark.runtime.stream_state import StreamState, read_state, write_state

if TYPE_CHECKING:
    from earmark.runtime.pool import SessionPool


class Session(StreamCore):
    """Finds the events in one stream.

    Args:
        scorer: scores segments with a model; sessions share it.
        sample_rate: sample rate of the stream.
        settings: how scores become events.
        source: name of the stream, for its events and messages.

    Raises:
        AudioError: a rate that is not supported.

    Attributes:
        pool: what advances it together with others, if anything does.
        model: the model's state.
    """

    def __init__(
        self,
        scorer: StreamScorer,
        sample_rate: int,
        settings: EventSettings,
        source: str = "stream",
    ) -> None:
        super().__init__(scorer, sample_rate, settings, source)
        self.pool: SessionPool | None = None
        self.model: State = scorer.initial_state().model

    def push(self, samples: NDArray[Any], sample_rate: int | None = None) -> list[Event]:
        """Take the next samples and score what they complete.

        Args:
            samples: see `feed`.
            sample_rate: their sample rate, when it has changed.

        Returns:
            The events that have ended.

        Raises:
            AudioError: see `feed`. The stream is as it was before.
            SettingsError: the session is in a pool.
        """
        if self.pool is not None:
            raise SettingsError(
                f"{self.source}: is advanced by a pool; feed it, then advance the pool"
            )
        self.feed(samples, sample_rate)
        return self._score()

    def detect_file(self, path: Path) -> Iterator[Event]:
        """Take a whole file, at the model's rate, as this stream; see `Classifier.detect`.

        Yields:
            Events as they end.

        Raises:
            AudioError: see `earmark.io.decode.read_blocks`; what came before the fault was scored.
        """
        return self.detect(file_chunks(path, self.sample_rate))

    def detect(self, chunks: Iterable[NDArray[Any]]) -> Iterator[Event]:
        """Take chunks to their end, or to a fault in them, which is raised after all events."""
        fault = None
        try:
            for chunk in chunks:
                yield from self.push(chunk)
        except AudioError as error:
            fault = error
        yield from self.finish()
        if fault:
            raise fault

    def finish(self) -> list[Event]:
        """End the stream: score what is left, and end all events; leave the pool, if in one.

        A stream shorter than the front end's `min_clip_seconds` is followed by silence. Of longer
        ones, what does not fill one step of the model at the very end is not scored.
        """
        if self._ended:
            return []
        if self.pool is not None:
            self.pool.remove(self)
        self.end()
        return self._score() + self.end_events()

    @property
    def state(self) -> StreamState:
        """Where the stream stands, as a value."""
        samples = np.concatenate([np.zeros(0, np.float32), *self._waiting])
        return StreamState(
            self.sample_rate, self._resampler.state, ScorerState(samples, self.model), self._events
        )

    @state.setter
    def state(self, state: StreamState) -> None:
        if self.pool is not None:
            self.pool.remove(self)
        self._resampler, ahead = Resampler.resumed(
            state.sample_rate, self.scorer.sample_rate, state.resampler
        )
        self._waiting = [np.concatenate([state.scorer.samples, ahead])]
        self._waiting_samples = len(self._waiting[0])
        self.model, self._events = state.scorer.model, state.events
        self._ended, self._length = False, None
        self._rows.clear()

    def save(self, path: Path) -> None:
        """Write where the stream stands to one file, whole or not at all; it holds no code.

        Raises:
            OSError: the file cannot be written.
        """
        write_state(path, self, self.state)

    def restore(self, path: Path) -> None:
        """Go on from where `save` left a stream of the same weights and settings.

        The calibration may be another one; a restored session is in no pool.

        Raises:
            ModelError: the file is no such state, or that of another model or other settings.
            OSError: the file cannot be read.
        """
        self.state = read_state(path, self)

    def _score(self) -> list[Event]:
        events: list[Event] = []
        while (block := self.next_block()) is not None:
            scores, self.model = self.scorer.score(block, self.model)
            events += self.accept(scores)
        return events


def file_chunks(
    path: Path, sample_rate: int, warn: Warn | None = None
) -> Iterator[NDArray[np.float32]]:
    """Read a file as a stream: silence is no fault, and of a cut file what is there is taken."""
    return decode.read_blocks(
        path, sample_rate, block_seconds=1.0, allow_silence=True, keep_truncated=True, warn=warn
    )
