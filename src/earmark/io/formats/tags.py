"""Tags around audio: ID3, APE, Lyrics3."""

from __future__ import annotations

import struct

_ID3_BYTES, _ID3V1_BYTES, _APE_BYTES = 10, 128, 32


def id3_length(head: bytes) -> int:
    """Return the length of the ID3v2 tag that `head` begins with, or 0."""
    if head[:3] != b"ID3" or len(head) < _ID3_BYTES or max(head[6:10]) > 0x7F:
        return 0
    # four bytes of 7 bits each
    length = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return _ID3_BYTES + length + (_ID3_BYTES if head[5] & 0x10 else 0)


def tag_length(head: bytes) -> int:
    """Return the length of the tag of any kind that `head` begins with, or 0."""
    if head[:3] == b"TAG":
        return _ID3V1_BYTES
    if head[:8] == b"APETAGEX" and len(head) >= _APE_BYTES:
        length, _, flags = struct.unpack("<III", head[12:24])
        is_header = bool(flags & 1 << 29)
        return int(length) + _APE_BYTES if is_header else _APE_BYTES
    if head[:11] == b"LYRICSBEGIN":
        return head.find(b"LYRICS200") + 9 if b"LYRICS200" in head else len(head)
    return id3_length(head)
