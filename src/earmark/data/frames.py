"""Frames of many clips, without a copy of them in memory.

A clip is a view, a start and a number of frames, on frames that lie in a mapped file. What is read
of mapped files counts as the program's memory until it is let go, so it is let go now and then; the
system keeps what it has room for, and reads the rest again.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HELD_BYTES = 128 << 20  # of mapped files, before they are let go
_AROUND_BYTES = 128 << 10  # that the system maps beside what is read


class Source:
    """Frames that lie one after the other, `(frames, input_size)`, in memory or in a mapped file.

    Attributes:
        array: the frames; those of a file cannot be written to.
        mapped: they lie in a file.
    """

    def __init__(self, array: NDArray[np.float32], mapping: mmap.mmap | None = None) -> None:
        self.array, self._mapping = array, mapping

    @classmethod
    def map_file(cls, path: Path, frames: int, input_size: int) -> Source:
        """Map the first `frames` frames of a file.

        Raises:
            OSError, ValueError: there is no such file, or it is shorter.
        """
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), frames * input_size * 4, access=mmap.ACCESS_READ)
        array = np.frombuffer(mapping, np.dtype("<f4")).reshape(frames, input_size)
        return cls(array, mapping)

    @property
    def mapped(self) -> bool:
        """The frames lie in a file."""
        return self._mapping is not None

    def let_go(self) -> None:
        """Count what was read of a file no longer as memory of this program."""
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError):
                self._mapping.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class View:
    """The frames of one clip.

    Attributes:
        source: where they lie.
        start: the first of them there.
        count: how many they are.
    """

    source: Source
    start: int
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def array(self) -> NDArray[np.float32]:
        """The frames `(frames, input_size)` where they lie, not a copy."""
        return self.source.array[self.start : self.start + self.count]


def as_view(frames: NDArray[np.float32] | View) -> View:
    """Return a clip's frames as a view, where they are an array of their own."""
    return frames if isinstance(frames, View) else View(Source(frames), 0, len(frames))


class ClipFrames:
    """The frames of some clips, as if they lay one after the other, `(total frames, input_size)`.

    Args:
        views: the clips.
        input_size: features of a frame.
    """

    def __init__(self, views: Sequence[View], input_size: int) -> None:
        self.views, self._input_size = views, input_size
        self._total = sum(len(view) for view in views)
        self._held_bytes = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Frames of all clips, and features of a frame."""
        return self._total, self._input_size

    @property
    def ndim(self) -> int:
        """Two, as of the array that it stands for."""
        return 2

    @property
    def nbytes(self) -> int:
        """Bytes that all frames take."""
        return 4 * self._total * self._input_size

    @property
    def mapped(self) -> bool:
        """All clips lie in files."""
        return all(view.source.mapped for view in self.views)

    def __len__(self) -> int:
        return self._total

    def clip(self, index: int) -> NDArray[np.float32]:
        """Return a copy of one clip's frames, `(frames, input_size)`."""
        return np.array(self._read(self.views[index]))

    def clips(self) -> Iterator[NDArray[np.float32]]:
        """Yield each clip's frames, `(frames, input_size)`, to be read and not kept."""
        return map(self._read, self.views)

    def gather(self, chosen: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some frames of some clips.

        Args:
            chosen: clip numbers `(batch,)`.
            places: numbers of frames within each, `(batch, frames)`.

        Returns:
            `(batch, frames, input_size)`.
        """
        taken = np.empty((*places.shape, self._input_size), np.float32)
        for row, (index, at) in enumerate(zip(chosen.tolist(), places, strict=True)):
            taken[row] = self._read(self.views[index])[at]
        return taken

    def select(self, chosen: Sequence[int]) -> ClipFrames:
        """Return some of the clips; no frame is copied."""
        return ClipFrames([self.views[index] for index in chosen], self._input_size)

    def together(self) -> NDArray[np.float32]:
        """Return a copy of all frames, one clip after the other."""
        joined = np.empty(self.shape, np.float32)
        end = 0
        for clip in self.clips():
            joined[end : end + len(clip)] = clip
            end += len(clip)
        return joined

    def _read(self, view: View) -> NDArray[np.float32]:
        """Return a clip's frames, and let go of earlier ones when there are many."""
        self._held_bytes += 4 * view.count * self._input_size + _AROUND_BYTES
        if self._held_bytes > _HELD_BYTES:
            self._held_bytes = 0
            for source in {id(view.source): view.source for view in self.views}.values():
                source.let_go()
        return view.array
