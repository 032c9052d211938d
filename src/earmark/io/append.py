"""Files to which lines of JSON are only ever added, each whole.

A kill in the middle of a line leaves a torn last one, as does a disk that is full. The first is
repaired when the file is opened again, the second at once, so that a reader meets whole lines.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earmark.io.files import make_folder, parse_json

_LOOK_BYTES = 1 << 16  # read at a time, from the end, to find the last whole line


class AppendedLines:
    """A file of JSON objects, one a line, that is open to be added to.

    Args:
        path: the file; it is made where there is none.
        sync: have each line reach the disk, so that it survives a loss of power too. A kill of the
            process loses nothing either way.

    Raises:
        OSError: it cannot be opened or repaired.

    Attributes:
        repaired: bytes of a torn last line that were taken away.
        length: bytes of the file.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        make_folder(path.parent)
        self.path, self._sync = path, sync
        self._file = path.open("a+b", buffering=0)
        self.repaired, self.length = 0, self._file.seek(0, os.SEEK_END)
        self._torn = False
        self._repair()

    def append(self, content: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: the disk is full or gone; the file is as it was before.
        """
        text = json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"
        data = text.encode("utf-8", "backslashreplace")
        if self._torn:
            self._cut()
        self._torn = True
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
            if self._sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            error.filename = str(self.path)
            with contextlib.suppress(OSError):  # else the next call tries again
                self._cut()
            raise
        self.length, self._torn = self.length + len(data), False

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self) -> None:
        """Take away what was written of a line."""
        self._file.truncate(self.length)
        self._torn = False

    def _repair(self) -> None:
        """Take away a torn last line, or end it where only its end is missing."""
        tail = self._tail()
        if not tail:
            return
        self.length -= len(tail)
        whole = _object(tail) is not None
        self.repaired = 0 if whole else len(tail)
        self._cut()
        if whole:
            self._file.write(tail + b"\n")
            self.length += len(tail) + 1

    def _tail(self) -> bytes:
        """Return what stands behind the last end of a line."""
        tail, at = b"", self.length
        while at > 0 and b"\n" not in tail:
            begin = max(0, at - _LOOK_BYTES)
            self._file.seek(begin)
            tail, at = self._file.read(at - begin) + tail, begin
        return tail.rpartition(b"\n")[2]


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of such a file, in order; what is no whole line of JSON is passed over.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and (content := _object(line)) is not None:
                yield content


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        content = parse_json(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
