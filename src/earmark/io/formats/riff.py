"""WAV, RF64, BW64, RIFX and Wave64: what they hold."""

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
    row_of_chunks,
)
from earmark.io.formats.contents import SLACK_BYTES, Contents, Part
from earmark.io.formats.splice import Piece


def wav(raw: BinaryIO, begin: int, size: int) -> Contents:
    """Say what a WAV, RIFX, RF64 or BW64 file holds."""
    raw.seek(begin)
    form = raw.read(12)
    order = ">" if form[:4] == b"RIFX" else "<"
    at, real, shape = begin + 12, None, b""
    for _ in range(MOST_CHUNKS):
        raw.seek(min(at, size))
        head = raw.read(8)
        if len(head) < 8 or at > size:
            return Contents([Part(kind="WAV")], size)
        name, length = head[:4], struct.unpack(order + "I", head[4:])[0]
        at += 8
        if name == b"data":
            break
        if name == b"ds64":
            real = struct.unpack("<QQ", raw.read(16).ljust(16, b"\0"))[1]
        if name == b"fmt ":
            shape = head + raw.read(min(length, LONGEST_SHAPE))
        at += length + length % 2
    else:
        return Contents([Part(kind="WAV")], size)
    width, seconds, note, coding = _shape(shape, order)
    held = size - at
    wanted = real if form[:4] in (b"RF64", b"BW64") and length == 0xFFFFFFFF else length
    declared = known(wanted, held)
    if declared is None and row_of_chunks(raw, at, size) is not None:
        declared = 0  # an empty recording, and chunks
    there, end, correct, said = extent(raw, size, Layout(at, declared, width, seconds))
    contents = Contents(end=end, coding=coding, samples=(at, at + there))
    contents.notes += [text for text in (said, note) if text]
    if declared is None and wanted == 0 and real is None and there:
        contents.notes.append("its header is unfinished, as after a crash; all samples were read")
    contents.cut = cut_note(declared, held)
    alone = begin == 0 and (end >= size - SLACK_BYTES or bool(contents.cut))
    if correct or form[:4] == b"BW64" or not alone:
        pieces = _riff(order, shape, at, there)
        contents.parts += [Part(pieces, there // width if width else None, kind="WAV")] * (
            there > 0
        )
    else:
        contents.parts.append(Part(kind="WAV"))
    return contents


def w64(raw: BinaryIO, begin: int, size: int) -> Contents:
    """Say what a Wave64 file holds."""
    raw.seek(begin)
    form = raw.read(40)
    at, shape, data = begin + 40, b"", b""
    for _ in range(MOST_CHUNKS):
        raw.seek(min(at, size))
        head = raw.read(24)
        if len(head) < 24:
            return Contents([Part()], size)
        (length,) = struct.unpack("<Q", head[16:])
        if head[:4] == b"data":
            data = head
            break
        if length < 24:
            return Contents([Part()], size)
        if head[:4] == b"fmt ":
            shape = head + raw.read(min(length - 24, LONGEST_SHAPE))
        at += (length + 7) // 8 * 8
    sound = at + 24
    width, seconds, note, _ = _shape(shape[16:24] + shape[24:] if shape else b"", "<")
    if not data or not width:
        return Contents([Part()], size)
    wanted = known(max(0, length - 24) if length < 1 << 62 else None, size - sound)
    there, end, correct, said = extent(raw, size, Layout(sound, wanted, width, seconds))
    contents = Contents(end=end, notes=[text for text in (said, note) if text])
    contents.cut = cut_note(wanted, size - sound)
    if correct or begin or end < size - SLACK_BYTES:
        shape += b"\0" * (-len(shape) % 8)
        inside = 40 + len(shape) + 24 + there
        head = form[:16] + struct.pack("<Q", inside) + form[24:40] + shape
        head += data[:16] + struct.pack("<Q", there + 24)
        contents.parts.append(Part((head, (sound, sound + there)), there // width, kind="Wave64"))
    else:
        contents.parts.append(Part(kind="Wave64"))
    return contents


def _shape(shape: bytes, order: str) -> tuple[int, float, str, int]:
    """Return the width of a sample, the seconds of a byte, what is odd, and the format tag."""
    if len(shape) < 24:
        return 0, 0.0, "", 0
    tag, channels, rate, byte_rate, width, bits = struct.unpack(order + "HHIIHH", shape[8:24])
    if tag == 0xFFFE and len(shape) >= 34:
        (tag,) = struct.unpack(order + "H", shape[32:34])
    seconds = 1 / byte_rate if byte_rate else 0.0
    note = ""
    if (
        tag in (1, 3)
        and channels
        and (byte_rate != rate * width or width not in (channels * ((bits + 7) // 8), channels * 4))
    ):
        note = (
            f"its header contradicts itself ({rate} Hz, {channels} channels of {bits} bits, "
            f"{width} bytes a sample, {byte_rate} bytes a second)"
        )
    return (width if tag in (1, 3, 6, 7) else 0), seconds, note, tag


def _riff(order: str, shape: bytes, at: int, length: int) -> tuple[Piece, ...]:
    """Return the samples behind a header with their true length."""
    shape += b"\0" * (len(shape) % 2)
    if length + len(shape) + 64 < 1 << 32:
        sizes = struct.pack(order + "I", 4 + len(shape) + 8 + length + length % 2)
        form = b"RIFX" if order == ">" else b"RIFF"
        data = b"data" + struct.pack(order + "I", length)
        return form + sizes + b"WAVE" + shape + data, (at, at + length)
    inside = 4 + 36 + len(shape) + 8 + length
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, inside, length, 0, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + ds64 + shape + b"data\xff\xff\xff\xff"
    return head, (at, at + length)
