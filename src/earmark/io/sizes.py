"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

from earmark.errors import SettingsError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)b?\s*")


def parse_size(text: str) -> int:
    """Return the bytes that a size such as `20GB`, `500 MB` or `1.5e9` stands for.

    Raises:
        SettingsError: it is no size.
    """
    found = _SIZE.fullmatch(text.lower())
    try:
        size = float(found[1]) * _UNITS[found[2]] if found else -1.0
    except (ValueError, OverflowError):
        size = -1.0
    if not 0 <= size < 2**63:
        raise SettingsError(f"{text!r} is no size; give one as 500MB or 2GB")
    return round(size)


def show_size(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 10**3:.1f} kB"
