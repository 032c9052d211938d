"""Ogg: its pages, and the recordings that are chained in one file.

libsndfile reads the first recording of a chain and passes over pages whose checksum is wrong. Here
the pages themselves are walked, as RFC 3533 describes them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from earmark.io.formats import flac, sniff
from earmark.io.formats.contents import SLIGHT, Contents, Part, damage
from earmark.io.formats.splice import Piece
from earmark.io.formats.tags import tag_length

_CONTINUED, _BEGIN, _END = 0x01, 0x02, 0x04  # flags of a page
_HEADER = struct.Struct("<4sBBqIIIB")
_LARGEST_PAGE = 27 + 255 + 255 * 255
_WINDOW = 1 << 20
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_CODECS = (
    (b"\x01vorbis", "Vorbis"),
    (b"OpusHead", "Opus"),
    (b"\x7fFLAC", "FLAC"),
    (b"Speex   ", "Speex"),
)
_SILENT = (
    b"fishead\x00",
    b"fisbone\x00",
    b"\x80theora",
    b"BBCD\x00",
    b"\x80kate\x00\x00\x00",
)
_OGG_FLAC_MARK = 9  # bytes in front of the native stream


@dataclass(frozen=True)
class Page:
    """One page: where it begins and ends, and what its header says."""

    begin: int
    body: int
    end: int
    flags: int
    granule: int
    serial: int
    number: int
    good: bool
    first: bytes  # of its body


@dataclass
class _Link:
    """One recording of a chain."""

    begin: int
    end: int
    streams: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    bodies: list[Piece] = field(default_factory=list)
    granule: int = 0
    bad: int = 0
    missing: int = 0
    late: int = 0
    pages: int = 0
    heads: int = 0  # pages at the begin, a stream each
    numbers: dict[int, int] = field(default_factory=dict)


def inspect(raw: BinaryIO, begin: int, size: int, *, whole: bool) -> Contents:
    """Say which recordings are chained in a file from `begin` on.

    Args:
        raw: the file.
        begin: where the first page begins.
        size: the end of the file.
        whole: the file itself may be decoded where it holds one recording.
    """
    links: list[_Link] = []
    contents = Contents(end=begin)
    lost, at, cut = 0, begin, False
    for page in pages(raw, begin, size):
        lost += page.begin - at
        at = page.end
        if page.end > size:
            cut = True
            break
        _take(links, page)
    contents.end = min(at, size)
    if links and not cut and contents.end < size:
        tail = size - contents.end
        cut = tail < _LARGEST_PAGE and _begins_like_a_page(raw, contents.end, size)
        if cut:
            contents.end = size
    for place, link in enumerate(links):
        wanted = {serial for serial, codec in link.streams.items() if codec}
        if not wanted:
            continue
        last = place == len(links) - 1
        if (last and cut) or (last and not wanted & link.closed):
            contents.cut = "truncated, its end is missing"
        if link.late:
            contents.notes.append(
                f"its first {link.late} pages are missing, as in a running stream"
            )
        if gone := max(link.bad, link.missing):  # a damaged page's number is missing too
            text = f"damaged, {gone} of {max(link.pages, gone)} pages could not be decoded"
            if gone < SLIGHT * link.pages:
                contents.notes.append(text)
            else:
                contents.cut = contents.cut or text
        alone = whole and len(links) == 1 and contents.end == size
        contents.parts.append(_part(raw, link, alone))
    if lost:
        damage(lost, size - begin, "between its pages", contents)
    return contents


def pages(raw: BinaryIO, begin: int, size: int) -> Iterator[Page]:
    """Yield the pages of a file; one that is cut ends behind the file's end."""
    data, base, at = b"", begin, begin
    while at < size:
        if at - base + _LARGEST_PAGE > len(data) and base + len(data) < size:
            raw.seek(at)
            data, base = raw.read(min(_WINDOW, size - at)), at
        i = at - base
        if data[i : i + 5] != b"OggS\0":
            head = data[i : i + sniff.HEAD_BYTES]
            if tag_length(head) or sniff.sniff(head).role != sniff.OTHER:
                return  # something else begins
            found = data.find(b"OggS\0", i + 1)
            if found < 0 and base + len(data) < size:
                at = base + max(len(data) - 4, i + 1)
                continue
            if found < 0 or found - i > _LARGEST_PAGE * 4:
                return  # not Ogg any more
            at = base + found
            continue
        if len(data) < i + 27:
            yield Page(at, at, size + 1, 0, 0, 0, 0, False, b"")
            return
        _, _, flags, granule, serial, number, crc, count = _HEADER.unpack_from(data, i)
        table = data[i + 27 : i + 27 + count]
        body = at + 27 + count
        end = body + sum(table)
        if len(table) < count or end > size:
            inside = data.find(b"OggS\0", i + 4)  # a length that is damaged: go on behind it
            if inside >= 0:
                at = base + inside
                continue
            yield Page(at, body, size + 1, flags, granule, serial, number, False, b"")
            return
        page = data[i : end - base]
        good = crc == _checksum(page[:22] + bytes(4) + page[26:])
        if not good and data[end - base : end - base + 4] not in (b"OggS", b""):
            inside = data.find(b"OggS\0", i + 4)
            if 0 <= inside < end - base:
                end = base + inside
        yield Page(
            *(at, body, end, flags, granule, serial, number, good),
            data[body - base : body - base + 16],
        )
        at = end


def _take(links: list[_Link], page: Page) -> None:
    """Put a page to the recording that it belongs to."""
    link = links[-1] if links else None
    if page.good and page.flags & _BEGIN:
        if link is None or link.pages > link.heads:
            link = _Link(page.begin, page.end)
            links.append(link)
        link.streams[page.serial] = _codec(page.first)
        link.heads += 1
    if link is None:
        link = _Link(page.begin, page.end)
        links.append(link)
    link.end, link.pages = page.end, link.pages + 1
    if not page.good:
        link.bad += 1
        return
    before = link.numbers.get(page.serial)
    if before is not None and page.number > before + 1:
        if link.granule == 0 and not link.bad:  # dumps of a running stream begin in its middle
            link.late = page.number - before - 1
        else:
            link.missing += page.number - before - 1
    link.numbers[page.serial] = page.number
    if page.flags & _END:
        link.closed.add(page.serial)
    if link.streams.get(page.serial) == "FLAC":
        skip = _OGG_FLAC_MARK if page.flags & _BEGIN else 0
        link.bodies.append((page.body + skip, page.end))
    if page.granule >= 0:
        link.granule = page.granule


def _codec(first: bytes) -> str:
    for mark, name in _CODECS:
        if first.startswith(mark):
            return name
    return "" if first.startswith(_SILENT) or first[:1] in (b"\x80", b"\x81") else "another coder"


def _part(raw: BinaryIO, link: _Link, alone: bool) -> Part:
    codecs = [codec for codec in link.streams.values() if codec]
    kind = f"{codecs[0]} in Ogg"
    pieces: tuple[Piece, ...] | None = None if alone else ((link.begin, link.end),)
    if codecs == ["FLAC"]:
        begin, end = link.bodies[0]
        raw.seek(begin)
        header = raw.read(end - begin)
        header = flac.with_total(header, link.granule)
        return Part((header, *link.bodies[1:]), link.granule, kind=kind)
    if len(link.streams) == 1 and codecs[0] in ("Vorbis", "Opus"):
        return Part(pieces, kind=kind)
    return Part(pieces, demuxer="ogg", kind=kind)


def _begins_like_a_page(raw: BinaryIO, at: int, size: int) -> bool:
    raw.seek(at)
    return b"OggS".startswith(raw.read(min(4, size - at)))


def _checksum(page: bytes) -> int:
    """Return the checksum of a page: CRC-32 with its bits in the other order, and begun with 0."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "big").translate(_REVERSED)[::-1], "big")
