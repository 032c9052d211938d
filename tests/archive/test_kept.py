"""The folder of `--keep` under the tools of archives."""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from earmark.live.keeper import Keeper, KeepSettings
from earmark.live.recorder import RecordedEvent
from earmark.output.event_log import provenance_columns, run_record
from earmark.runtime.events import Event
from tests.processes import assert_one_line, call_here
from tests.runtime.builders import SETTINGS, classifier

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
START = datetime.datetime(2026, 5, 1, 4, 30, tzinfo=datetime.timezone.utc)


def results(*words, cwd):
    return call_here("earmark", "results", "heard", *words, cwd=cwd)


@pytest.fixture
def kept(tmp_path):
    """Two runs of one model: five events with clips, one without."""
    info = classifier("torch").info
    for run in ("aa", "bb"):
        keeper = Keeper(
            KeepSettings(str(tmp_path / "heard")),
            run=run,
            record={"begun": f"2026-05-0{1 + (run == 'bb')}", **run_record(info, SETTINGS)},
            provenance=provenance_columns(info, SETTINGS),
            report=print,
        )
        for number in range(3):
            onset = 10.0 * number + 4
            event = Event(
                ("dog", "rain")[number % 2], onset, onset + 1.5, 0.9, {"dog": 0.8}, "yard", "f"
            )
            samples = np.full(0 if (run, number) == ("bb", 2) else 800, 9, np.int16)
            begun = START + datetime.timedelta(seconds=onset)
            keeper.keep(
                RecordedEvent(event, f"{run}-{number}", begun, 0.5, samples, 8_000, onset - 2)
            )
        keeper.close()
    return tmp_path


def test_events_are_rows_of_their_clips(kept):
    done = results("--format", "jsonl", cwd=kept)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 6
    times = {(row["onset_seconds"], row["offset_seconds"]) for row in rows}
    assert times == {(2.0, 3.5), (24.0, 25.5)}  # the last has no clip
    for row in rows:
        assert (kept / row["path"]).is_file() or row["path"] == "bb-2"
    assert [row["start_utc"][:19] for row in rows[1:3]] == [  # in the order of paths
        "2026-05-01T04:30:04",
        "2026-05-01T04:30:04",
    ]
    assert {row["run"] for row in rows} == {"aa", "bb"}


def test_questions_and_tables(kept):
    question = "SELECT label, count(*) AS n FROM events GROUP BY label ORDER BY label"
    assert results("--sql", question, cwd=kept).stdout == "label,n\ndog,4\nrain,2\n"
    raven = results("--format", "raven", "--query", "label = 'rain'", cwd=kept).stdout
    assert len(raven.splitlines()) == 3
    done = results("--format", "audacity", "--per_file", "--output_file", "labels", cwd=kept)
    assert done.returncode == 0, done.stderr
    assert len(list((kept / "labels").rglob("*.txt"))) == 6
    assert "6 files" in results("--list", cwd=kept).stdout


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text.replace('"schema": 1', '"schema": 9', 1), "events of schema 9"),
        (lambda text: text.replace('"run": "aa"', '"run": "cc"', 1), "cc.json: is missing"),
        (lambda text: text.replace('"onset"', '"begin"', 1), "a line that Earmark did not write"),
    ],
)
def test_what_is_not_of_this_version_is_said_in_one_line(kept, change, part):
    path: Path = kept / "heard" / "events.jsonl"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert_one_line(results("--format", "csv", cwd=kept), part)


def test_no_answer_takes_the_place_of_what_was_kept(kept):
    before = (kept / "heard/events.jsonl").read_bytes()
    done = results("--format", "jsonl", "--output_file", "heard/events.jsonl", cwd=kept)
    assert_one_line(done, "heard/events.jsonl")
    assert (kept / "heard/events.jsonl").read_bytes() == before
