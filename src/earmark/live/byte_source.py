"""The bytes of a pipe, read in a thread of their own."""

from __future__ import annotations

import os
import queue
import threading

from earmark.errors import AudioError
from earmark.live.chunk import StalledError

_CHUNK_BYTES = 1 << 14
_QUEUED_CHUNKS = 64


class ByteSource:
    """The bytes of a pipe, read by a thread of their own, and what was put back."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.held = b""
        self.ended = False
        self._descriptor = descriptor
        self._queue: queue.Queue[bytes | OSError | None] = queue.Queue(_QUEUED_CHUNKS)
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def _read(self) -> None:
        try:
            # Not through the buffered stream: its lock would be held at the interpreter's exit.
            while data := os.read(self._descriptor, _CHUNK_BYTES):
                self._queue.put(data)
            self._queue.put(None)
        except OSError as error:
            self._queue.put(error)

    def take(self, timeout: float | None) -> bool:
        """Add what comes next to what is held; tell whether something came.

        Raises:
            StalledError: nothing came for `timeout` seconds.
            AudioError: the pipe cannot be read.
        """
        if self.ended:
            return False
        try:
            data = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise StalledError(f"{self.name}: nothing came for {timeout:g} s") from None
        if isinstance(data, OSError):
            self.ended = True
            raise AudioError(f"{self.name}: cannot be read ({data.strerror})")
        if data is None:
            self.ended = True
            return False
        self.held += data
        return True

    def fill(self, count: int, timeout: float | None) -> bool:
        """Hold `count` bytes, or all there are; tell whether there are so many."""
        while len(self.held) < count and self.take(timeout):
            pass
        return len(self.held) >= count

    def pop(self, count: int) -> bytes:
        """Return the first bytes held, and hold them no more."""
        data, self.held = self.held[:count], self.held[count:]
        return data
