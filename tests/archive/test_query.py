"""Questions to an archive answer from its tables, and reach nothing else."""

import os
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from earmark.archive import query
from earmark.archive.query import Questions
from earmark.archive.schema import SCORES, schema_of
from earmark.archive.store import Archive
from earmark.errors import ArchiveError


@pytest.fixture
def questions(label, recordings, tmp_path):
    """Questions to an archive of the recordings."""
    label(recordings)
    archive = Archive(tmp_path / "out")
    return Questions(archive, archive.sets)


def test_answers_that_are_read_in_turn_keep_their_rows(questions, monkeypatch):
    files = list(questions.sql("SELECT entry, seconds FROM files ORDER BY entry").rows)
    events = list(questions.events())
    monkeypatch.setattr(query, "_ROWS", 2)
    answer = questions.sql("SELECT entry, seconds FROM files ORDER BY entry")
    got = [next(answer.rows)]
    assert list(questions.events()) == events
    assert [*got, *answer.rows] == files


@pytest.mark.parametrize("where", ["", "score > (SELECT median(score) FROM events)"])
def test_events_are_sorted_some_files_at_a_time_and_are_the_same(
    label, recordings, tmp_path, monkeypatch, where
):
    label(recordings)
    os.utime(recordings / "a.wav", (1, 1))
    label(recordings)  # so that rows of it count no more, and its new ones stand last
    archive = Archive(tmp_path / "out")
    questions = Questions(archive, archive.sets)
    question = f"SELECT * FROM events WHERE {where or True} ORDER BY path, onset_seconds, label"
    whole = list(questions.sql(question).rows)
    assert len({row[0] for row in whole}) > 2
    monkeypatch.setattr(query, "_EVENTS", 1)
    assert len(list(questions._batches())) > 2
    assert [tuple(row.values()) for row in questions.events(where)] == whole


def test_of_a_batch_only_row_groups_that_may_hold_it_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"entry": range(10_000)}), path, row_group_size=1_000)
    (fragment,) = ds.dataset(path).get_fragments()
    for entries, groups in (([*range(2_900, 4_000, 10)], [2, 3]), ([], [])):
        condition = query._among(entries)
        assert fragment.to_table(filter=condition)["entry"].to_pylist() == entries
        read = fragment.split_by_row_group(condition)
        assert [one.row_groups[0].id for one in read] == groups


def test_every_question_is_closed_to_all_else(questions, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    outside = [{"a": 1}]
    (tmp_path / "x.csv").write_text("a\n1\n")
    for _ in range(2):
        zone = "SELECT current_setting('TimeZone'), TIMESTAMPTZ '2024-01-01 00:00:00Z'::VARCHAR"
        assert list(questions.sql(zone).rows) == [("UTC", "2024-01-01 00:00:00+00")]
        for name in ("outside", f"'{tmp_path / 'x.csv'}'"):
            with pytest.raises(ArchiveError):
                list(questions.sql(f"SELECT * FROM {name}").rows)
    assert outside


def test_the_classes_of_every_set_can_be_asked_for(tmp_path):
    for name in ("dog", "rain"):
        schema = schema_of(SCORES, [name])
        row: dict[str, Any] = {
            field.name: "x" for field in schema if pa.types.is_dictionary(field.type)
        }
        row |= {"entry": 1, "file": "x", "path": "x", "second": 0, "scores": {name: 0.5}}
        pq.write_table(pa.Table.from_pylist([row], schema=schema), tmp_path / name)
    found = query._rows([tmp_path / "dog", tmp_path / "rain"], None).to_table()
    assert found["scores"].to_pylist() == [{"dog": 0.5, "rain": None}, {"dog": None, "rain": 0.5}]
