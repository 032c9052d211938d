"""AIFF, AU and CAF: what they hold."""

from __future__ import annotations

import struct
from typing import BinaryIO

from earmark.io.formats.chunks import (
    LONGEST_SHAPE,
    MOST_CHUNKS,
    Layout,
    cut_note,
    extent,
    known,
)
from earmark.io.formats.contents import SLACK_BYTES, Contents, Part


def aiff(raw: BinaryIO, begin: int, size: int) -> Contents:
    """Say what an AIFF or AIFC file holds."""
    raw.seek(begin)
    form = raw.read(12)
    at, comm, sound, declared, others = begin + 12, b"", 0, 0, b""
    for _ in range(MOST_CHUNKS):
        raw.seek(min(at, size))
        head = raw.read(8)
        if len(head) < 8 or not head[:4].isascii() or (sound and comm):
            break
        (length,) = struct.unpack(">I", head[4:])
        if head[:4] == b"COMM":
            comm = head + raw.read(min(length, LONGEST_SHAPE))
        elif head[:4] == b"SSND":
            sound, declared = at + 16, length
            if comm:
                break
        elif head[:4] == b"FVER":
            others += head + raw.read(min(length, 64))
        at += 8 + length + length % 2
    if not sound or len(comm) < 26:
        return Contents([Part()], size)
    channels, _, bits = struct.unpack(">hIh", comm[8:16])
    width = (
        max(0, channels) * ((bits + 7) // 8)
        if form[8:12] == b"AIFF"
        or comm[26:30]
        in (
            *(b"NONE", b"sowt", b"twos"),
            *(b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32", b"23ni"),
        )
        else 0
    )
    wanted = known(max(0, declared - 8), size - sound)
    length, end, correct, said = extent(raw, size, Layout(sound, wanted, width, 0.0))
    contents = Contents(end=end, notes=[said] if said else [])
    contents.cut = cut_note(wanted, size - sound)
    if (correct and width) or begin or end < size - SLACK_BYTES:
        frames = length // width if width else struct.unpack(">I", comm[10:14])[0]
        comm = comm[:10] + struct.pack(">I", frames) + comm[14:] + b"\0" * (len(comm) % 2)
        ssnd = b"SSND" + struct.pack(">III", length + 8, 0, 0)
        sizes = struct.pack(">I", min(0xFFFFFFFF, 4 + len(others) + len(comm) + 16 + length))
        head = b"FORM" + sizes + form[8:12] + others + comm + ssnd
        contents.parts.append(Part((head, (sound, sound + length)), frames, kind="AIFF"))
    else:
        contents.parts.append(Part(kind="AIFF"))
    return contents


def au(raw: BinaryIO, begin: int, size: int) -> Contents:
    """Say what an AU file holds."""
    raw.seek(begin)
    head = raw.read(24)
    order = "<" if head[:4] == b"dns." else ">"
    if len(head) < 24:
        return Contents([Part()], size)
    offset, declared, coding, rate, channels = struct.unpack(order + "5I", head[4:])
    bytes_each = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(coding, 0)
    width, at = bytes_each * channels, begin + offset
    if not 24 <= offset <= 1 << 24 or at > size:
        return Contents([Part()], size)
    wanted = known(declared, size - at)
    seconds = 1 / (width * rate) if width * rate else 0.0
    length, end, correct, said = extent(raw, size, Layout(at, wanted, width, seconds))
    contents = Contents(end=end, notes=[said] if said else [])
    contents.cut = cut_note(wanted, size - at)
    if (correct and length) or begin or end < size - SLACK_BYTES:
        fields = struct.pack(order + "5I", 24, min(length, 0xFFFFFFFF), coding, rate, channels)
        frames = length // width if width else None
        contents.parts.append(Part((head[:4] + fields, (at, at + length)), frames, kind="AU"))
    else:
        contents.parts.append(Part(kind="AU"))
    return contents


def caf(raw: BinaryIO, begin: int, size: int) -> Contents:
    """Say what a CAF file holds."""
    at, desc, width, seconds = begin + 8, b"", 0, 0.0
    for _ in range(MOST_CHUNKS):
        raw.seek(min(at, size))
        head = raw.read(12)
        if len(head) < 12:
            return Contents([Part()], size)
        name, length = struct.unpack(">4sq", head)
        if name == b"data":
            break
        if name == b"desc":
            desc = head + raw.read(32)
            if len(desc) == 44 and desc[20:24] == b"lpcm":
                (rate,), (width,) = (
                    struct.unpack(">d", desc[12:20]),
                    struct.unpack(">I", desc[28:32]),
                )
                seconds = 1 / (rate * width) if rate * width > 0 else 0.0
        if length < 0:
            return Contents([Part()], size)
        at += 12 + length
    else:
        return Contents([Part()], size)
    sound = at + 12 + 4  # behind the number of edits
    wanted = known(max(0, length - 4), size - sound)
    if not width:  # packets of a coder: their table says what is there
        demuxer = "" if desc[20:24] in (b"alac", b"ulaw", b"alaw") else "caf"
        return Contents([Part(demuxer=demuxer, kind="CAF")], size)
    there, end, correct, said = extent(raw, size, Layout(sound, wanted, width, seconds))
    contents = Contents(end=end, notes=[said] if said else [])
    contents.cut = cut_note(wanted, size - sound)
    if correct or begin or end < size - SLACK_BYTES or contents.cut:
        head = b"caff\0\1\0\0" + desc + b"data" + struct.pack(">qI", there + 4, 0)
        contents.parts.append(Part((head, (sound, sound + there)), there // width, kind="CAF"))
    else:
        contents.parts.append(Part(kind="CAF"))
    return contents
