"""Uncoded samples as bytes -> numbers, and the headers of streams of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a sample may be; the names are FFmpeg's. (bytes, kind of number)
_PLAIN = {
    **{"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "f64le": "<f8"},
    **{"s16be": ">i2", "s32be": ">i4", "f32be": ">f4", "f64be": ">f8", "s8": "i1"},
}
WIDTHS = {
    **{name: np.dtype(kind).itemsize for name, kind in _PLAIN.items()},
    **{"u8": 1, "s24le": 3, "s24be": 3, "mulaw": 1, "alaw": 1},
}
_WAV = {
    **{(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le"},
    **{(3, 32): "f32le", (3, 64): "f64le", (6, 8): "alaw", (7, 8): "mulaw"},
}
_AU = {
    1: "mulaw",
    2: "s8",
    3: "s16be",
    4: "s24be",
    5: "s32be",
    6: "f32be",
    7: "f64be",
    27: "alaw",
}
_UNKNOWN_BYTES = 0x7FFF_0000  # writers into a pipe declare this much or more, for "unknown"
_EXTENSIBLE = 0xFFFE
_LONGEST_HEADER = 1 << 24


@dataclass(frozen=True)
class Form:
    """How samples come.

    Attributes:
        coding: a key of `WIDTHS`; empty: coded in another way.
        channels: how many.
        sample_rate: in Hz.
        declared: bytes of samples that a header declares; None: it does not know.
    """

    coding: str
    channels: int
    sample_rate: int
    declared: int | None = None

    @property
    def width(self) -> int:
        """Bytes of one sample of all channels."""
        return WIDTHS[self.coding] * self.channels


def decode(data: bytes, form: Form) -> NDArray[Any]:
    """Return samples `(samples, channels)`: floats, or whole numbers at the scale of their type.

    Args:
        data: whole samples of all channels.
        form: how they come.
    """
    if form.coding in _PLAIN:
        values = np.frombuffer(data, _PLAIN[form.coding])
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    elif form.coding == "u8":
        values = (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    elif form.coding in ("s24le", "s24be"):
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        if form.coding == "s24be":
            parts = parts[:, ::-1]
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts
        values = wide.reshape(-1).view("<i4").astype(np.int32, copy=False)
    else:
        values = _law(form.coding)[np.frombuffer(data, np.uint8)]
    return values.reshape(-1, form.channels)


@lru_cache(maxsize=2)
def _law(name: str) -> NDArray[np.int16]:
    """Return the 256 values of a code of ITU-T G.711, at the scale of 16 bits."""
    table = np.zeros(256, np.int16)
    for code in range(256):
        if name == "mulaw":
            value = ~code & 0xFF
            size = ((value & 15) << 3) + 132 << (value >> 4 & 7)
            size, negative = size - 132, bool(value & 0x80)
        else:
            value = code ^ 0x55
            exponent, size = value >> 4 & 7, (value & 15) << 4
            size = size + 8 if exponent == 0 else size + 0x108 << exponent - 1
            negative = not value & 0x80
        table[code] = -size if negative else size
    return table


def wav_form(need: Callable[[int], bytes]) -> tuple[Form | None, bytes]:
    """Read the header of a WAV, RF64 or BW64 stream up to its samples.

    Args:
        need: returns the next bytes, so many.

    Returns:
        How the samples come, with an empty coding where they are coded; None where the header says
        nothing of it or is no header; and the bytes that were read.
    """
    read = bytearray(need(12))
    form, real = None, None
    order = ">" if read[:4] == b"RIFX" else "<"
    while len(read) < _LONGEST_HEADER:
        head = need(8)
        read += head
        name, length = head[:4], struct.unpack(order + "I", head[4:])[0]
        if name == b"data":
            if form is None:
                return None, bytes(read)
            declared: int | None = real if length == 0xFFFFFFFF else length
            if not declared or declared >= _UNKNOWN_BYTES:
                declared = None
            return Form(form.coding, form.channels, form.sample_rate, declared), bytes(read)
        if length > _LONGEST_HEADER:
            break
        body = need(length + length % 2)
        read += body
        if name == b"ds64" and length >= 16:
            real = struct.unpack("<Q", body[8:16])[0]
        if name == b"fmt " and length >= 16:
            tag, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", body[:16])
            if tag == _EXTENSIBLE and length >= 26:
                (tag,) = struct.unpack(order + "H", body[24:26])
            if channels and align % channels == 0 and tag in (1, 3):
                bits = max(bits, 8 * align // channels)  # 24 bits may stand in four bytes
            coding = _WAV.get((tag, bits), "")
            if order == ">" and coding.endswith("le"):
                coding = coding[:-2] + "be"
            form = Form(coding, channels, rate)
            if channels == 0 or rate == 0:
                return None, bytes(read)
    return None, bytes(read)


def au_form(need: Callable[[int], bytes]) -> tuple[Form | None, bytes]:
    """Read the header of an AU stream up to its samples; see `wav_form`."""
    read = need(24)
    order = "<" if read[:4] == b"dns." else ">"
    offset, declared, code, rate, channels = struct.unpack(order + "5I", read[4:])
    if not 24 <= offset <= _LONGEST_HEADER or channels == 0 or rate == 0:
        return None, read
    read += need(offset - 24)
    coding = _AU.get(code, "")
    if order == "<" and coding.endswith("be"):
        coding = coding[:-2] + "le"
    known = declared if 0 < declared < _UNKNOWN_BYTES else None
    return Form(coding, channels, rate, known), read


def caf_form(need: Callable[[int], bytes]) -> tuple[Form | None, bytes]:
    """Read the header of a CAF stream up to its samples; see `wav_form`."""
    read, form = bytearray(need(8)), None
    while len(read) < _LONGEST_HEADER:
        head = need(12)
        read += head
        name, length = struct.unpack(">4sq", head)
        if name == b"data":
            read += need(4)  # the number of edits
            if form is None:
                return None, bytes(read)
            known = length - 4 if 4 < length < 1 << 62 else None
            return Form(form.coding, form.channels, form.sample_rate, known), bytes(read)
        if not 0 <= length <= _LONGEST_HEADER:
            break
        body = need(length)
        read += body
        if name == b"desc" and length >= 32:
            rate, coder, flags, _, _, channels, bits = struct.unpack(">d4sIIIII", body[:32])
            if not 0 < rate < 1 << 31 or channels == 0:
                return None, bytes(read)
            order = "le" if flags & 2 else "be"
            coding = {b"ulaw": "mulaw", b"alaw": "alaw"}.get(coder, "")
            if coder == b"lpcm":
                coding = f"{'f' if flags & 1 else 's'}{bits}{order}" if bits > 8 else "s8"
            form = Form(coding if coding in WIDTHS else "", channels, round(rate))
    return None, bytes(read)
