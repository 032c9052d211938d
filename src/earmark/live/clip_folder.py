"""A folder of clips, bounded by size and age: the oldest go first.

Clips lie in a folder for each day, as `2026-11-25/20261125T171611.123Z_Dog_bark_<id>.flac`. Only
files with such names are ever removed.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.io.files import make_folder, write_bytes

_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_.+_[0-9a-f]+-\d+\.flac")
_LABEL_CHARACTERS = 40
_DAY_SECONDS = 86_400.0


class ClipFolder:
    """Keeps clips as FLAC.

    Args:
        folder: where to.
        most_bytes: all clips together.
        most_days: how long a clip is kept, from when it was written.
        clock: gives the time in seconds since 1970.

    Raises:
        OSError: the folder cannot be made or read.

    Attributes:
        bytes: size of all clips.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        most_days: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self._most, self._clock = folder, most_bytes, clock
        self._age = most_days * _DAY_SECONDS
        self.bytes = 0
        make_folder(folder)
        found = []
        for path in folder.glob("*/*"):
            if path.name.startswith(".") and path.suffix == ".part":  # of a kill
                path.unlink(missing_ok=True)
            elif _NAME.fullmatch(path.name):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        self._kept = deque(sorted(found))
        self.bytes = sum(size for _, size, _ in self._kept)
        self.prune()

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._kept)

    def add(
        self,
        samples: NDArray[np.int16],
        sample_rate: int,
        *,
        start: datetime.datetime,
        label: str,
        name: str,
    ) -> str:
        """Keep a clip; make room for it first.

        Args:
            samples: `(samples,)`.
            sample_rate: of the samples, in Hz.
            start: when its event began, in UTC.
            label: class of the event.
            name: of the event.

        Returns:
            Its path within the folder, with `/` on every system.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / clip_path(start, label, name)
        file = io.BytesIO()
        soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
        data = file.getvalue()
        self.prune(len(data))
        write_bytes(path, data)
        self._kept.append((self._clock(), len(data), path))
        self.bytes += len(data)
        return path.relative_to(self.folder).as_posix()

    def prune(self, room: int = 0) -> None:
        """Remove what is too old, and the oldest until there is room for so many bytes."""
        while self._kept:
            made, size, path = self._kept[0]
            if self.bytes + room <= self._most and self._clock() - made <= self._age:
                return
            path.unlink(missing_ok=True)
            self._kept.popleft()
            self.bytes -= size
            with contextlib.suppress(OSError):  # it holds more
                path.parent.rmdir()


def clip_path(start: datetime.datetime, label: str, name: str) -> str:
    """Return the path of a clip within its folder; see `ClipFolder.add`."""
    stamp = start.strftime("%Y%m%dT%H%M%S.") + f"{start.microsecond // 1000:03d}Z"
    word = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")[:_LABEL_CHARACTERS] or "event"
    return f"{start:%Y-%m-%d}/{stamp}_{word}_{name}.flac"
