"""Where the cache lies and how large it may grow."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from earmark.errors import SettingsError
from earmark.io.files import read_json, write_json
from earmark.io.sizes import parse_size

VARIABLE = "EARMARK_CACHE"
DEFAULT_MAX_BYTES = 20 * 10**9
LEAST_MAX_BYTES = 10**6
_LIMIT = "limit.json"


def cache_folder(given: str | Path | None = None) -> Path:
    """Return the folder of the cache, which need not exist.

    Args:
        given: a folder that was asked for; None: that of the environment variable EARMARK_CACHE,
            else where the system keeps caches: `~/.cache/earmark` on Linux (or in
            XDG_CACHE_HOME), `~/Library/Caches/earmark` on macOS, `%LOCALAPPDATA%\\earmark\\Cache`
            on Windows.

    Raises:
        SettingsError: the user has no home folder.
    """
    chosen = given or os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            base = Path(local) if local else Path.home() / "AppData" / "Local"
            return base / "earmark" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "earmark"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"
        return base / "earmark"
    except RuntimeError:
        raise SettingsError(
            f"there is no home folder to keep features in; set {VARIABLE} to a folder"
        ) from None


def parse_limit(text: str) -> int:
    """Return the bytes that the cache may hold at most, as `20GB`.

    Raises:
        SettingsError: it is no size, or below 1 MB.
    """
    with contextlib.suppress(SettingsError):
        if (size := parse_size(text)) >= LEAST_MAX_BYTES:
            return size
    raise SettingsError(f"--max_size must be a size of at least 1MB, as 20GB, got {text!r}")


def read_limit(folder: Path) -> int:
    """Return how many bytes the cache in `folder` may hold."""
    try:
        limit = read_json(folder / _LIMIT)["max_bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_MAX_BYTES
    fits = type(limit) is int and limit >= LEAST_MAX_BYTES
    return limit if fits else DEFAULT_MAX_BYTES


def write_limit(folder: Path, max_bytes: int) -> None:
    """Keep how many bytes the cache in `folder` may hold.

    Raises:
        OSError: the folder cannot be written.
    """
    write_json(folder / _LIMIT, {"max_bytes": max_bytes})


def limit_file(folder: Path) -> Path:
    """Return the file that `write_limit` writes."""
    return folder / _LIMIT
