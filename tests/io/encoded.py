"""Audio as bytes, for tests that change it: real encoders, nothing on disk."""

import io
import re
import struct

import numpy as np
import soundfile

RATE = 16_000


def noise(seconds=1.0, seed=0, rate=RATE, channels=1, loudness=0.3):
    """Samples that no two stretches of share, `(samples, channels)`."""
    rng = np.random.default_rng(seed)
    samples = rng.uniform(-loudness, loudness, (round(seconds * rate), channels))
    return samples.astype(np.float32)


def encoded(format, subtype=None, *, samples=None, rate=RATE, **options):
    """The bytes of a file that libsndfile writes."""
    samples = noise() if samples is None else samples
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def mp3_frames(data):
    """Cut an mp3 of libsndfile into its frames; the first one holds the Xing header."""
    from earmark.io.formats import mpeg

    sizes, at, frames = mpeg._sizes(), 0, []
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = sizes[data[at + 1] << 8 | data[at + 2]]
        frames.append(data[at : at + length])
        at += length
    return frames


def variable_mp3(samples=None, seed=0):
    """An mp3 of a variable bit rate without a Xing header: quiet first, then loud."""
    if samples is None:
        samples = np.concatenate([noise(2.0, seed) * 1e-4, noise(3.0, seed)])
    data = encoded("MP3", samples=samples, bitrate_mode="VARIABLE", compression_level=0.5)
    return b"".join(mp3_frames(data)[1:])


def ogg_flac(flac, serial=7):
    """Put a FLAC file into Ogg, as RFC 5334 and the mapping of FLAC describe it."""
    from earmark.io.formats import flac as native
    from earmark.io.formats.ogg import _checksum

    blocks, at, last = [flac[:42]], 42, bool(flac[4] & 0x80)
    while not last:
        last = bool(flac[at] & 0x80)
        length = 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
        blocks.append(flac[at : at + length])
        at += length
    total = int.from_bytes(flac[18:26], "big") & ((1 << 36) - 1)
    first = b"\x7fFLAC\x01\x00" + struct.pack(">H", len(blocks) - 1) + blocks[0]
    packets = [(first, 0), *((block, 0) for block in blocks[1:])]
    starts = [at]
    for found in re.finditer(re.escape(flac[at : at + 2]), flac[at:]):  # a packet is a frame
        place = at + found.start()
        if place > at and native._frame(flac[place : place + 16], flac[:42]):
            starts.append(place)
    ends = [*starts[1:], len(flac)]
    packets += [(flac[a:b], total) for a, b in zip(starts, ends, strict=True)]
    pages = []
    for number, (body, granule) in enumerate(packets):
        table = bytes([255] * (len(body) // 255) + [len(body) % 255])
        flags = (number == 0) << 1 | (number == len(packets) - 1) << 2
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(table))
        page = head + table + body
        pages.append(page[:22] + struct.pack("<I", _checksum(page)) + page[26:])
    return b"".join(pages)
