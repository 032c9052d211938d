"""Pipes and microphones: every form of samples, stalls, ends, drops."""

import os
import struct
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.live import sources
from earmark.live.sources import Microphone, Pipe, StalledError

SAMPLES = np.array([[0, 1], [-32768, 32767], [5, 6]], "<i2")


def wav(samples=SAMPLES, tag=1, bits=16, sample_rate=22_050, length=0xFFFFFFFF, before=b""):
    channels = samples.shape[1]
    form = struct.pack("<HHIIHH", tag, channels, sample_rate, 0, 0, bits)
    return (
        *(b"RIFF", struct.pack("<I", length), b"WAVE", before, b"fmt ", struct.pack("<I", 16)),
        *(form, b"data", struct.pack("<I", length), samples.tobytes()),
    )


def piped(*parts, end=True, **options):
    """Return a pipe into which these bytes were written, part by part."""
    read, write = os.pipe()

    def give():
        for part in parts:
            os.write(write, part)
        if end:
            os.close(write)

    threading.Thread(target=give, daemon=True).start()
    return Pipe(read, **options)


def taken(pipe):
    """Return all samples and the rate they came with."""
    chunks = []
    while chunk := pipe.next(5.0):
        chunks.append(chunk)
    return np.concatenate([chunk.samples for chunk in chunks]), chunks[0].sample_rate


@pytest.mark.parametrize("encoding", sources.ENCODINGS)
def test_raw_samples_come_as_they_are_described(encoding):
    kind = np.dtype(sources.ENCODINGS[encoding])
    samples = np.arange(20).astype(kind).reshape(-1, 2)
    data = samples.tobytes()
    cut = [data[:3], data[3:11], data[11:]]  # within samples
    heard, sample_rate = taken(piped(*cut, sample_rate=8_000, channels=2, encoding=encoding))
    np.testing.assert_array_equal(heard, samples)
    assert (heard.dtype, sample_rate) == (kind, 8_000)


@pytest.mark.parametrize("before", [b"", b"LIST\x03\x00\x00\x00abc\x00"])
def test_a_wav_stream_says_itself_how_it_comes(before):
    heard, sample_rate = taken(piped(*wav(before=before), sample_rate=8_000))
    np.testing.assert_array_equal(heard, SAMPLES)
    assert sample_rate == 22_050


@pytest.mark.parametrize(("kind", "tag", "bits"), [("<i4", 1, 32), ("<f4", 3, 32)])
def test_a_wav_stream_of_32_bits_is_heard(kind, tag, bits):
    heard, _ = taken(piped(*wav(SAMPLES.astype(kind), tag, bits)))
    np.testing.assert_array_equal(heard, SAMPLES.astype(kind))


def test_an_extensible_wav_stream_is_known_by_its_sub_format():
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 8_000, 0, 0, 32, 22, 32, 3) + struct.pack("<H", 3)
    form += bytes(14)
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form + b"data\0\0\0\0"
    heard, _ = taken(piped(data, SAMPLES.astype("<f4").tobytes()))
    np.testing.assert_array_equal(heard, SAMPLES.astype("<f4"))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((b"",), "ended before a sample came"),
        ((b"abcdefgh",), "is no WAV stream; say how raw samples come"),
        ((b"RIFF\0\0\0\0AVI ",), "is RIFF, but not WAV"),
        ((b"RIFF\0\0",), "ends within the header"),
        (wav(tag=1, bits=24), "24 bits, format 1"),
        ((b"RIFF\0\0\0\0WAVEdata\0\0\0\0",), "does not say its format"),
    ],
)
def test_a_pipe_that_cannot_be_heard_is_refused(parts, reason):
    with pytest.raises(AudioError, match=f"stdin: .*{reason}"):
        piped(*parts).next(5.0)


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


class PortAudioError(Exception):
    pass


class FakeStream:
    """Stands for PortAudio's stream; a test calls the callback in its place."""

    last: Any = None

    def __init__(self, **options):
        self.options, self.started, self.closed = options, False, False
        FakeStream.last = self

    def start(self):
        self.started = True

    def close(self):
        self.closed = True

    def give(self, samples, overflow=False):
        status = types.SimpleNamespace(input_overflow=overflow)
        self.options["callback"](samples, len(samples), None, status)


@pytest.fixture
def sound(monkeypatch):
    def query_devices(device=None, kind=None):
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"name": "Desk", "default_samplerate": 48_000.0, "max_input_channels": 6}

    module = types.ModuleType("sounddevice")
    module.__dict__.update(
        PortAudioError=PortAudioError,
        InputStream=FakeStream,
        query_devices=query_devices,
        _terminate=lambda: None,
        _initialize=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_a_microphone_is_opened_at_its_own_rate(sound):
    microphone = Microphone("3")
    stream = FakeStream.last
    assert stream.started
    assert stream.options["device"] == 3
    assert (stream.options["samplerate"], stream.options["channels"]) == (48_000, 2)
    block = np.ones((960, 2), np.float32)
    stream.give(block)
    block[:] = 0  # PortAudio uses its buffer again
    chunk = microphone.next(1.0)
    assert (chunk.samples.mean(), chunk.sample_rate, chunk.dropped) == (1.0, 48_000, 0)
    microphone.close()
    assert stream.closed


def test_a_full_queue_drops_and_counts_and_never_blocks_the_callback(sound):
    microphone, block = Microphone(), np.zeros((960, 1), np.float32)
    for _ in range(510):  # 500 blocks of 20 ms fill ten seconds
        FakeStream.last.give(block)
    for _ in range(500):
        assert microphone.next(1.0).dropped == 0
    FakeStream.last.give(block)
    assert microphone.next(1.0).dropped == 10 * 960


def test_what_the_system_lost_is_counted(sound):
    microphone = Microphone()
    FakeStream.last.give(np.zeros((960, 1), np.float32), overflow=True)
    assert microphone.next(1.0).dropped == 960


def test_a_microphone_that_goes_silent_has_stalled(sound):
    with pytest.raises(StalledError, match=r"Desk: nothing came for 0\.01 s; has it gone"):
        Microphone().next(0.01)


def test_a_microphone_that_is_not_there_is_named(sound):
    with pytest.raises(AudioError, match=r"microphone none: cannot be opened .*--list_devices"):
        Microphone("none")


def test_the_lack_of_sounddevice_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"pip install earmark\[live\]"):
        Microphone()
