"""`earmark stream --alerts --keep`: a recording, a pipe, a kill, and what is refused."""

import json
import os
import signal
import sys

import pytest
import soundfile

from earmark.io.append import read_objects
from tests.alerts.builders import until
from tests.builders import bursts
from tests.processes import assert_one_line, call_here, start

LOW = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event
RULES = '[[rule]]\nname = "all"\ncooldown_seconds = 0\n[command]\ncommand = {command}\n'


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "long.wav", bursts(), 44_100)
    command = json.dumps(["tee", "-a", str(tmp_path / "log.jsonl")])
    (tmp_path / "rules.toml").write_text(RULES.format(command=command), encoding="utf-8")
    return tmp_path


def stream(*words, cwd, data=b""):
    return call_here("earmark", "stream", *words, cwd=cwd, data=data)


def kept(folder):
    return list(read_objects(folder / "heard" / "events.jsonl"))


def test_a_recording_s_events_are_kept_and_told(folder):
    words = ("--file", "long.wav", "--jsonl", *LOW)
    plain = stream(*words, cwd=folder)
    followed = stream(
        *words,
        "--keep",
        "heard",
        "--alerts",
        "rules.toml",
        "--start",
        "2026-05-01T04:30:00Z",
        cwd=folder,
    )
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout == plain.stdout
    events = [json.loads(line) for line in plain.stdout.splitlines()]
    rows = kept(folder)
    assert [(row["label"], row["onset"]) for row in rows] == [
        (event["label"], event["onset"]) for event in events
    ]
    assert rows[0]["start_utc"].startswith("2026-05-01T04:30:0")
    assert all((folder / "heard" / row["clip"]).stat().st_size for row in rows)
    told = list(read_objects(folder / "log.jsonl"))
    assert [alert["event"] for alert in told] == [row["id"] for row in rows]


def test_a_pipe_is_dated_by_the_clock_and_a_second_run_adds_to_the_first(folder):
    for _ in range(2):
        data = (folder / "long.wav").read_bytes()
        done = stream("-", "--keep", "heard", *LOW, cwd=folder, data=data)
        assert done.returncode == 0, done.stderr
    rows = kept(folder)
    assert len({row["run"] for row in rows}) == 2
    assert len({row["id"] for row in rows}) == len(rows)
    assert len(list((folder / "heard" / "runs").iterdir())) == 2
    assert [row["source"] for row in rows] == ["stdin"] * len(rows)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_what_was_found_before_a_kill_is_there(folder):
    words = ("stream", "-", "--sample_rate", "44100", "--keep", "heard", *LOW)
    process = start("earmark", *words, cwd=folder)
    samples = soundfile.read(folder / "long.wav", dtype="int16")[0].tobytes()
    process.stdin.write(samples)
    process.stdin.flush()
    log = folder / "heard" / "events.jsonl"
    assert until(lambda: log.exists() and log.stat().st_size, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    before = kept(folder)
    assert before
    done = stream("--file", "long.wav", "--keep", "heard", *LOW, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert kept(folder)[: len(before)] == before
    assert len(kept(folder)) > len(before)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--keep", "x", "--keep_size", "1MB"], "keep_size must be at least 10MB"),
        (["--keep", "x", "--keep_size", "much"], "'much' is no size; give one as 500MB or 2GB"),
        (["--keep", "x", "--keep_days", "0"], "keep_days"),
        (["--keep", "x", "--keep_before", "-1"], "keep_before"),
        (["--keep", "long.wav"], "long.wav: is a file where a folder is needed"),
        (["--start", "2026-05-01"], "give one of them"),
        (["--start", "yesterday"], "'yesterday' is no time"),
        (["--realtime", "--keep", "x", "--start", "2026-05-01"], "without --realtime"),
        (["--alerts", "none.toml"], "none.toml: cannot be read (no such file"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(folder, words, part):
    assert_one_line(stream("--file", "long.wav", *words, cwd=folder), part)
    assert not (folder / "x").exists()
