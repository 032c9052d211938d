"""Where files of MPEG-4, Matroska and Windows Media end, by their own sizes."""

from __future__ import annotations

import struct
from typing import BinaryIO

_MOST_BOXES = 1_000_000
_OBJECT_BYTES = 24
_SEGMENT = b"\x18\x53\x80\x67"


def end_of(raw: BinaryIO, key: str, begin: int, limit: int) -> int:
    """Return where a file that begins at `begin` ends; `limit`, where it does not say.

    An end behind `limit` means that bytes are missing.

    Args:
        raw: the file.
        key: the key of its `earmark.io.formats.sniff.Kind`.
        begin: where it begins.
        limit: the end of the bytes that may belong to it.
    """
    if key == "mp4":
        return _mp4(raw, begin, limit)
    if key == "matroska":
        return _matroska(raw, begin, limit)
    if key == "asf":
        return _asf(raw, begin, limit)
    return limit


def _mp4(raw: BinaryIO, at: int, limit: int) -> int:
    for _ in range(_MOST_BOXES):
        raw.seek(at)
        head = raw.read(16)
        if len(head) < 8 or at + 8 > limit:
            return at if at < limit else limit
        size, name = struct.unpack(">I4s", head[:8])
        if not all(0x20 <= sign < 0x7F or sign == 0xA9 for sign in name):
            return at
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:])
        if size < 8 or at + size > limit:  # 0: up to the end
            return limit
        at += size
    return limit


def _matroska(raw: BinaryIO, at: int, limit: int) -> int:
    raw.seek(at)
    head = raw.read(64)
    body, length = _number(head, 4)
    if length is None:
        return limit
    at += body + length
    raw.seek(at)
    head = raw.read(16)
    body, length = _number(head, 4)
    if head[:4] != _SEGMENT or length is None:
        return limit
    return at + body + length


def _number(head: bytes, at: int) -> tuple[int, int | None]:
    """Read a number of EBML; return the place behind it, and it, or None for "unknown"."""
    if len(head) <= at or head[at] == 0:
        return at, None
    count = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + count], "big") & ((1 << 7 * count) - 1)
    return at + count, None if value == (1 << 7 * count) - 1 else value


def _asf(raw: BinaryIO, at: int, limit: int) -> int:
    for number in range(_MOST_BOXES):
        raw.seek(at)
        head = raw.read(_OBJECT_BYTES)
        if len(head) < _OBJECT_BYTES or at + _OBJECT_BYTES > limit:
            return at if number else limit
        (size,) = struct.unpack("<Q", head[16:])
        if size < _OBJECT_BYTES or at + size > limit:
            return at if number > 1 else limit  # of a live stream, the size of the data is unknown
        at += size
    return limit
