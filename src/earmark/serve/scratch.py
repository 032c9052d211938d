"""A server's folder of temporary files: gone with the server, or when the next one starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from earmark.errors import StorageError
from earmark.io.lock import FolderLock

_PREFIX = "earmark-serve-"
_LOCK = ".lock"  # as `FolderLock` names it
_NEW_SECONDS = 60.0  # a server that starts may not hold its folder yet


class Scratch:
    """Makes a folder among the system's temporary files, and removes those of servers that died.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        _remove_left(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self.path = Path(self._folder.name)
        self._lock: FolderLock | None = None
        with contextlib.suppress(StorageError):  # no locks here; then nobody removes it either
            self._lock = FolderLock(self.path, "start it again")

    def close(self) -> None:
        """Remove the folder."""
        if self._lock is not None:
            self._lock.release()
        self._folder.cleanup()


def _remove_left(parent: Path) -> None:
    """Remove the folders that a server of this user left, which was killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, StorageError):
            about, lock = folder.lstat(), (folder / _LOCK).lstat()
            mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
            if not (mine and stat.S_ISDIR(about.st_mode) and stat.S_ISREG(lock.st_mode)):
                continue
            if time.time() - lock.st_mtime < _NEW_SECONDS:
                continue
            FolderLock(folder, "").release()  # a server that lives holds it
            shutil.rmtree(folder)
