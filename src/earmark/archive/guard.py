"""Ends a worker that hangs, takes too much memory, or has lost the process that it works for.

A decoder that hangs does so in C, where no exception reaches it, so the whole worker ends. What it
died of is left in a file, because a dead process, on whatever machine, can say nothing else.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

from earmark.archive.labelled import HANG, MEMORY

LOOKS = 0.1  # seconds from one look to the next
_BACKSTOP = 1.5  # of the time that a hang is given: of code that holds Python's lock
_SUFFIX = ".fault"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Guard:
    """Watches this process from a thread of its own.

    Args:
        folder: takes what it died of; None: nothing is left.
        hang_seconds: the longest time between two ticks.
        memory_mb: the most memory.
        parent: end when this process does; 0: whatever happens to others.
    """

    def __init__(
        self, folder: Path | None, *, hang_seconds: float, memory_mb: int, parent: int = 0
    ) -> None:
        self._folder, self._hang, self._memory = folder, hang_seconds, memory_mb << 20
        self._parent = parent
        self._file = ""
        self._ticked = self._armed = time.monotonic()
        threading.Thread(target=self._watch, name="earmark guard", daemon=True).start()

    def begin(self, file: str) -> None:
        """Begin to watch the work on a file, by its fingerprint."""
        self._file = file
        self.tick()

    def tick(self) -> None:
        """Take note that there was progress."""
        self._ticked = time.monotonic()
        if self._ticked - self._armed > 1.0 and sys.__stderr__ is not None:
            self._armed = self._ticked
            with contextlib.suppress(ValueError, OSError, RuntimeError):
                faulthandler.dump_traceback_later(_BACKSTOP * self._hang + 1, exit=True)

    def end(self) -> None:
        """Stop to watch the work on a file."""
        self._file = ""
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOKS)
            if self._parent and os.getppid() != self._parent:
                os._exit(0)  # nobody takes what it would give
            file = self._file
            if not file:
                continue
            if time.monotonic() - self._ticked > self._hang:
                self._die(file, HANG)
            if memory_used() > self._memory:
                self._die(file, MEMORY)

    def _die(self, file: str, cause: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"{file}{_SUFFIX}").write_text(cause, encoding="utf-8")
        os._exit(1)


def cause_of_death(folder: Path | None, file: str) -> str:
    """Return what a worker died of at a file, as its guard left it, and remove that; or nothing."""
    if folder is None:
        return ""
    path = folder / f"{file}{_SUFFIX}"
    try:
        cause = path.read_text(encoding="utf-8")
        path.unlink()
    except OSError:
        return ""
    return cause if cause in (HANG, MEMORY) else ""


def memory_used() -> int:
    """Return the memory of this process, in bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, the highest so far
