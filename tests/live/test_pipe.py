"""A pipe in any format is read as it comes, and a second header begins another recording."""

import os
import struct
import sys
import threading
import time

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.io import decode
from earmark.io.waveform import mono
from earmark.live.chunk import StalledError
from earmark.live.pipe import Pipe
from tests.io.encoded import RATE, encoded, noise, ogg_flac

SUBTYPES: dict[str, list[str | None]] = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"],
    "WAVEX": ["PCM_16", "PCM_24", "FLOAT"],
    "RF64": ["PCM_16", "FLOAT"],
    "AU": ["PCM_S8", "PCM_16", "PCM_24", "FLOAT", "ULAW"],
    "FLAC": ["PCM_16", "PCM_24"],
    "OGG": ["VORBIS", "OPUS"],
    "MP3": [None],
    "AIFF": ["PCM_16", "PCM_24"],
    "CAF": ["PCM_16"],
    "W64": ["PCM_16"],
    "NIST": ["PCM_16"],
    "VOC": ["PCM_16"],
}
CASES = [(format, subtype) for format, subtypes in SUBTYPES.items() for subtype in subtypes]


def piped(*parts, end=True, **options):
    """Return a pipe into which these bytes were written, part by part."""
    read, write = os.pipe()

    def give():
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(write, view) :]
        if end:
            os.close(write)

    threading.Thread(target=give, daemon=True).start()
    return Pipe(read, **options)


def taken(pipe):
    """Return all samples, mixed down, their rates, and what was said."""
    chunks, rates, notes = [np.zeros(0, np.float32)], [], []
    while chunk := pipe.next(10.0):
        chunks.append(mono(chunk.samples, "x"))
        rates += [chunk.sample_rate] * (chunk.sample_rate not in rates)
        notes += [chunk.note] * bool(chunk.note)
    return np.concatenate(chunks), rates, notes


def in_pieces(data, length):
    return [data[i : i + length] for i in range(0, len(data), length)]


def test_a_pipe_that_stalls_can_be_waited_for():
    read, write = os.pipe()
    pipe = Pipe(read, sample_rate=8_000)
    with pytest.raises(StalledError, match=r"stdin: nothing came for 0\.05 s"):
        pipe.next(0.05)
    os.write(write, b"\1\0\2\0")
    chunk = pipe.next(5.0)
    assert chunk
    assert chunk.samples[:, 0].tolist() == [1, 2]
    os.close(write)
    assert pipe.next(5.0) is None
    os.close(read)


@pytest.mark.parametrize("encoding", ["s16le", "s32le", "f32le"])
def test_raw_samples_come_as_they_are_described(encoding):
    kind = np.dtype({"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}[encoding])
    samples = np.arange(20).astype(kind).reshape(-1, 2)
    data = samples.tobytes()
    cut = [data[:3], data[3:11], data[11:]]  # within samples
    chunks = []
    pipe = piped(*cut, sample_rate=8_000, channels=2, encoding=encoding)
    while chunk := pipe.next(5.0):
        chunks.append(chunk)
    given = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(given, samples)
    assert (given.dtype, chunks[0].sample_rate) == (kind, 8_000)


@pytest.mark.parametrize(("format", "subtype"), CASES)
@pytest.mark.parametrize("sample_rate", [None, 8_000])
def test_a_pipe_hears_what_a_file_may_hold(tmp_path, format, subtype, sample_rate):
    data = encoded(format, subtype, samples=noise(2.0, channels=2))
    (tmp_path / "a").write_bytes(data)
    expected = decode.read(tmp_path / "a", RATE)
    given, rates, notes = taken(piped(data, sample_rate=sample_rate))
    assert notes == []
    if rates == [48_000]:  # what FFmpeg decodes Opus to
        given = given[::3]
    else:
        assert rates == [RATE]
    exact = format in ("NIST", "VOC", "WAV", "WAVEX", "RF64", "AU", "FLAC", "AIFF", "CAF", "W64")
    if exact and subtype != "IMA_ADPCM":
        np.testing.assert_allclose(given, expected, atol=1e-7)
    else:
        assert abs(len(given) - len(expected)) <= 1_500  # what a coder pads with


def test_flac_in_ogg_is_heard():
    assert len(taken(piped(ogg_flac(encoded("FLAC", "PCM_16"))))[0]) == RATE


@pytest.mark.parametrize("length", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_24"), ("AU", "PCM_16"), ("MP3", None)]
)
def test_pieces_of_any_length_give_the_same(format, subtype, length):
    data = encoded(format, subtype, samples=noise(0.2))
    whole, _, _ = taken(piped(data))
    given, _, _ = taken(piped(*in_pieces(data, length)))
    np.testing.assert_array_equal(given, whole)


@pytest.mark.parametrize("second", ["WAV", "RF64", "AU", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("first", ["WAV", "WAV of unknown length", "AU", "FLAC", "OGG", "MP3"])
def test_a_second_header_begins_another_recording(first, second):
    data = encoded(first.split()[0], samples=noise(1.0))
    if "unknown" in first:
        at = data.index(b"data") + 4
        data = data[:at] + b"\xff" * 4 + data[at + 4 :]
    other = encoded(second, samples=noise(1.0, 1, rate=48_000), rate=48_000)
    given, rates, notes = taken(piped(data + other))
    if "OGG" in first and second == "OGG":
        rates = rates[-1:]
    if first == second == "MP3":  # FFmpeg takes the frames of both for one stream
        assert rates == [RATE, 48_000]
        return
    assert rates[-1] == 48_000
    assert len(notes) == 1
    assert notes[0].startswith("stdin: another recording begins (")
    assert abs(len(given) - RATE - 48_000) <= 6_000


def test_chunks_behind_declared_samples_are_no_samples():
    data = encoded("WAV", "PCM_16")
    chunk = b"LIST\x04\x00\x00\x00abcd"
    given, _, _ = taken(piped(data + chunk + data + chunk))
    assert len(given) == 2 * RATE


def test_samples_behind_a_stale_size_are_heard():
    data = encoded("WAV", "PCM_16")
    at = data.index(b"data") + 4
    given, _, notes = taken(piped(data[:at] + struct.pack("<I", 2_000) + data[at + 4 :]))
    assert len(given) == RATE
    assert notes == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"abcdefgh" * 99, "is text, not audio"),
        (np.random.default_rng(0).bytes(9_999), "no mark of a format; say how raw samples come"),
        (b"PK\x03\x04" + bytes(99), "is a ZIP archive; unpack it first"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "is a WebP picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "ends within the header of WAV"),
        (b"RIFF\x24\0\0\0WAVEdata\0\0\0\0", "does not say its format"),
        (encoded("WAV", "PCM_16", rate=2_000), "has a sample rate of 2000 Hz"),
        (b"", "ended before a sample came"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_pipe_that_cannot_be_heard_is_refused(data, reason):
    with pytest.raises(AudioError, match=f"stdin: .*{reason}"):
        taken(piped(data))


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3"])
def test_without_pyav_the_pipe_that_helps_is_named(monkeypatch, format):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError) as caught:
        taken(piped(encoded(format)))
    assert "pip install 'earmark[media]'" in str(caught.value)
    assert "ffmpeg -loglevel error -i - -f wav - | earmark stream -" in str(caught.value)


def test_bytes_behind_a_recording_that_are_nothing_known_are_a_fault():
    data = encoded("AU", "PCM_16")
    junk = b"\x00\xff" + np.random.default_rng(0).bytes(9_999)
    given, _, _ = taken(piped(data + junk))  # an AU header may be stale: they are samples
    assert len(given) > RATE


def test_samples_come_before_the_pipe_ends():
    """A live stream of mp3 is heard while it comes, not at its end."""
    data = encoded("MP3", samples=noise(30.0))
    pipe = piped(data[: len(data) // 2], end=False)
    got, begun = 0, time.monotonic()
    while got < 8 * RATE:
        chunk = pipe.next(10.0)
        assert chunk
        got += len(chunk.samples)
    assert time.monotonic() - begun < 30.0


def test_raw_zeros_are_samples_where_a_rate_is_given():
    assert len(taken(piped(bytes(20_000), sample_rate=8_000))[0]) == 10_000
    with pytest.raises(AudioError, match="no mark of a format"):
        taken(piped(bytes(20_000)))


@pytest.mark.parametrize("encoding", ["s24le", "u8", "mulaw", "alaw", "f64le", "s16be"])
def test_raw_samples_come_in_every_coding(encoding):
    from earmark.io import pcm

    subtypes = {"s24le": "PCM_24", "u8": "PCM_U8", "mulaw": "ULAW", "alaw": "ALAW"}
    subtype = subtypes.get(encoding, "DOUBLE" if encoding == "f64le" else "PCM_16")
    data = encoded("RAW", subtype, endian="BIG" if encoding.endswith("be") else "LITTLE")
    given, rates, _ = taken(piped(data, sample_rate=8_000, encoding=encoding))
    expected = mono(pcm.decode(data, pcm.Form(encoding, 1, 8_000)), "x")
    np.testing.assert_array_equal(given, expected)
    assert rates == [8_000]
