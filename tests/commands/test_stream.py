"""`earmark stream`: a file, a pipe and a microphone, and every refusal."""

import json
import shutil
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile

from tests.builders import bursts
from tests.processes import assert_one_line, call_here, start

LOW = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    soundfile.write(path, bursts(), 44_100)
    return path


def stream(*words, cwd, data=b""):
    return call_here("earmark", "stream", *words, cwd=cwd, data=data)


def labelled(text):
    """What events say, without where they come from."""
    return [
        {k: v for k, v in json.loads(line).items() if k != "source"} for line in text.splitlines()
    ]


def test_a_file_a_pipe_and_predict_give_the_same_events(wav):
    predicted = call_here("earmark", "predict", "--events", wav, *LOW, cwd=wav.parent)
    assert predicted.returncode == 0, predicted.stderr
    events = labelled(predicted.stdout)
    assert events
    file = stream("--file", wav, "--jsonl", *LOW, cwd=wav.parent)
    assert file.stdout == predicted.stdout
    assert " 12.0 s" in file.stderr
    whole = soundfile.read(wav, dtype="int16")[0].tobytes()
    for words, data in ((["-"], wav.read_bytes()), (["-", "--sample_rate", "44100"], whole)):
        piped = stream(*words, "--jsonl", *LOW, cwd=wav.parent, data=data)
        assert piped.returncode == 0, piped.stderr
        assert [(e["label"], e["onset"], e["offset"]) for e in labelled(piped.stdout)] == [
            (e["label"], e["onset"], e["offset"]) for e in events
        ]


def test_text_names_onset_and_offset_and_a_file_may_come_at_its_own_speed(wav, tmp_path):
    soundfile.write(tmp_path / "short.wav", bursts(2.0), 44_100)
    begun = time.monotonic()
    done = stream("--file", "short.wav", "--realtime", *LOW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun > 1.8  # it cannot end before the sound has
    assert " to " in done.stdout.splitlines()[0]
    assert "short.wav" in done.stderr


def test_samples_that_are_not_finite_count_as_silence(tmp_path):
    samples = np.zeros(40_000, "<f4")
    samples[100:200] = np.nan
    samples[20_000:20_010] = np.inf
    words = ("-", "--sample_rate", 8_000, "--encoding", "f32le")
    done = stream(*words, cwd=tmp_path, data=samples.tobytes())
    assert done.returncode == 0
    assert done.stderr.count("NaN or infinite") == 1
    assert " 5.0 s" in done.stderr
    assert "replaced by silence" in done.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["-", "--file", "x"], "two sources"),
        (["x.wav"], "say --file x.wav"),
        (["--realtime"], "needs --file"),
        (["--file", "x", "--sample_rate", "8000"], "--sample_rate"),
        (["--file", "x", "--device", "y"], "--device"),
        (["--file", "x", "--jsonl", "--format", "csv"], "contradict"),
        (["-", "--channels", "0"], "--channels"),
        (["-", "--stall_seconds", "0"], "--stall_seconds"),
        (["-", "--sample_rate", "100"], "100 Hz"),
        (["--file", "missing.wav"], "missing.wav: no such file"),
        (["--file", "x", "--off_ratio", "2"], "off_ratio"),
        (["--file", "x", "--threshold", "1"], "threshold"),
        (["-"], "--sample_rate"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(tmp_path, words, part):
    assert_one_line(stream(*words, cwd=tmp_path, data=b"\x01\xfe\x05\x80" * 100), part)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_espeak_s_wav_stream_is_read(tmp_path):
    spoken = subprocess.run(
        ["espeak-ng", "--stdout", "A sentence of some length, to be heard."],
        capture_output=True,
        check=True,
    ).stdout
    done = stream("-", cwd=tmp_path, data=spoken)
    assert done.returncode == 0, done.stderr
    assert "stdin: " in done.stderr


def half_given(*extra, cwd):
    """Start a stream that was given two seconds and then nothing."""
    words = ("stream", "-", "--sample_rate", "8000", "--stall_seconds", "0.5", *extra)
    process = start("earmark", *words, cwd=cwd)
    process.stdin.write(bytes(32_000))
    process.stdin.flush()
    return process


def test_a_stalled_pipe_ends_the_stream_with_its_reason(tmp_path):
    process = half_given(cwd=tmp_path)
    said = process.stderr.read()  # it ends though its input is still open
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"nothing came for 0.5 s" in said
    assert b" 2.0 s" in said


def test_a_stalled_pipe_is_waited_for_where_that_is_wanted(tmp_path):
    process = half_given("--reconnect", cwd=tmp_path)
    assert b"sample rate of 8000 Hz" in process.stderr.readline()
    assert b"waiting for it" in process.stderr.readline()
    _, said = process.communicate(bytes(16_000), timeout=60)
    assert process.returncode == 0
    assert b"goes on" in said
    assert b" 3.0 s" in said


class FakeSound(types.ModuleType):
    """Stands for sounddevice and a device that is unplugged after a second, and comes back."""

    class PortAudioError(Exception):
        pass

    def __init__(self, lives=1):
        super().__init__("sounddevice")
        self.opened, self.lives = 0, lives

    def query_devices(self, device=None, kind=None):
        return {"name": "Desk", "default_samplerate": 8000.0, "max_input_channels": 1}

    def InputStream(self, callback, blocksize, **options):
        self.opened += 1
        if self.opened == 2:
            raise self.PortAudioError("Device unavailable")
        return FakeStream(self, callback, blocksize)

    def _terminate(self):
        pass

    def _initialize(self):
        pass


class FakeStream:
    def __init__(self, sound, callback, blocksize):
        self.sound, self.callback, self.blocksize = sound, callback, blocksize

    def start(self):
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        time.sleep(0.1)
        first = self.sound.opened == 1
        for number in range(50):
            block = np.full((self.blocksize, 1), 0.01, np.float32)
            status = types.SimpleNamespace(input_overflow=first and number == 10)
            self.callback(block, len(block), None, status)
            time.sleep(0.01)

    def close(self):
        pass


def test_a_microphone_that_vanishes_ends_the_stream_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound())
    done = stream("--stall_seconds", "0.6", cwd=tmp_path)
    assert done.returncode == 1
    assert "Desk: 8000 Hz" in done.stderr
    assert "Desk: nothing came for 0.6 s; has it gone?" in done.stderr
    assert "160 samples dropped" in done.stderr


def test_a_microphone_that_vanishes_is_awaited_and_the_time_goes_on(tmp_path, monkeypatch):
    sound = FakeSound()
    monkeypatch.setitem(sys.modules, "sounddevice", sound)
    query = sound.query_devices

    def interrupted_the_fourth_time(*words):
        if sound.opened == 3:
            raise KeyboardInterrupt  # as Ctrl-C while it waits for the device again
        return query(*words)

    monkeypatch.setattr(sound, "query_devices", interrupted_the_fourth_time)
    done = stream("--stall_seconds", "0.6", "--reconnect", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    for part in ("waiting for it", "Desk: goes on", "interrupted after", "samples dropped"):
        assert part in done.stderr
    seconds = float(done.stderr.split("interrupted after ")[1].split(" s")[0])
    assert seconds > 3.0  # a second, the time away with one failed attempt, another second


def test_devices_are_listed_and_a_microphone_without_sounddevice_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound())
    assert "Desk" in stream("--list_devices", cwd=tmp_path).stdout
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert_one_line(stream(cwd=tmp_path), "pip install earmark[live]")
