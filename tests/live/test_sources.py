"""Microphones: rates, stalls, drops."""

import sys
import types
from typing import Any

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.live.chunk import StalledError
from earmark.live.sources import Microphone


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
