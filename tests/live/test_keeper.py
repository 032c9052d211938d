"""The folder of `--keep`: rows, clips, a full disk, a kill."""

import datetime
import errno
import json
from unittest import mock

import numpy as np
import pytest
import soundfile

from earmark.errors import SettingsError, StorageError
from earmark.io.append import AppendedLines, read_objects
from earmark.live.keeper import Keeper, KeepSettings
from earmark.live.recorder import RecordedEvent
from earmark.runtime.events import Event

START = datetime.datetime(2026, 5, 1, 4, 30, tzinfo=datetime.timezone.utc)
PROVENANCE = {"model": "i", "model_name": "small", "calibration": "c", "settings": "s"}


def recorded(number=0, samples=800):
    event = Event("Dog bark", 4.0, 6.5, 0.91234, {"Dog bark": 0.8}, "yard", "f")
    sound = np.full(samples, 100 + number, np.int16)
    return RecordedEvent(event, f"ab-{number}", START, 0.5, sound, 8_000, clip_from=2.0)


@pytest.fixture
def said():
    return []


@pytest.fixture
def keeper(tmp_path, said):
    made = keeper_in(tmp_path, said)
    yield made
    made.close()


def keeper_in(path, said, run="r1", **options):
    settings = KeepSettings(str(path / "heard"))
    record = {"classes": ["Dog bark"]}
    return Keeper(
        settings, run=run, record=record, provenance=PROVENANCE, report=said.append, **options
    )


def rows(path):
    return list(read_objects(path / "heard" / "events.jsonl"))


def test_an_event_is_a_row_with_its_clip(tmp_path, keeper):
    clip = keeper.keep(recorded())
    (row,) = rows(tmp_path)
    assert row == {
        "schema": 1,
        "id": "ab-0",
        "start_utc": "2026-05-01T04:30:00.000+00:00",
        "end_utc": "2026-05-01T04:30:02.500+00:00",
        "label": "Dog bark",
        "onset": 4.0,
        "offset": 6.5,
        "score": 0.9123,
        "top": {"Dog bark": 0.8},
        "source": "yard",
        "model": "i",
        "threshold": 0.5,
        "level_db": None,
        "clip": clip,
        "clip_from": 2.0,
        "run": "r1",
        "fingerprint": "f",
        "model_name": "small",
        "calibration": "c",
        "settings": "s",
    }
    assert len(soundfile.read(tmp_path / "heard" / clip)[0]) == 800
    run = json.loads((tmp_path / "heard" / "runs" / "r1.json").read_text(encoding="utf-8"))
    assert run == {"run": "r1", "classes": ["Dog bark"]}
    assert keeper.keep(recorded(1, samples=0)) == ""
    assert rows(tmp_path)[1]["clip"] is None


def test_the_folder_is_held(tmp_path, keeper):
    with pytest.raises(StorageError, match="give another --keep"):
        keeper_in(tmp_path, [])


def test_a_torn_row_of_a_kill_is_repaired_and_said(tmp_path, said):
    first = keeper_in(tmp_path, said)
    first.keep(recorded())
    first.close()
    with (tmp_path / "heard" / "events.jsonl").open("ab") as file:
        file.write(b'{"schema": 1, "id": "ab-1", "sta')
    second = keeper_in(tmp_path, said, run="r2")
    second.keep(recorded(2))
    second.close()
    assert [(row["id"], row["run"]) for row in rows(tmp_path)] == [("ab-0", "r1"), ("ab-2", "r2")]
    assert len(said) == 1
    assert "torn" in said[0]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once_and_the_events_come_later(tmp_path, said):
    now = [0.0]
    keeper = keeper_in(tmp_path, said, clock=lambda: now[0])
    write = "earmark.live.clip_folder.write_bytes"
    with mock.patch(write, full), mock.patch.object(AppendedLines, "append", full):
        for number in range(5):
            assert keeper.keep(recorded(number)) == ""
    assert rows(tmp_path) == []
    assert len(said) == 1
    assert "no space left on device" in said[0]
    assert "detection goes on" in said[0]
    assert keeper.keep(recorded(5))
    assert [row["id"] for row in rows(tmp_path)] == [f"ab-{n}" for n in range(6)]
    with mock.patch(write, full):  # something small fits now and then
        keeper.keep(recorded(6))
    keeper.keep(recorded(7))
    assert len(said) == 1
    now[0] += 61
    keeper.flush()
    assert said[1:] == [
        f"{keeper.folder}: can be written to again; 0 event(s) and 6 clip(s) were lost"
    ]
    with mock.patch(write, full):  # room for rows, none for clips: once too
        keeper.keep(recorded(8))
        keeper.keep(recorded(9))
        keeper.flush()
    assert len(said) == 3
    assert [row["id"] for row in rows(tmp_path)][8:] == ["ab-8", "ab-9"]
    keeper.close()
    assert said[3] == f"{keeper.folder}: 0 event(s) and 2 clip(s) were lost"


def test_what_never_could_be_written_is_counted_at_the_end(tmp_path, said):
    keeper = keeper_in(tmp_path, said)
    with mock.patch.object(AppendedLines, "append", full):
        keeper.keep(recorded())
        keeper.close()
    assert said[-1] == f"{keeper.folder}: 1 event(s) and 0 clip(s) were lost"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"most_bytes": 9}, "keep_size must be at least 10MB"),
        ({"most_days": 0.0}, "keep_days"),
        ({"before": -1.0}, "keep_before"),
        ({"after": 61.0}, "keep_after"),
    ],
)
def test_settings_out_of_range_are_refused(change, part):
    with pytest.raises(SettingsError, match=part):
        KeepSettings("x", **change)
