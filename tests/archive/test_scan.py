"""What `earmark scan` says of a folder."""

import csv
import datetime

import pytest
import soundfile

from earmark.archive.plan import Unit
from earmark.archive.scan import Scanned, gaps
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


def test_nothing_that_decodes(tmp_path, model):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    done = call_here("earmark", "scan", tmp_path, "--model_dir", model, cwd=tmp_path)
    assert done.returncode == 0
    assert "nothing decodes" in done.stdout
