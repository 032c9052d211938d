"""Audio files -> log-mel frames: decoded on all cores, or found in the cache.

A file is known by its content, so a clip that was moved, or stands in several datasets, is decoded
once. What is suspicious about its audio is said each time it is used.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.data.cache.packs import Entry, Stored
from earmark.data.cache.place import VARIABLE
from earmark.data.cache.store import PACK_BYTES, FeatureCache, Shelf
from earmark.data.frames import Source, View
from earmark.data.readers import Clip
from earmark.errors import AudioError, AudioWarning
from earmark.io import decode
from earmark.io.files import sha256_of_file
from earmark.nn.features import LogMel

Progress = Callable[[Iterable[object]], Iterable[object]]
_AHEAD = 4  # clips for each core that are decoded before they are asked for


@dataclass(frozen=True)
class FeatureClip:
    """A clip that could be read.

    Attributes:
        clip: what it is.
        frames: its log-mel frames, `(frames, mels)`.
        seconds: its length.
        digest: SHA-256 of its file.
    """

    clip: Clip
    frames: NDArray[np.float32] | View
    seconds: float
    digest: str


def file_frames(
    path: Path, front_end: LogMel, warn: Callable[[str], object] | None = None
) -> tuple[NDArray[np.float32], float]:
    """Return a file's log-mel frames `(frames, mels)` and its seconds, in bounded memory.

    Args:
        path: the file.
        front_end: makes the frames.
        warn: see `earmark.io.decode.read_blocks`.

    Raises:
        AudioError: see `earmark.io.decode.read_blocks`.
    """
    lengths: list[int] = []

    def counted() -> Iterator[NDArray[np.float32]]:
        for block in decode.read_blocks(path, front_end.settings.sample_rate, warn=warn):
            lengths.append(len(block))
            yield block

    with torch.inference_mode():
        frames = torch.cat(list(front_end.clip_frames(counted())), dim=1)[0].numpy()
    return frames, sum(lengths) / front_end.settings.sample_rate


def extract_clips(
    clips: Sequence[Clip],
    settings: FrontEndSettings,
    progress: Progress = iter,
    *,
    cache: FeatureCache | None = None,
    remark: Callable[[str], object] = lambda _: None,
) -> tuple[list[FeatureClip], list[str]]:
    """Make the features of clips, on all cores; those in the cache are not decoded.

    Args:
        clips: what to read.
        settings: the front end.
        progress: wraps the iteration over clips, to show a bar.
        cache: where features are looked for and kept; None: they are kept in memory.
        remark: takes a line about a cache that cannot be written, or is too small.

    Returns:
        The readable clips in order, and one line for each of the others.
    """
    front_end = LogMel(settings)
    keeper = _Keeper(cache.shelf(settings) if cache else None, remark)

    def one(clip: Clip) -> Entry | Stored | str:
        try:
            digest = _digest(clip.path)
            if digest and (stored := keeper.find(digest)):
                return stored
            lines: list[str] = []
            frames, seconds = file_frames(clip.path, front_end, lines.append)
            notes = tuple(line.removeprefix(f"{clip.path}: ") for line in lines)
            return Entry(digest or sha256_of_file(clip.path), frames, seconds, notes)
        except (AudioError, OSError) as error:
            return str(error)

    readable: list[tuple[Clip, str, float]] = []
    failures: list[str] = []
    results = _in_order(one, clips)
    try:
        # A bar yields what it is given; it knows of it only as objects.
        for clip, result in zip(clips, progress(results), strict=True):
            if not isinstance(result, (Entry, Stored)):
                failures.append(str(result))
                continue
            for note in result.notes:
                warnings.warn(AudioWarning(str(clip.path), note), stacklevel=2)
            keeper.take(result)
            readable.append((clip, result.digest, result.seconds))
    finally:  # what is decoded is kept, though the rest was interrupted
        results.close()
        keeper.finish()
    return [FeatureClip(c, keeper.views[d], seconds, d) for c, d, seconds in readable], failures


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file; nothing where it cannot be read, for the decoder says why."""
    try:
        return sha256_of_file(path)
    except OSError:
        return ""


def _in_order(
    one: Callable[[Clip], Entry | Stored | str], clips: Sequence[Clip]
) -> Generator[Entry | Stored | str, None, None]:
    """Yield what a function gives for each clip, in order; a few are worked on ahead."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[Entry | Stored | str]] = deque()
        try:
            for clip in clips:
                waiting.append(pool.submit(one, clip))
                if len(waiting) > cores * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Keeper:
    """Collects the frames of clips, in the cache or, where there is none, in memory.

    Frames are copied into large slabs at once: small arrays that stay, between the large ones that
    each decoding makes and drops, would keep six times their memory from being given back.

    Attributes:
        views: the frames of each clip, by the SHA-256 of its file.
    """

    def __init__(self, shelf: Shelf | None, remark: Callable[[str], object]) -> None:
        self.views: dict[str, View] = {}
        self._shelf, self._remark = shelf, remark
        self._writable = shelf is not None
        self._waiting: list[Entry] = []
        self._slab: Source | None = None
        self._filled = 0  # frames of the slab

    def find(self, digest: str) -> Stored | None:
        """Return a clip of the cache; for any thread."""
        return self._shelf.find(digest) if self._shelf else None

    def take(self, item: Entry | Stored) -> None:
        """Keep a clip's frames."""
        if item.digest in self.views:
            return
        if isinstance(item, Stored):
            self.views[item.digest] = item.frames
            return
        view = self._copy(item.frames)
        self.views[item.digest] = view
        if self._writable:
            self._waiting.append(replace(item, frames=view.array))

    def finish(self) -> None:
        """Write what is not written yet, and keep the cache within its limit."""
        self._write()
        if self._shelf and (line := self._shelf.finish()):
            self._remark(line)

    def _copy(self, frames: NDArray[np.float32]) -> View:
        """Copy frames into the slab; a slab that is full becomes a pack."""
        count, n_mels = frames.shape
        if self._slab is None or self._filled + count > len(self._slab.array):
            self._write()
            rows = max(count, PACK_BYTES // (4 * n_mels))
            self._slab, self._filled = Source(np.empty((rows, n_mels), np.float32)), 0
        view = View(self._slab, self._filled, count)
        view.array[:] = frames
        self._filled += count
        return view

    def _write(self) -> None:
        entries, self._waiting, self._slab = self._waiting, [], None
        if not entries or self._shelf is None:
            return
        try:
            self._shelf.add(entries)
        except OSError as error:
            self._writable = False
            self._remark(
                f"{error.filename or self._shelf.folder}: features cannot be kept here "
                f"({(error.strerror or str(error)).lower()}), so they stay in memory and are made "
                f"anew next time; set {VARIABLE} to a folder with room"
            )
            return
        for entry in entries:
            if stored := self._shelf.find(entry.digest):
                self.views[entry.digest] = stored.frames
