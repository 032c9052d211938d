"""The cache: frames of audio files on disk, found by the content of the file.

It also holds what a frozen network says of sounds that are generated, the same in every run.

    FOLDER/features/KEY/NAME.frames    packs, see `packs`; KEY: a digest of front end and versions
    FOLDER/limit.json                  how large it may grow

Several processes may use it at once: packs are written whole under names of their own and never
changed, two that decode the same file both keep it, and the one used longest ago goes first.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import soxr

from earmark.config import FrontEndSettings, to_json
from earmark.data.cache.packs import SUFFIX, Entry, Pack, Stored, write_pack
from earmark.data.cache.place import cache_folder, limit_file, read_limit, write_limit
from earmark.io.files import make_folder, sha256_of_json
from earmark.io.sizes import show_size

# To be raised when decoding, resampling or the front end gives other frames than before.
VERSION = 1
PACK_BYTES = 128 << 20  # of frames, from which on a pack is written
_FEATURES = "features"
_STALE_SECONDS = 24 * 3600.0  # what is older and half written was left by a kill


@dataclass(frozen=True)
class Holding:
    """What the cache has of one front end, or of one network.

    Attributes:
        front_end: its settings, as JSON has them; empty where they cannot be read.
        network: identity of the network whose embeddings these are; empty for frames.
        clips: how many clips.
        size: bytes on disk.
        used: when it was used last, seconds since 1970.
        current: this version of Earmark and its decoders would use it.
    """

    front_end: dict[str, Any]
    network: str
    clips: int
    size: int
    used: float
    current: bool


class FeatureCache:
    """Features on disk.

    Args:
        folder: where; None: see `cache_folder`.
        max_bytes: how large it may grow; None: as was set for the folder.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int | None = None) -> None:
        self.folder = cache_folder(folder)
        self.max_bytes = read_limit(self.folder) if max_bytes is None else max_bytes

    def shelf(self, settings: FrontEndSettings) -> Shelf:
        """Return the part of the cache that holds frames of one front end."""
        return Shelf(self, {"front_end": to_json(settings)}, settings.n_mels)

    def embedding_shelf(self, network: str, size: int) -> Shelf:
        """Return the part of the cache that holds embeddings by one network.

        Args:
            network: its identity.
            size: numbers of an embedding; it takes the place of the bands of a frame.
        """
        return Shelf(self, {"network": network}, size)

    def set_limit(self, max_bytes: int) -> None:
        """Keep another limit, and remove what is over it.

        Raises:
            OSError: the folder cannot be written.
        """
        make_folder(self.folder)
        write_limit(self.folder, max_bytes)
        self.max_bytes = max_bytes
        self.prune()

    def holdings(self) -> list[Holding]:
        """Say what the cache holds, by front end, the one used last first."""
        found = []
        for folder in self._folders():
            packs = _packs(folder)
            if not packs:
                continue
            indices = [pack for path, _, _ in packs if (pack := _open(path))]
            key = indices[0].key if indices else {}
            front_end = key.get("front_end")
            found.append(
                Holding(
                    front_end if isinstance(front_end, dict) else {},
                    str(key.get("network", "")),
                    len({digest for pack in indices for digest in pack.digests}),
                    sum(size for _, size, _ in packs),
                    max(used for _, _, used in packs),
                    key.get("made_with") == _made_with(),
                )
            )
        return sorted(found, key=lambda holding: -holding.used)

    def size(self) -> int:
        """Return the bytes of all packs."""
        return sum(size for folder in self._folders() for _, size, _ in _packs(folder))

    def prune(self, keep: Collection[Path] = ()) -> list[Path]:
        """Remove the packs used longest ago until the rest is within the limit.

        Args:
            keep: packs that stay, whatever their size.

        Returns:
            The packs that were removed.
        """
        everything = [pack for folder in self._folders() for pack in _packs(folder)]
        over = sum(size for _, size, _ in everything) - self.max_bytes
        removed = []
        for path, size, _ in sorted(everything, key=lambda pack: (pack[2], pack[0])):
            if over <= 0:
                break
            if path not in keep and _remove(path):
                removed.append(path)
                over -= size
        self._remove_stale()
        return removed

    def clear(self) -> int:
        """Remove all packs and the limit, and return the bytes that this set free."""
        freed = 0
        for folder in self._folders():
            freed += sum(size for path, size, _ in _packs(folder) if _remove(path))
        self._remove_stale(older_than=0.0)
        limit_file(self.folder).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self.folder / _FEATURES).rmdir()
        return freed

    def _folders(self) -> list[Path]:
        try:
            return sorted(p for p in (self.folder / _FEATURES).iterdir() if p.is_dir())
        except OSError:
            return []

    def _remove_stale(self, older_than: float = _STALE_SECONDS) -> None:
        """Remove what a kill left half written, and folders without packs."""
        for folder in self._folders():
            for part in folder.glob(f".*{SUFFIX}.*.part"):
                with contextlib.suppress(OSError):
                    if time.time() - part.stat().st_mtime >= older_than:
                        part.unlink()
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


class Shelf:
    """The frames of one front end, or embeddings by one network, for one run of one process.

    Args:
        cache: the cache.
        made_by: what they are made with, plain values.
        width: numbers of a frame.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, cache: FeatureCache, made_by: dict[str, Any], width: int) -> None:
        self._cache, self._n_mels = cache, width
        self._key = {**made_by, "made_with": _made_with()}
        self.folder = cache.folder / _FEATURES / sha256_of_json(self._key)[:16]
        self._packs: list[Pack] = []
        self._used: set[Path] = set()
        for path, _, _ in _packs(self.folder):
            self._take(path)

    def find(self, digest: str) -> Stored | None:
        """Return the clip of a file with this SHA-256; None: it is not here. For any thread."""
        for pack in self._packs:
            if stored := pack.find(digest):
                self._used.add(pack.path)
                return stored
        return None

    def add(self, entries: Sequence[Entry]) -> None:
        """Keep clips, at least one.

        Raises:
            OSError: the cache cannot be written.
        """
        path = self.folder / f"{secrets.token_hex(8)}{SUFFIX}"
        write_pack(path, self._key, entries)
        self._take(path)
        self._used.add(path)

    def finish(self) -> str:
        """Mark what was used as used now, and remove other packs while the cache is too large.

        Returns:
            A line where what is in use is more than the cache may hold, else nothing.
        """
        for path in self._used:
            with contextlib.suppress(OSError):
                os.utime(path)
        self._cache.prune(self._used)
        needed, limit = self._cache.size(), self._cache.max_bytes
        if needed <= limit:
            return ""
        return (
            f"{self._cache.folder}: the features in use need {show_size(needed)}, and the cache "
            f"may hold {show_size(limit)}, so the next use removes some; raise it with: "
            f"earmark cache --max_size {-(-needed // 10**9)}GB"
        )

    def _take(self, path: Path) -> None:
        pack = _open(path)
        if pack and pack.key == self._key and pack.n_mels == self._n_mels:
            self._packs.append(pack)


def _made_with() -> dict[str, Any]:
    """Return what, beside the front end, frames depend on."""
    made_with = {
        "features": VERSION,
        "libsndfile": str(soundfile.__libsndfile_version__),
        "soxr": str(soxr.__version__),
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        made_with["av"] = importlib.metadata.version("av")
    return made_with


def _packs(folder: Path) -> list[tuple[Path, int, float]]:
    """Return path, bytes and time of last use of the packs in a folder."""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if path.name.startswith("."):
                continue
            with contextlib.suppress(OSError):  # removed by another process
                about = path.stat()
                found.append((path, about.st_size, about.st_mtime))
    return found


def _open(path: Path) -> Pack | None:
    """Return a pack; None where it has gone or is damaged, which costs a decoding."""
    try:
        return Pack(path)
    except (OSError, ValueError):
        return None


def _remove(path: Path) -> bool:
    """Remove a pack; False where a process has it open on a system that minds."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
