"""FLAC: how many samples a file holds, by its last frame.

The header may say 0, for "unknown", and what a recorder wrote before it lost power. Each frame has
its own number, and checksums that tell it from chance and tell a whole frame from a cut one. The
format is that of RFC 9639.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from earmark.io.formats import sniff
from earmark.io.formats.contents import Contents, Part
from earmark.io.formats.marks import MARK_OR_MP3, next_mark
from earmark.io.formats.tags import tag_length

_HEADER_BYTES = 42  # the mark and the first block, which describes the stream
_SEARCHED_BYTES = 1 << 20  # files up to this are searched as a whole
_FIRST_TAIL, _SMALLEST_FRAME, _LARGEST_FRAME = 1 << 16, 8, 1 << 24
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_TOTAL = (1 << 36) - 1
_BLOCKS = {
    1: 192,
    **{n: 576 << n - 2 for n in range(2, 6)},
    **{n: 256 << n - 8 for n in range(8, 16)},
}


def inspect(raw: BinaryIO, begin: int, size: int, *, whole: bool) -> Contents:
    """Say what stands in a file from the mark `fLaC` at `begin` on.

    Args:
        raw: the file.
        begin: where it begins.
        size: the end of the file.
        whole: the file itself may be decoded where its header is right.
    """
    raw.seek(begin)
    header = raw.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return Contents(end=size, cut="truncated, its end is missing")
    declared, rate = int.from_bytes(header[18:26], "big") & _TOTAL, _rate(header)
    last = last_frame(raw, begin, size, header)
    is_large = size - begin > _SEARCHED_BYTES
    complete = whole and last is not None and last.end and last.samples == declared
    # quicker than to search a large file for others
    if complete and last and is_large and _is_one_stream(raw, begin, last, header):
        return Contents([Part(None, declared, kind="FLAC")], last.end)
    end = next_mark(raw, begin + _HEADER_BYTES, size, MARK_OR_MP3)
    last = last_frame(raw, begin, end, header)
    contents = Contents(end=end)
    if last is None:  # no frame at all: the decoder will say
        contents.parts.append(Part(None if whole else ((begin, end),), kind="FLAC"))
        return contents
    there, contents.end, stop = last.samples, last.end or end, last.end or last.begin
    if not last.end and last.perhaps and declared in (0, there + last.length):
        there, contents.end, stop = there + last.length, last.perhaps, end
    if declared and there < declared and rate:
        contents.cut = f"truncated, {there / rate:.1f} s of the {declared / rate:.1f} s it declares"
    if whole and declared == there and (contents.end == size or _only_zeros(raw, stop, size)):
        contents.parts.append(Part(None, there, kind="FLAC"))
        return contents
    if 0 < declared < there and rate:
        contents.notes.append(
            f"its header declares {declared / rate:.1f} of {there / rate:.1f} s that are there; "
            "all of it was read"
        )
    if there:
        pieces = with_total(header, there), (begin + _HEADER_BYTES, stop)
        contents.parts.append(Part(pieces, there, slack=last.length, kind="FLAC"))
    return contents


def _only_zeros(raw: BinaryIO, at: int, size: int) -> bool:
    raw.seek(at)
    return size - at < _FIRST_TAIL and not any(raw.read(size - at))


def with_total(header: bytes, total: int) -> bytes:
    """Return a header that declares `total` samples."""
    field = int.from_bytes(header[18:26], "big") & ~_TOTAL | min(total, _TOTAL)
    return header[:18] + field.to_bytes(8, "big") + header[26:]


@dataclass(frozen=True)
class LastFrame:
    """The last frame of a stream.

    Attributes:
        samples: of each channel, up to its end; where it is cut, up to its begin.
        begin: its place.
        end: where it ends, or 0 where it is cut.
        perhaps: the last place where it may end before bytes that are nothing known, or 0.
        length: samples of it alone.
    """

    samples: int
    begin: int
    end: int
    perhaps: int
    length: int


def last_frame(raw: BinaryIO, begin: int, end: int, header: bytes) -> LastFrame | None:
    """Return the last frame before `end`, or None where there is none."""
    first = _first_frame(raw, begin, end)
    if first is None:
        return None
    reach = _FIRST_TAIL
    while True:
        base = max(begin + _HEADER_BYTES, end - reach)
        raw.seek(base)
        tail = raw.read(end - base)
        for found in reversed(list(_SYNC.finditer(tail))):
            at = found.start()
            head = tail[at : at + 16]
            frame = _frame(head, header) if _alike(head, first) else None
            if frame is not None:
                start, length = frame
                stop, perhaps = (
                    place and base + place for place in _end(tail, at, _most_bytes(length, header))
                )
                samples = start + length if stop else start
                return LastFrame(samples, base + at, stop, perhaps, length)
        if base == begin + _HEADER_BYTES or reach >= _LARGEST_FRAME:
            return None
        reach *= 8


def _is_one_stream(raw: BinaryIO, begin: int, last: LastFrame, header: bytes) -> bool:
    """Tell whether the numbers of the frames only grow, as far as a hundred of them tell.

    Where another recording follows, numbers begin anew. The places looked at lie closer towards
    both ends, so that a short recording there is met too.
    """
    first = _first_frame(raw, begin, last.begin)
    if first is None:
        return False
    low, high = begin + _HEADER_BYTES, last.begin
    distance, places = 1 << 10, []
    while distance < high - low:
        places += [low + distance, high - distance]
        distance += distance // 4
    met = {last.begin: last.samples - last.length}
    for place in places:
        raw.seek(place)
        data = raw.read(_FIRST_TAIL)
        for found in _SYNC.finditer(data):
            head = data[found.start() : found.start() + 16]
            frame = _frame(head, header) if _alike(head, first) else None
            if frame is not None:
                if place + found.start() < high:
                    met[place + found.start()] = frame[0]
                break
    numbers = [met[place] for place in sorted(met)]
    return all(a < b for a, b in itertools.pairwise(numbers))


def _first_frame(raw: BinaryIO, begin: int, end: int) -> bytes | None:
    """Return the header of the first frame, behind the blocks of metadata."""
    at, more = begin + 4, True
    while more and at < end:
        raw.seek(at)
        head = raw.read(4)
        if len(head) < 4:
            return None
        more = not head[0] & 0x80
        at += 4 + int.from_bytes(head[1:], "big")
    raw.seek(at)
    head = raw.read(16)
    return head if _SYNC.match(head) else None


def _alike(head: bytes, first: bytes) -> bool:
    """Tell whether two headers agree in what all frames of a stream share."""
    return (
        head[1] == first[1] and not (head[2] ^ first[2]) & 0x0F and not (head[3] ^ first[3]) & 0x0E
    )


def _most_bytes(length: int, header: bytes) -> int:
    """Return the bytes of a frame whose samples are not compressed at all."""
    channels, bits = (header[20] >> 1 & 7) + 1, (header[20] << 4 & 16 | header[21] >> 4) + 1
    return length * channels * (bits + 8) // 8 + 64


def _end(tail: bytes, at: int, most: int) -> tuple[int, int]:
    """Return where a frame ends, and where it may end; 0: nowhere.

    A frame ends with the checksum of all before it, so that the checksum of the whole is 0. That
    happens by chance too; but then no tag, zeros or other recording follow, nor the end.
    """
    table, crc, perhaps = _table(16, 0x18005), 0, 0
    for place in range(at, min(len(tail), at + most)):
        crc = (crc << 8 & 0xFF00) ^ table[crc >> 8 ^ tail[place]]
        if crc == 0 and place - at > _SMALLEST_FRAME:
            behind = tail[place + 1 : place + 1 + sniff.HEAD_BYTES]
            if not any(behind) or tag_length(behind):
                return place + 1, 0
            if sniff.sniff(behind).role != sniff.OTHER:
                return place + 1, 0
            perhaps = place + 1
    return 0, perhaps


def _frame(head: bytes, header: bytes) -> tuple[int, int] | None:
    """Read a frame's header: its first sample and its length, or None where it is none."""
    if len(head) < 7 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    block, rate = head[2] >> 4, head[2] & 15
    count = 1 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length()
    if block == 0 or rate == 15 or not 1 <= count <= 7 or 0x80 <= head[4] < 0xC0:
        return None
    number = head[4] & (0x7F >> (count if count > 1 else 0))
    for byte in head[5 : 4 + count]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + count
    if block in (6, 7):
        length = int.from_bytes(head[at : at + block - 5], "big") + 1
        at += block - 5
    else:
        length = _BLOCKS[block]
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if len(head) <= at or _crc8(head[:at]) != head[at]:
        return None
    if head[1] & 1:
        return number, length
    return number * int.from_bytes(header[10:12], "big"), length


def _rate(header: bytes) -> int:
    return int.from_bytes(header[18:21], "big") >> 4


@lru_cache(maxsize=2)
def _table(width: int, polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        crc = value << width - 8
        for _ in range(8):
            crc = crc << 1 ^ polynomial if crc >> width - 1 else crc << 1
        table.append(crc & (1 << width) - 1)
    return table


def _crc8(data: bytes) -> int:
    table, crc = _table(8, 0x107), 0
    for byte in data:
        crc = table[crc ^ byte]
    return crc
