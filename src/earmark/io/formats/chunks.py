"""WAV and its relatives: where the samples lie, whatever the sizes in the header say.

A recorder writes the sizes when it starts and brings them up to date when it stops; a power cut, a
pipe and a length above 32 bits leave them at 0, at the highest number, or at what they were
minutes ago. So the samples are taken to go on to the file's end, unless chunks, another recording
or nothing but zeros stand behind the declared end.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from earmark.io.formats.contents import SLACK_BYTES
from earmark.io.formats.sniff import OTHER, sniff_at

_UNKNOWN_BYTES = 0x7FFF_0000  # writers into a pipe declare this much or more, for "unknown"
MOST_CHUNKS = 10_000
_BLOCK = 1 << 20
_TAIL_BYTES = 1 << 16  # in which chunks behind samples of unknown length are looked for
_NAMES = (
    b"LIST id3  ID3  bext cue  fact smpl inst plst adtl iXML _PMX PEAK JUNK junk PAD  FLLR minf "
    b"elm1 regn umid DGDA afsp DISP acid strc SNDM AFAn wamd guan cart levl slnt axml chna MD5  "
    b"LGWV r64m ds64 COMT MARK NAME AUTH (c)  ANNO APPL CHAN INST MIDI FVER SAXL AESD info strg "
    b"uuid free edct pakt peak ovvw chan kuki "
)
_CHUNKS = frozenset(_NAMES[i : i + 4] for i in range(0, len(_NAMES), 5))
_NAME = re.compile(rb"[A-Za-z0-9_() -]{4}")
LONGEST_SHAPE = 1 << 12


@dataclass(frozen=True)
class Layout:
    """Where the samples of a file lie.

    Attributes:
        at: the place of the first sample's first byte.
        declared: how many bytes of samples the header says there are; None: it does not know.
        width: bytes of one sample of all channels, or of a block of coded ones.
        seconds: seconds of a byte, or 0 where that is not known.
    """

    at: int
    declared: int | None
    width: int
    seconds: float


def extent(raw: BinaryIO, size: int, layout: Layout) -> tuple[int, int, bool, str]:
    """Find out how far the samples reach.

    Returns:
        How many bytes of samples there are; the place where all of this recording ends; whether
        the header has to be corrected; what to say of it.
    """
    held = size - layout.at
    declared = layout.declared
    if declared is None:
        behind = _chunks_at_end(raw, layout.at, size)
        return behind - layout.at, size, True, ""
    if declared > held:
        return held, size, False, ""
    for end in (layout.at + declared + declared % 2, layout.at + declared):
        if end >= size:
            return declared, size, False, ""
        kind, _ = sniff_at(raw, end)
        if kind.role != OTHER:
            return declared, end, False, ""
        chunks_end = row_of_chunks(raw, end, size)
        if chunks_end is not None:
            return declared, chunks_end, False, ""
    end = layout.at + declared
    raw.seek(end)
    if size - end < SLACK_BYTES or raw.read(4) in _CHUNKS or zeros(raw, end, size):
        return declared, size, False, ""
    there = _chunks_at_end(raw, end, size) - layout.at
    of = (
        f"{declared * layout.seconds:.1f} of {there * layout.seconds:.1f} s"
        if layout.seconds
        else (f"{declared} of {there} bytes")
    )
    return (
        there,
        size,
        True,
        f"its header declares {of} that are there; all of it was read",
    )


def known(declared: int | None, held: int) -> int | None:
    """Return a declared size, or None where it stands for "unknown"."""
    if not declared or (declared >= _UNKNOWN_BYTES and declared > held):
        return None
    return declared


def cut_note(declared: int | None, held: int) -> str:
    """Say that bytes are missing, or nothing."""
    if declared is None or declared <= held + SLACK_BYTES:
        return ""
    return f"truncated, {held} of {declared} bytes are there"


def row_of_chunks(raw: BinaryIO, at: int, size: int) -> int | None:
    """Return the end of a row of chunks that begins at `at`, or None where there is none.

    Names that are not known are taken for chunks only where the row ends with the file: samples
    may look like a name and a length.
    """
    begin, known = at, False
    for _ in range(MOST_CHUNKS):
        if at >= size - 8:
            break
        raw.seek(at)
        head = raw.read(8)
        name = head[:4]
        little, big = struct.unpack("<I", head[4:])[0], struct.unpack(">I", head[4:])[0]
        length = min(little, big)  # the true one is far smaller than its reverse
        if not _NAME.fullmatch(name) or at + 8 + length > size + 1 or name in (b"RIFF", b"FORM"):
            return at if known and _rest_is_other(raw, at, size) else None
        known = known or name in _CHUNKS
        at += 8 + length + length % 2
    if at == begin or (not known and abs(size - at) > 1):
        return None
    return min(at, size)


def _rest_is_other(raw: BinaryIO, at: int, size: int) -> bool:
    return sniff_at(raw, at)[0].role != OTHER or zeros(raw, at, size)


def _chunks_at_end(raw: BinaryIO, begin: int, size: int) -> int:
    """Return where known chunks begin that end exactly at the file's end; else that end."""
    first = max(begin, size - _TAIL_BYTES)
    raw.seek(first)
    tail = raw.read(size - first)
    found = size
    for name in _CHUNKS:
        at = tail.find(name)
        while at >= 0:
            if first + at < found and row_of_chunks(raw, first + at, size) == size:
                found = first + at
            at = tail.find(name, at + 1)
    return found


def zeros(raw: BinaryIO, at: int, size: int) -> bool:
    """Tell whether there is nothing but zeros from here to the end."""
    raw.seek(at)
    while at < size:
        block = raw.read(min(_BLOCK, size - at))
        if not block or block.count(0) < len(block):
            return not block
        at += len(block)
    return True
