"""Clips that are bounded by size and age."""

import datetime
import os

import numpy as np
import soundfile

from earmark.live.clip_folder import ClipFolder

START = datetime.datetime(2026, 5, 1, 4, 30, 0, 125_000, tzinfo=datetime.timezone.utc)
DAY = 86_400.0


def noise(seconds=0.1, seed=0):
    return np.random.default_rng(seed).integers(-9_000, 9_000, round(8_000 * seconds), np.int16)


def add(folder, number, samples=None, label="Dog bark"):
    start = START + datetime.timedelta(hours=number)
    made = noise() if samples is None else samples
    return folder.add(made, 8_000, start=start, label=label, name=f"ab12-{number}")


def clips(path):
    return sorted(file.name.rpartition("_")[2] for file in path.rglob("*.flac"))


def test_a_clip_is_flac_with_its_time_and_class_in_the_name(tmp_path):
    folder = ClipFolder(tmp_path / "clips", most_bytes=10**7, most_days=1)
    name = add(folder, 0)
    assert name == "2026-05-01/20260501T043000.125Z_Dog_bark_ab12-0.flac"
    samples, rate = soundfile.read(tmp_path / "clips" / name, dtype="int16")
    assert rate == 8_000
    np.testing.assert_array_equal(samples, noise())
    assert add(folder, 1, label="../ä/\n").endswith("_event_ab12-1.flac")
    assert folder.bytes == sum(file.stat().st_size for file in tmp_path.rglob("*.flac"))


def test_the_oldest_go_when_there_is_no_room(tmp_path):
    size = ClipFolder(tmp_path / "one", most_bytes=10**7, most_days=1)
    add(size, 0)
    folder = ClipFolder(tmp_path / "clips", most_bytes=round(3.5 * size.bytes), most_days=1)
    for number in range(24):
        add(folder, number)
        assert folder.bytes <= 3.5 * size.bytes
    assert clips(tmp_path / "clips") == ["ab12-21.flac", "ab12-22.flac", "ab12-23.flac"]
    assert len(folder) == 3
    # The day before is gone with its last clip.
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["2026-05-02"]


def test_old_ones_go_and_a_new_start_knows_those_that_are_there(tmp_path):
    now = [1e9]
    path = tmp_path / "clips"
    folder = ClipFolder(path, most_bytes=10**7, most_days=2, clock=lambda: now[0])
    for number in range(3):
        name = add(folder, number)
        os.utime(path / name, (now[0], now[0]))
        now[0] += 0.9 * DAY
    other = path / "2026-05-01" / "notes.flac"
    other.write_bytes(b"mine")
    torn = path / "2026-05-01" / ".x.flac.0123.part"
    torn.write_bytes(b"of a kill")
    again = ClipFolder(path, most_bytes=10**7, most_days=2, clock=lambda: now[0])
    assert (len(again), torn.exists()) == (2, False)
    now[0] += 5 * DAY
    again.prune()
    assert (len(again), again.bytes) == (0, 0)
    assert other.read_bytes() == b"mine"  # what has another name is nobody's to remove
