"""Keeps what C libraries print off standard error.

libsndfile decodes mp3 with mpg123, which prints each oddity it meets, without the file's name, and
libsndfile has no setting against it. File descriptor 2 is everyone's, so it stays as it is: only
the variable `stderr` of the C library, through which mpg123 prints and Python does not, points to
nowhere while an mp3 file is decoded. The manuals of glibc and of Apple's C library allow that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_kept: int | None = None


@contextlib.contextmanager
def no_chatter() -> Iterator[None]:
    """Let C libraries print nothing meanwhile; Python's own standard error is not touched."""
    global _users, _kept
    variable, nowhere = _variable()
    if variable is None:
        yield
        return
    with _lock:
        if _users == 0:
            _kept, variable.value = variable.value, nowhere
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                variable.value = _kept


_found: tuple[ctypes.c_void_p | None, int | None] | None = None


def _variable() -> tuple[ctypes.c_void_p | None, int | None]:
    """Return the C library's variable `stderr` and a stream that leads nowhere."""
    global _found
    with _lock:
        if _found is None:
            _found = None, None
            with contextlib.suppress(OSError, ValueError, AttributeError):
                name = "stderr" if _is_glibc() else "__stderrp" if sys.platform == "darwin" else ""
                if name:
                    library = ctypes.CDLL(None)
                    library.fopen.restype = ctypes.c_void_p
                    nowhere = library.fopen(os.devnull.encode(), b"w")
                    if nowhere:
                        _found = ctypes.c_void_p.in_dll(library, name), nowhere
        return _found


def _is_glibc() -> bool:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    return False
