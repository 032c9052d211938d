"""A pack: one file with the frames of many clips of one front end.

    frames     float32, little endian, `(frames, n_mels)`, clip after clip
    index      JSON: what they were made with, and for each clip digest, frames, seconds, notes
    length     of the index in bytes, 8 bytes, little endian
    mark       8 bytes

A pack is written whole and never changed, so any number of processes may read it, and one that is
removed meanwhile stays whole for those that have it open.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.data.frames import Source, View
from earmark.io.files import write_whole

SUFFIX = ".frames"
_MARK = b"earmark1"
_LONGEST_INDEX = 1 << 28  # bytes


@dataclass(frozen=True)
class Entry:
    """A clip to be kept.

    Attributes:
        digest: SHA-256 of its file.
        frames: its log-mel frames, `(frames, n_mels)`.
        seconds: its length.
        notes: what is suspicious about its audio, a line each, without a name.
    """

    digest: str
    frames: NDArray[np.float32]
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """A clip that is kept: its frames where they lie, the rest as of an `Entry`."""

    digest: str
    frames: View
    seconds: float
    notes: tuple[str, ...]


def write_pack(path: Path, key: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write clips as one pack, whole or not at all.

    Args:
        path: the new file.
        key: what the frames were made with, plain values.
        entries: the clips, at least one.

    Raises:
        OSError: it cannot be written.
    """
    index = {
        "key": dict(key),
        "n_mels": entries[0].frames.shape[1],
        "clips": [[e.digest, len(e.frames), e.seconds, list(e.notes)] for e in entries],
    }
    text = json.dumps(index, ensure_ascii=True, separators=(",", ":")).encode("ascii")

    def write(file: BinaryIO) -> None:
        for entry in entries:
            file.write(np.ascontiguousarray(entry.frames, np.dtype("<f4")).data)
        file.write(text + struct.pack("<Q", len(text)) + _MARK)

    write_whole(path, write)


class Pack:
    """A pack that is read.

    Args:
        path: its file.

    Raises:
        OSError, ValueError: it is missing, not a pack, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            index = _read_index(file, self.size)
        try:
            self.key: Mapping[str, Any] = dict(index["key"])
            self.n_mels = int(index["n_mels"])
            self._clips: dict[str, tuple[int, int, float, tuple[str, ...]]] = {}
            end = 0
            for digest, count, seconds, notes in index["clips"]:
                if type(count) is not int or count < 1:
                    raise ValueError("a clip without frames")
                self._clips[str(digest)] = (end, count, float(seconds), tuple(map(str, notes)))
                end += count
        except (KeyError, TypeError) as error:
            raise ValueError(f"an index that is not one ({error})") from None
        if self.n_mels < 1 or end * self.n_mels * 4 != index["bytes"]:
            raise ValueError("frames that are not those of the index")
        self._frames = end
        self._source: Source | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def digests(self) -> Collection[str]:
        """The digests of its clips."""
        return self._clips.keys()

    def find(self, digest: str) -> Stored | None:
        """Return a clip; None where the pack has none such, or has been removed meanwhile."""
        if digest not in self._clips:
            return None
        with self._lock:
            if self._source is None:
                try:
                    self._source = Source.map_file(self.path, self._frames, self.n_mels)
                except (OSError, ValueError):
                    self._clips.clear()
                    return None
        start, count, seconds, notes = self._clips[digest]
        return Stored(digest, View(self._source, start, count), seconds, notes)


def _read_index(file: BinaryIO, size: int) -> dict[str, Any]:
    """Return a pack's index, with the number of bytes before it.

    Raises:
        ValueError: there is none.
    """
    tail = 8 + len(_MARK)
    file.seek(max(0, size - tail))
    end = file.read(tail)
    if len(end) < tail or end[8:] != _MARK:
        raise ValueError("not a pack")
    (length,) = struct.unpack("<Q", end[:8])
    if length > min(size - tail, _LONGEST_INDEX):
        raise ValueError("an index longer than the file")
    file.seek(size - tail - length)
    index = json.loads(file.read(length))
    if not isinstance(index, dict):
        raise ValueError("an index that is not one")
    return {**index, "bytes": size - tail - length}
