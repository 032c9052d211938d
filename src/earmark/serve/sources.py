"""Sounds that come from the server's own side: uploaded files, files it was told of, a microphone.

Each is read in a thread of its own, which waits while the stream has enough.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.errors import AudioError
from earmark.io import decode
from earmark.live.capture import Notice, Reconnecting, Source, pace, read_chunks
from earmark.live.chunk import Chunk
from earmark.live.sources import STALL_SECONDS, Microphone
from earmark.serve.settings import RefusedError

if TYPE_CHECKING:
    from earmark.serve.hub import Hub
    from earmark.serve.stream import Stream

_AHEAD_SECONDS = 2.0  # of a file, decoded before they are scored


def read_file(
    path: Path, sample_rate: int, name: str, most_seconds: float
) -> Generator[NDArray[np.float32], None, None]:
    """Decode a file in blocks of a second.

    Args:
        path: the file.
        sample_rate: of the blocks.
        name: stands for the path in faults, because a client may not know of paths.
        most_seconds: a longer file is refused there.

    Raises:
        AudioError: see `read_blocks`.
        RefusedError: it is too long.
    """
    given = 0
    blocks = decode.read_blocks(
        path, sample_rate, block_seconds=1.0, allow_silence=True, keep_truncated=True, warn=_quiet
    )
    try:
        for block in blocks:
            given += len(block)
            if given > most_seconds * sample_rate:
                raise RefusedError(
                    "length", f"{name}: is longer than {most_seconds / 3600:g} h; cut it", 413
                )
            yield block
    except AudioError as error:
        raise AudioError(str(error).replace(str(path), name)) from None


def _quiet(line: str) -> None:
    """What is suspicious in a file is no concern of the server's terminal."""


class FileReader:
    """Gives a stream the samples of a file, as fast as they are scored or at their own speed.

    Args:
        hub: advances the stream.
        stream: the stream, at the model's rate.
        path: the file.
        real_time: at the speed of the sound.
    """

    def __init__(self, hub: Hub, stream: Stream, path: Path, *, real_time: bool = False) -> None:
        self._hub, self._stream, self._path = hub, stream, path
        self._real_time = real_time
        self._thread = threading.Thread(target=self._read, name="earmark-file", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _read(self) -> None:
        stream = self._stream
        blocks: Iterable[NDArray[np.float32]] = read_file(
            self._path, stream.sample_rate, stream.name, self._hub.limits.upload_seconds
        )
        if self._real_time:
            blocks = pace(blocks, stream.sample_rate)
        fault = ""
        with contextlib.suppress(_StoppedError):
            try:
                for block in blocks:
                    if not stream.wait_for_room(_AHEAD_SECONDS):
                        raise _StoppedError
                    self._hub.put(stream, Chunk(block[:, None], stream.sample_rate))
            except (AudioError, RefusedError) as error:
                fault = str(error)
        if fault:
            none = np.zeros((0, 1), np.float32)
            self._hub.put(stream, Chunk(none, stream.sample_rate, note=fault))
        self._hub.finish(stream)


class _StoppedError(Exception):
    """Nobody wants the rest."""


class MicrophoneReader:
    """Gives a stream what the server's microphone hears; it is waited for when it goes.

    Args:
        hub: advances the stream.
        device: name or number; None: the system's default.
        open_source: opens it.

    Attributes:
        stream: the stream; another may be put in its place.
    """

    def __init__(self, hub: Hub, device: str | None, open_source: type[Microphone] | None = None):
        self._hub = hub
        opened = open_source or Microphone
        self._open = lambda: opened(device)
        self.source: Source = self._open()
        self.sample_rate = int(getattr(self.source, "sample_rate", 0))
        self._thread = threading.Thread(target=self._read, name="earmark-microphone", daemon=True)
        self.stream: Stream | None = None

    def start(self, stream: Stream) -> None:
        """Begin to listen."""
        self.stream = stream
        self._thread.start()

    def _read(self) -> None:
        notes: list[str] = []

        def report(notice: Notice) -> None:
            notes.append(notice.text)

        chunks = read_chunks(
            self.source,
            stall_seconds=STALL_SECONDS,
            reconnecting=Reconnecting(open=self._open),
            report=report,
            sleep=time.sleep,
        )
        for chunk in chunks:
            stream = self.stream
            if stream is None:
                break
            if (stream.over or stream.ending) and stream is self.stream:
                break
            note = "; ".join(notes)
            notes.clear()
            self._hub.put(
                stream, Chunk(chunk.samples, chunk.sample_rate, chunk.dropped, note or chunk.note)
            )
        if self.stream is not None:
            self._hub.finish(self.stream)
