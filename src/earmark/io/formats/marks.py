"""Where a recording begins inside a file: the long marks of formats."""

from __future__ import annotations

import re
from typing import BinaryIO

# What begins a recording wherever it stands: long enough that chance does not make it.
MARK = re.compile(
    rb"(?:RIFF|RF64|BW64|RIFX)....WAVE(?:fmt |ds64|JUNK|bext|LIST)|fLaC[\x00\x80]\x00\x00\x22"
    rb"|OggS\x00\x02|FORM....AIF[FC](?:COMM|FVER|COMT)|caff\x00\x01\x00\x00desc|RIFF....AVI LIST"
    rb"|\x00\x00\x00.ftyp(?=M4A |M4B |isom|iso[2-9]|mp4[12]|qt  |3gp|dash|avc1|MSNV)"
    rb"|\x1a\x45\xdf\xa3.{4,40}(?:webm|matroska)|\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"
    rb"|riff\x2e\x91\xcf\x11|\.snd\x00\x00.{2}.{4}\x00\x00\x00[\x01-\x1b]\x00",
    re.DOTALL,
)
# The same, and what begins an mp3; an ID3 tag also stands inside of AAC and transport streams.
MARK_OR_MP3 = re.compile(
    MARK.pattern + rb"|ID3[\x02-\x04]\x00[\x00\x10\x40\x80][\x00-\x7f]{4}"
    rb"|\xff[\xe2-\xff][\x10-\xef].\x00{9,32}(?:Xing|Info)\x00\x00\x00",
    re.DOTALL,
)
MARK_BYTES = 64  # the longest
# What each mark holds, and the most bytes before it: plain bytes are found twenty times as quickly.
_RARE = (
    *((b"WAVE", 8), (b"fLaC", 0), (b"OggS\x00\x02", 0), (b"AIFF", 8), (b"AIFC", 8)),
    *((b"caff\x00\x01", 0), (b"AVI LIST", 8), (b"ftyp", 4), (b"\x1a\x45\xdf\xa3", 0)),
    *((b"\x30\x26\xb2\x75\x8e", 0), (b"riff\x2e\x91", 0), (b".snd\x00\x00", 0)),
)
_RARE_OR_MP3 = (*_RARE, (b"ID3", 0), (b"Xing\x00\x00\x00", 36), (b"Info\x00\x00\x00", 36))
_SCANNED = 1 << 20


def next_mark(raw: BinaryIO, begin: int, end: int, mark: re.Pattern[bytes] = MARK) -> int:
    """Return where the next recording begins that has a mark of its own, or `end`."""
    at, kept = begin, b""
    raw.seek(begin)
    while at < end:
        block = raw.read(min(_SCANNED, end - at))
        if not block:
            break
        data = kept + block
        place = first_mark(data, mark)
        if place is not None:
            return at - len(kept) + place
        kept = data[-MARK_BYTES:]
        at += len(block)
    return end


def first_mark(data: bytes, mark: re.Pattern[bytes] = MARK, start: int = 0) -> int | None:
    """Return the place of the first mark from `start` on, or None."""
    places = []
    for rare, before in _RARE_OR_MP3 if mark is MARK_OR_MP3 else _RARE:
        at = data.find(rare, start)
        while at >= 0:
            # a mark ends less than its own length behind what it holds
            found = mark.search(data, max(start, at - before), at + MARK_BYTES)
            if found and found.start() <= at:
                places.append(found.start())
                break
            at = data.find(rare, at + 1)
    return min(places, default=None)
