"""One process at a time: a folder that is held until the process ends, however it ends."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from earmark.errors import StorageError
from earmark.io.files import make_folder
from earmark.provenance import now

_NAME = ".lock"


class FolderLock:
    """Holds a folder for this process; the system lets go of it when the process is gone.

    Args:
        folder: it is made where there is none.
        remedy: what else to do, for the message.

    Raises:
        StorageError: another process holds it.
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, remedy: str) -> None:
        make_folder(folder)
        self._file: Any = (folder / _NAME).open("a+", encoding="utf-8")
        try:
            _hold(self._file)
        except OSError:
            self._file.seek(0)
            who = " ".join(self._file.read().split()) or "another process"
            self._file.close()
            raise StorageError(f"{folder}: is in use by {who}; end it, or {remedy}") from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()} on {socket.gethostname()} since {now()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let go of the folder."""
        self._file.close()


def _hold(file: Any) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
