"""`earmark stream` and `earmark predict --events` as real processes, with real pipes."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.processes import assert_one_line, call, call_here

LOW = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event


def sound(seconds=12.0, sample_rate=44_100):
    """Bursts and pauses."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(0, 10 ** rng.uniform(-3, -0.7), sample_rate // 2)
        for _ in range(round(2 * seconds))
    ]
    return np.clip(np.concatenate(parts), -1, 1)


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    soundfile.write(path, sound(), 44_100)
    return path


def stream(*words, cwd, data=b""):
    return subprocess.run(
        [sys.executable, "-m", "earmark.cli", "stream", *map(str, words)],
        cwd=cwd,
        input=data,
        capture_output=True,
        timeout=120,
        check=False,
    )


def labelled(text):
    """What events say, without where they come from."""
    return [
        {k: v for k, v in json.loads(line).items() if k != "source"} for line in text.splitlines()
    ]


def test_a_file_a_pipe_and_predict_give_the_same_events(wav):
    predicted = call("earmark", "predict", "--events", wav, *LOW, cwd=wav.parent)
    assert predicted.returncode == 0, predicted.stderr
    events = labelled(predicted.stdout)
    assert events
    file = stream("--file", wav, "--jsonl", *LOW, cwd=wav.parent)
    assert file.stdout.decode() == predicted.stdout
    assert b"heard 12.0 s" in file.stderr
    whole = soundfile.read(wav, dtype="int16")[0].tobytes()
    for words, data in ((["-"], wav.read_bytes()), (["-", "--sample_rate", "44100"], whole)):
        piped = stream(*words, "--jsonl", *LOW, cwd=wav.parent, data=data)
        assert piped.returncode == 0, piped.stderr
        found = labelled(piped.stdout.decode())
        assert [(e["label"], e["onset"], e["offset"]) for e in found] == [
            (e["label"], e["onset"], e["offset"]) for e in events
        ]


@pytest.mark.parametrize("format", ["raven", "audacity", "csv", "dcase"])
def test_events_are_written_in_every_layout_whole_or_not_at_all(wav, tmp_path, format):
    out = tmp_path / "events.txt"
    words = ("predict", "--events", wav, "--format", format, "--output_file", out, *LOW)
    done = call("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) > (format != "audacity")


def test_of_a_truncated_file_the_events_so_far_are_kept_and_the_fault_is_named(wav, tmp_path):
    whole = call("earmark", "predict", "--events", wav, *LOW, cwd=tmp_path).stdout.splitlines()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[: 10 * 88_200])
    done = call("earmark", "predict", "--events", cut, *LOW, cwd=tmp_path)
    assert done.returncode == 1
    assert "truncated" in done.stderr
    assert done.stdout.splitlines()
    first = json.loads(done.stdout.splitlines()[0])
    assert first["onset"] == json.loads(whole[0])["onset"]
    streamed = stream("--file", cut, "--jsonl", *LOW, cwd=tmp_path)
    assert streamed.returncode == 1
    assert streamed.stdout.decode() == done.stdout
    assert b"truncated" in streamed.stderr


def half_heard(*extra, cwd):
    """Start a stream that was given two seconds and then nothing."""
    words = ["stream", "-", "--sample_rate", "8000", "--stall_seconds", "0.5", *extra]
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark.cli", *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )
    assert process.stdin is not None
    process.stdin.write(bytes(32_000))
    process.stdin.flush()
    return process


def test_a_stalled_pipe_ends_the_stream_with_its_reason(tmp_path):
    process = half_heard(cwd=tmp_path)
    said = process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    assert process.wait(60) == 1
    assert b"nothing came for 0.5 s" in said
    assert b"heard 2.0 s" in said


def test_a_stalled_pipe_is_waited_for_where_that_is_wanted(tmp_path):
    process = half_heard("--reconnect", cwd=tmp_path)
    first = process.stderr.readline()
    assert b"waiting for it" in first
    process.stdin.write(bytes(16_000))
    process.stdin.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert b"goes on" in said
    assert b"heard 3.0 s" in said


def test_an_interrupt_keeps_what_was_heard(wav, tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "earmark.cli",
            "stream",
            "-",
            "--sample_rate",
            "44100",
            "--jsonl",
            *LOW,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdin is not None
    process.stdin.write(soundfile.read(wav, dtype="int16")[0].tobytes())
    process.stdin.flush()
    assert process.stdout is not None
    first = process.stdout.readline()  # an event that has ended; more is being heard
    os.kill(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert labelled((first + out).decode())
    assert b"interrupted after" in said


def test_samples_that_are_not_finite_are_heard_as_silence_and_counted(tmp_path):
    samples = np.zeros(40_000, "<f4")
    samples[100:200] = np.nan
    samples[20_000:20_010] = np.inf
    done = stream(
        "-", "--sample_rate", 8_000, "--encoding", "f32le", cwd=tmp_path, data=samples.tobytes()
    )
    assert done.returncode == 0
    assert done.stderr.count(b"NaN or infinite") == 1
    assert b"heard 5.0 s" in done.stderr
    assert b"heard as silence" in done.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["-", "--file", "x"], "two sources"),
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
    ],
)
def test_wrong_flags_are_refused_in_one_line(tmp_path, words, part):
    done = call("earmark", "stream", *words, cwd=tmp_path, input="abcd" * 100)
    assert_one_line(done, part)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--events", "--format", "table"], "--events cannot be written as table"),
        (["--format", "raven"], "--format raven needs --events"),
        (["--merge_gap_seconds", "2"], "--merge_gap_seconds needs --events"),
        (["--threshold", "0.5", "--off_ratio", "0.8"], "--off_ratio needs --events"),
        (["--threshold", "1"], "threshold must be at least 0 and below 1"),
    ],
)
def test_predict_tells_what_belongs_to_events(wav, words, part):
    assert_one_line(call_here("earmark", "predict", wav, *words, cwd=wav.parent), part)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_espeak_s_wav_stream_is_heard(tmp_path):
    spoken = subprocess.run(
        ["espeak-ng", "--stdout", "A sentence of some length, to be heard."],
        capture_output=True,
        check=True,
    ).stdout
    done = stream("-", cwd=tmp_path, data=spoken)
    assert done.returncode == 0, done.stderr
    assert b"stdin: heard" in done.stderr


FAKE_SOUNDDEVICE = '''
"""Stands for sounddevice and a device that is unplugged after a second, and comes back."""

import os
import signal
import threading
import time
import types

import numpy as np

opened = []


class PortAudioError(Exception):
    pass


def query_devices(device=None, kind=None):
    return {"name": "Desk", "default_samplerate": 8000.0, "max_input_channels": 1}


class InputStream:
    def __init__(self, callback, blocksize, **options):
        opened.append(self)
        if len(opened) == 2:
            raise PortAudioError("Device unavailable")
        self.callback, self.blocksize = callback, blocksize

    def start(self):
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        time.sleep(0.2)
        for number in range(50):
            block = np.full((self.blocksize, 1), 0.01, np.float32)
            status = types.SimpleNamespace(input_overflow=len(opened) == 1 and number == 10)
            self.callback(block, len(block), None, status)
            time.sleep(0.02)
        if len(opened) > 2:
            os.kill(os.getpid(), signal.SIGINT)

    def close(self):
        pass


def _terminate():
    pass


def _initialize():
    pass
'''


def microphone(*words, cwd):
    (cwd / "sounddevice.py").write_text(FAKE_SOUNDDEVICE, encoding="utf-8")
    paths = os.pathsep.join([str(cwd), os.environ.get("PYTHONPATH", "")])
    words = ("earmark", "stream", "--stall_seconds", "0.6", *words)
    return call(*words, cwd=cwd, env={**os.environ, "PYTHONPATH": paths})


def test_a_microphone_that_vanishes_ends_the_stream_with_its_reason(tmp_path):
    done = microphone(cwd=tmp_path)
    assert done.returncode == 1
    assert "Desk: 8000 Hz" in done.stderr
    assert "Desk: nothing came for 0.6 s; has it gone?" in done.stderr
    assert "160 samples dropped" in done.stderr


def test_a_microphone_that_vanishes_is_awaited_and_the_time_goes_on(tmp_path):
    done = microphone("--reconnect", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    for part in ("waiting for it", "Desk: goes on", "interrupted after", "samples dropped"):
        assert part in done.stderr
    seconds = float(done.stderr.split("microphone: heard ")[1].split(" s")[0])
    assert seconds > 4.0  # a second, the time away with one failed attempt, another second
