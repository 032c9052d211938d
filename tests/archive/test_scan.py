"""What `earmark scan` says of a folder."""

import csv
import datetime
import multiprocessing
import os

import pytest
import soundfile

from earmark.archive.plan import Unit, plan_sources
from earmark.archive.scan import Scanned, gaps, scan_file
from tests.io.test_media import made, tone
from tests.processes import call_here
from tests.runtime.builders import sound


def test_it_says_what_is_there(recordings, model, tmp_path):
    for minute in (0, 1, 2, 9):
        path = recordings / "north" / f"20240131_06{minute:02}00.wav"
        soundfile.write(path, sound(1.0), 8_000)
    words = ("scan", recordings, "--model_dir", model, "--workers", 2, "--output_file", "files.csv")
    done = call_here("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "12 files, 23 s of audio" in said
    assert "sample rates: 8000 Hz (8), 44100 Hz (3)" in said
    assert "channels: 1 (11)" in said
    assert "7 files do not say when" in said
    assert "gaps: 2," in said
    assert "north: 15 min from 2024-01-31 05:45:03 UTC" in said
    assert "files with a fault: 2" in said
    assert "truncated: 1, such as" in said
    assert "empty: 1, such as" in said
    assert "labelling: about" in said
    rows = list(csv.DictReader((tmp_path / "files.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert [row["cause"] for row in rows if row["path"].endswith("empty.wav")] == ["empty"]
    cut = next(row for row in rows if row["path"].endswith("cut.wav"))
    assert (cut["cause"], float(cut["seconds"])) == ("truncated", pytest.approx(0.56, abs=0.01))


def at(minute, seconds=60.0, site="a"):
    start = datetime.datetime(2024, 1, 31, 6, 0, tzinfo=datetime.timezone.utc)
    start += datetime.timedelta(minutes=minute)
    return Scanned(Unit(f"{site}{minute}", 1, 1), 8_000, 1, seconds, site=site, start=start)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ((0, 1, 2, 3), []),
        ((0, 1, 5, 6), [180]),
        ((0, 10, 20, 30), []),  # a recorder that pauses on purpose
        ((0, 10, 20, 50, 60), [29 * 60]),
        ((0, 0.5, 1.5), [-30]),
    ],
)
def test_a_gap_is_a_pause_that_is_not_usual(minutes, expected):
    assert [gap.seconds for gap in gaps(map(at, minutes))] == expected


def test_gaps_are_those_of_a_site():
    assert gaps([at(0), at(1), at(0, site="b"), at(1, site="b")]) == []


@pytest.mark.parametrize("declared", [0, 1_000])
def test_a_header_that_tells_of_less_than_is_there(tmp_path, declared):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(3.0), 8_000)
    data = path.read_bytes()
    path.write_bytes(data[:40] + declared.to_bytes(4, "little") + data[44:])
    unit = plan_sources([str(path)]).units[0]
    found = scan_file(unit, datetime.timezone.utc, False)
    assert (found.seconds, found.cause, found.unfinished) == (pytest.approx(3.0), "", True)
    path.write_bytes(data)
    assert not scan_file(unit, datetime.timezone.utc, False).unfinished


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    unit = plan_sources([str(tmp_path / "pipe.wav")]).units[0]
    pool = multiprocessing.get_context("spawn").Pool(1)
    with pool:
        ready = pool.apply_async(scan_file, (unit, datetime.timezone.utc, False))
        assert "is not a regular file" in ready.get(timeout=60).error


def test_what_ffmpeg_reads_counts_and_a_length_that_is_not_told_is_said(tmp_path, model):
    (tmp_path / "a.m4a").write_bytes(made("m4a", tone(3.0)))
    (tmp_path / "b.aac").write_bytes(made("aac", tone(3.0)))
    done = call_here("earmark", "scan", tmp_path, "--model_dir", model, cwd=tmp_path)
    assert "2 files, 3 s of audio" in done.stdout
    assert "lengths not told: 1," in done.stdout
    assert "labelling: about" in done.stdout
    (tmp_path / "a.m4a").unlink()
    done = call_here("earmark", "scan", tmp_path, "--model_dir", model, cwd=tmp_path)
    assert "lengths not told: 1," in done.stdout
    assert "nothing decodes" not in done.stdout
    words = ("scan", tmp_path, "--model_dir", model, "--thorough")
    assert "1 files, 3 s of audio" in call_here("earmark", *words, cwd=tmp_path).stdout


def test_nothing_that_decodes(tmp_path, model):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    done = call_here("earmark", "scan", tmp_path, "--model_dir", model, cwd=tmp_path)
    assert done.returncode == 0
    assert "nothing decodes" in done.stdout
