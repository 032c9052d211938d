"""From a source of sound to a session: gaps, samples that are no numbers, sources that come back.

Nothing here knows of a terminal or of a process: what happens is reported through a callback, time
is taken from functions that may be given, and a source is anything with `next` and `close`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.errors import AudioError
from earmark.live.chunk import Chunk, StalledError
from earmark.runtime.events import Event
from earmark.runtime.session import Session

RETRY_SECONDS = 2.0  # between two attempts to open a device again
_PACED_SECONDS = 0.1  # of a file, handed over at a time


class Source(Protocol):
    """Gives samples as they come."""

    name: str

    def next(self, timeout: float) -> Chunk | None:
        """Return the next samples, or None at the end.

        Raises:
            StalledError: nothing came for `timeout` seconds.
            AudioError: the source cannot be read.
        """

    def close(self) -> None:
        """Let go of what it holds."""


@dataclass(frozen=True)
class Notice:
    """Something that happened to a source.

    Attributes:
        kind: "stalled", "resumed", "dropped" or "silenced".
        text: the same for people, on one line.
        samples: how many samples were lost or replaced by silence.
    """

    kind: str
    text: str
    samples: int = 0


Report = Callable[[Notice], object]


def ignore(notice: Notice) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Reconnecting:
    """How to wait for a source that has stalled or gone.

    Attributes:
        open: opens the source again; raises AudioError while it is not there. None: the source
            cannot be opened again, and is only waited for.
        retry_seconds: time between two attempts.
    """

    open: Callable[[], Source] | None = None
    retry_seconds: float = RETRY_SECONDS


def read_chunks(
    source: Source,
    *,
    stall_seconds: float,
    reconnecting: Reconnecting | None = None,
    report: Report = ignore,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Chunk]:
    """Yield what a source gives until it ends, and close it.

    Args:
        source: where samples come from.
        stall_seconds: a source that gives nothing for this long has stalled.
        reconnecting: wait for a source that has stalled; None: that is a fault. What a source that
            was opened again did not give meanwhile counts as dropped.
        report: is told what happens.
        clock: gives the time in seconds.
        sleep: waits so many seconds.

    Raises:
        StalledError: the source has stalled, and is not waited for.
        AudioError: the source cannot be read.
    """
    stalled, last = False, clock()
    try:
        while True:
            try:
                chunk = source.next(stall_seconds)
            except StalledError as error:
                if reconnecting is None:
                    raise
                if not stalled:
                    report(Notice("stalled", f"{error}; waiting for it"))
                stalled = True
                if reconnecting.open is not None:
                    source.close()
                    source = _open_again(reconnecting, reconnecting.open, sleep)
                continue
            if chunk is None:
                return
            if stalled:
                report(Notice("resumed", f"{source.name}: goes on"))
                if reconnecting is not None and reconnecting.open is not None:
                    away = round((clock() - last) * chunk.sample_rate) - len(chunk.samples)
                    chunk = chunk._replace(dropped=max(0, away))
            stalled, last = False, clock()
            yield chunk
    finally:
        source.close()


def _open_again(
    reconnecting: Reconnecting, open: Callable[[], Source], sleep: Callable[[float], object]
) -> Source:
    """Open a source again, as often as it takes."""
    while True:
        try:
            return open()
        except AudioError:
            sleep(reconnecting.retry_seconds)


class Capture:
    """Gives a session the chunks of a source, without gaps.

    Args:
        session: takes the samples.
        report: is told of lost samples, and once of such as are no numbers.
        mix: makes the samples for the session from a chunk's; None: they are taken as they are.

    Attributes:
        dropped: samples that were lost and replaced by silence, so that times stay right.
        silenced: samples that came in chunks with NaN or infinity and were replaced by silence.
    """

    def __init__(
        self,
        session: Session,
        report: Report = ignore,
        *,
        mix: Callable[[Chunk], NDArray[Any]] | None = None,
    ) -> None:
        self.session, self._report, self._mix = session, report, mix
        self.dropped = self.silenced = 0

    def push(self, chunk: Chunk) -> list[Event]:
        """Take a chunk; return the events that have ended.

        Raises:
            AudioError: see `Session.feed`, but for samples that are no numbers.
        """
        events: list[Event] = []
        session = self.session
        if chunk.dropped:
            self.dropped += chunk.dropped
            text = f"{session.source}: {chunk.dropped} samples dropped"
            self._report(Notice("dropped", text, chunk.dropped))
            events += session.push(np.zeros(chunk.dropped, np.float32), chunk.sample_rate)
        samples = chunk.samples if self._mix is None else self._mix(chunk)
        try:
            return events + session.push(samples, chunk.sample_rate)
        except AudioError as error:
            if np.isfinite(samples).all():
                raise
            if not self.silenced:
                text = f"{error}; such samples are replaced by silence"
                self._report(Notice("silenced", text, len(samples)))
        self.silenced += len(samples)
        return events + session.push(np.zeros(len(samples), np.float32), chunk.sample_rate)

    def detect(
        self, chunks: Iterable[Chunk], after_chunk: Callable[[], object] | None = None
    ) -> Iterator[Event]:
        """Take chunks to their end, or to a fault in them, which is raised after all events.

        Args:
            chunks: what `read_chunks` gives.
            after_chunk: is called when a chunk and its events are through.

        Yields:
            Events as they end.
        """
        fault: AudioError | None = None
        try:
            for chunk in chunks:
                yield from self.push(chunk)
                if after_chunk is not None:
                    after_chunk()
        except AudioError as error:
            fault = error
        yield from self.session.finish()
        if fault:
            raise fault


def pace(
    blocks: Iterable[NDArray[np.float32]],
    sample_rate: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of blocks at the speed of the sound, a tenth of a second at a time."""
    begun, given = clock(), 0
    part = round(_PACED_SECONDS * sample_rate)
    for block in blocks:
        for start in range(0, len(block), part):
            samples = block[start : start + part]
            given += len(samples)
            sleep(max(0.0, begun + given / sample_rate - clock()))
            yield samples
