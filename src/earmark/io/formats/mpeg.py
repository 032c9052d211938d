"""MPEG audio (mp3, mp2, mp1): what a file holds, frame by frame.

Decoders take the length from a Xing header, which is that of the first part of joined files, or
guess it from the first frames, and then stop there. Here the frames themselves are counted. The
format is that of ISO 11172-3 and 13818-3; the Xing header is the one LAME and FFmpeg write.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from earmark.io.formats.contents import Contents, Part, damage
from earmark.io.formats.marks import MARK
from earmark.io.formats.splice import Piece
from earmark.io.formats.tags import tag_length

_KBITS = {  # by version 1 or 2 and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_WINDOW = 1 << 20
_LOOK = 4096  # bytes that must be in the window to judge one frame and the header of the next
_CONFIRMED = 3  # frames in a row that end a search
_SEARCHED = 1 << 18  # bytes at a file's begin in which the first frame may stand
_XING_BYTES = 144  # decoders do not look for a Xing header in very small frames
_LATER_MARKS = (b"Xing", b"Info")
_PADDING = 4  # frames that the gapless rule may take away


@lru_cache(maxsize=1)
def _sizes() -> list[int]:
    """Return the length of a frame by the second and third byte of its header; 0: no header."""
    sizes = [0] * (1 << 16)
    for second in range(0xE0, 0x100):
        version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
        if version == 1 or layer == 4:
            continue
        kbits = _KBITS[1 if version == 3 else 2, layer]
        for third in range(256):
            index, rate = third >> 4, third >> 2 & 3
            if index in (0, 15) or rate == 3:
                continue
            bits, hertz, pad = (
                kbits[index - 1] * 1000,
                _RATES[version][rate],
                third >> 1 & 1,
            )
            if layer == 1:
                size = (12 * bits // hertz + pad) * 4
            else:
                size = (72 if layer == 3 and version != 3 else 144) * bits // hertz + pad
            sizes[second << 8 | third] = size
    return sizes


def _same(header: bytes) -> tuple[int, int, bool]:
    """Return what all frames of one recording share."""
    second, third = header[1] & 0x1E, header[2] & 0x0C
    if header[1] >> 1 & 3 != 1:  # layers I and II have no Xing header: their bit rate is fixed
        third = header[2] & 0xFC
    return second, third, header[3] >> 6 == 3


def _samples(header: bytes) -> int:
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    return 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152


def first_frame(head: bytes) -> int | None:
    """Return 0 where `head` begins with frames of MPEG audio, else None."""
    return 0 if _chain(head, 0, complete=True, least=2) else None


def _chain(data: bytes, at: int, *, complete: bool, least: int = _CONFIRMED) -> bool:
    """Tell whether frames follow one another from `at` on, or up to the end of what is there."""
    sizes, same, count = _sizes(), None, 0
    while count < least:
        header = data[at : at + 4]
        if len(header) < 4:
            return complete and count > 0
        size = sizes[header[1] << 8 | header[2]] if header[0] == 0xFF else 0
        if not size or same not in (None, _same(header)):
            return count > 0 and data[at : at + 3] in (b"TAG", b"ID3", b"APE")
        same = _same(header)
        at, count = at + size, count + 1
    return True


@dataclass
class _Run:
    """Frames of one recording, one after another."""

    header: bytes
    same: tuple[int, int, bool]
    declared: int | None = None
    info: tuple[int, int] | None = None  # the frame that holds the Xing header
    ranges: list[list[int]] = field(default_factory=list)
    frames: int = 0


@dataclass
class _Walk:
    """What a walk over the frames found."""

    runs: list[_Run] = field(default_factory=list)
    lost: int = 0
    end: int = 0


def inspect(raw: BinaryIO, begin: int, size: int, *, whole: bool) -> Contents:
    """Say what MPEG audio stands in a file from `begin` on.

    Args:
        raw: the file.
        begin: where the first frame stands.
        size: where to end, such as at the file's end.
        whole: nothing but tags stands before `begin`, so the file itself may be decoded.
    """
    walk = _walk(raw, begin, size)
    contents = Contents(end=walk.end)
    behind = size - walk.end
    for place, run in enumerate(walk.runs):
        expected = run.frames * _samples(run.header)
        slack = _PADDING * _samples(run.header)
        ranges = [(a, b) for a, b in run.ranges]
        untouched = whole and len(walk.runs) == 1 and not walk.lost and not behind
        last = place == len(walk.runs) - 1
        if run.declared is not None and run.info and abs(run.declared - run.frames) <= 1:
            pieces: tuple[Piece, ...] | None = (run.info, *ranges)
            part = Part(None if untouched else pieces, expected, slack=slack, kind="mp3")
        elif run.declared is not None and run.declared > run.frames and last:
            rate = _RATES[run.header[1] >> 3 & 3][run.header[2] >> 2 & 3]
            there, wanted = (n * _samples(run.header) / rate for n in (run.frames, run.declared))
            contents.cut = f"truncated, {there:.1f} s of the {wanted:.1f} s it declares"
            part = Part(_corrected(run, ranges), expected, slack=slack, kind="mp3")
        elif run.declared is None and untouched:
            part = Part(None, expected, _corrected(run, ranges), slack, kind="mp3")
        else:
            part = Part(_corrected(run, ranges), expected, slack=slack, kind="mp3")
        if run.frames:
            contents.parts.append(part)
    if walk.lost:
        damage(walk.lost, size - begin, "between its frames", contents)
    return contents


def find(raw: BinaryIO, begin: int = 0) -> int | None:
    """Return where the first of several frames stands in a file that begins with other bytes."""
    raw.seek(begin)
    data = raw.read(_SEARCHED)
    at = data.find(b"\xff")
    while at >= 0:
        if _chain(data, at, complete=False, least=2 * _CONFIRMED):
            return begin + at
        at = data.find(b"\xff", at + 1)
    return None


def _corrected(run: _Run, ranges: list[tuple[int, int]]) -> tuple[Piece, ...]:
    """Return the frames behind a Xing header of their true number."""
    if run.header[1] >> 1 & 3 != 1:
        return tuple(ranges)
    head = bytearray(run.header)
    head[1] |= 1  # no checksum
    total = sum(b - a for a, b in ranges)
    for index in range(1, 15):
        head[2] = (head[2] & 0x0C) | index << 4
        length = _sizes()[head[1] << 8 | head[2]]
        if length >= _XING_BYTES:
            break
    side = _side(head)
    info = b"Xing" + struct.pack(">III", 3, run.frames, min(total + length, 0xFFFFFFFF))
    frame = bytes(head) + bytes(side) + info
    return (frame + bytes(length - len(frame)), *ranges)


def _side(header: bytes | bytearray) -> int:
    """Return the length of the side information, behind which a Xing header stands."""
    mono, first = header[3] >> 6 == 3, header[1] >> 3 & 3 == 3
    return (17 if mono else 32) if first else (9 if mono else 17)


def _xing(data: bytes, at: int) -> int | None:
    """Return the number of frames that a Xing header at a frame declares; 0: it does not say."""
    header = data[at : at + 4]
    if header[1] >> 1 & 3 != 1:
        return None
    for more in (4, 6):  # with a checksum, some writers put it two bytes later
        place = at + more + _side(header)
        if data[place : place + 4] in _LATER_MARKS:
            flags, frames = struct.unpack(">II", data[place + 4 : place + 12].ljust(8, b"\0"))
            return frames if flags & 1 else 0
    return 0 if data[at + 36 : at + 40] == b"VBRI" else None


def _walk(raw: BinaryIO, begin: int, size: int) -> _Walk:
    walk, sizes = _Walk(end=begin), _sizes()
    data, base, at = b"", begin, begin
    run: _Run | None = None
    while at < size:
        if at - base + _LOOK > len(data) and base + len(data) < size:
            raw.seek(at)
            data, base = raw.read(min(_WINDOW, size - at)), at
            if not data:
                break
        i = at - base
        header = data[i : i + 4]
        length = sizes[header[1] << 8 | header[2]] if len(header) == 4 and header[0] == 0xFF else 0
        if length and run and _same(header) == run.same:
            begins = _xing(data, i)
        elif length and _chain(data, i, complete=base + len(data) >= size):
            begins, run = _xing(data, i), None
        else:
            at, lost, other = _skip(raw, at, size)
            walk.lost += lost
            if other:
                break
            continue
        if at + length > size:  # the last frame is cut; what is missing is less than 0.1 s
            at = size
            break
        if run is None or begins is not None:
            run = _Run(header, _same(header))
            walk.runs.append(run)
            if begins is not None:
                run.declared, run.info = begins or None, (at, at + length)
        if run.info != (at, at + length):
            run.frames += 1
            if run.ranges and run.ranges[-1][1] == at:
                run.ranges[-1][1] = at + length
            else:
                run.ranges.append([at, at + length])
        at += length
    walk.end = min(at, size)
    return walk


def _skip(raw: BinaryIO, at: int, size: int) -> tuple[int, int, bool]:
    """Go over what is no frame: tags, zeros, damage.

    Returns:
        Where to go on, how many bytes on the way were neither tag nor zero, and whether another
        format begins there.
    """
    raw.seek(at)
    data = raw.read(min(_WINDOW, size - at))
    if tag := tag_length(data):
        return min(size, at + tag), 0, False
    if MARK.match(data):
        return at, 0, True
    for place in _candidates(data):
        if place and (
            data[place : place + 3] in (b"TAG", b"ID3")
            or data[place : place + 8] == b"APETAGEX"
            or _chain(data, place, complete=at + len(data) >= size)
        ):
            return at + place, _nonzero(data[:place]), False
        if place and MARK.match(data, place):
            return at + place, _nonzero(data[:place]), True
    return at + len(data), _nonzero(data), False


_CANDIDATE = re.compile(rb"\xff[\xe0-\xff]|TAG|ID3[\x02-\x04]|APETAGEX|" + MARK.pattern, re.DOTALL)


def _candidates(data: bytes) -> Iterator[int]:
    return (found.start() for found in _CANDIDATE.finditer(data))


def _nonzero(data: bytes) -> int:
    return len(data) - data.count(0) if data.count(0) * 2 > len(data) else len(data)
