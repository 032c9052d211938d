"""Clips for verdicts, and what the verdicts come to."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from earmark.archive.query import Questions
from earmark.archive.review import _CHOSEN, write_review
from earmark.archive.store import Archive
from earmark.archive.verdicts import VerdictTable, interval, precisions
from earmark.errors import ArchiveError
from earmark.io.files import write_bytes
from tests.processes import assert_one_line, call_here


def test_verdicts_become_precision(label, recordings, tmp_path):
    label(recordings)
    words = ("results", "out", "--review", "review", "--per_class", 4, "--no_page")
    done = call_here("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = tmp_path / "review" / "review.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["label"] for row in rows} == {"dog", "rain", "rooster"}
    for name in ("dog", "rain", "rooster"):
        assert 1 <= sum(row["label"] == name for row in rows) <= 4
    assert all(soundfile.info(tmp_path / "review" / row["path"]).frames for row in rows)
    assert_one_line(call_here("earmark", *words, cwd=tmp_path), "has no verdicts yet")
    rows[0]["verdict"], rows[1]["verdict"] = "Yes", "no"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    said = call_here("earmark", *words, cwd=tmp_path).stdout.splitlines()
    own = next(row for row in csv.DictReader(said) if row["threshold"] == "own")
    assert (own["judged"], own["right"], own["precision"]) == ("2", "1", "0.500")
    table.write_text(table.read_text().replace("Yes", "perhaps"))
    assert_one_line(call_here("earmark", *words, cwd=tmp_path), "has the verdict 'perhaps'")


def test_each_event_has_the_same_chance(label, recordings, tmp_path):
    label(recordings)
    archive = Archive(tmp_path / "out")
    questions = Questions(archive, archive.sets)
    there = dict(questions.sql("SELECT label, count(*) FROM events GROUP BY label").rows)
    assert max(there.values()) > 5
    drawn: Counter[tuple[str, str, float]] = Counter()
    for seed in range(60):
        chosen = list(questions.sql(_CHOSEN.format(most=5, seed=seed)).rows)
        count = Counter(row[0] for row in chosen)
        assert count == {name: min(5, n) for name, n in there.items()}
        assert len({(row[1], row[3], row[0]) for row in chosen}) == len(chosen)
        drawn.update((row[0], row[1], row[3]) for row in chosen)
    assert len(drawn) == sum(there.values())
    for (name, *_), times in drawn.items():
        share = min(1.0, 5 / there[name])
        assert abs(times / 60 - share) <= 4 * (share * (1 - share) / 60) ** 0.5


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("place", ["third clip", "table"])
def test_a_review_that_is_broken_off_leaves_nothing(
    label, recordings, tmp_path, monkeypatch, fault, place
):
    label(recordings)
    archive = Archive(tmp_path / "out")
    questions, folder = Questions(archive, archive.sets), tmp_path / "review"
    written = list[Path]()

    def write(path, data):
        if place == "third clip" and len(written) == 2:
            raise fault
        write_bytes(path, data)
        written.append(path)

    def table(*_):
        raise fault

    monkeypatch.setattr("earmark.archive.review.write_bytes", write)
    if place == "table":
        monkeypatch.setattr("earmark.archive.review.write_text", table)
    with pytest.raises(type(fault)):
        write_review(folder, questions, 4, 0)
    assert len(written) >= 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("clips/a.wav,dog,a,much,0,yes", "row 2 has a score or time that is no number"),
        ("clips/a.wav,dog,a,nan,0,yes", "row 2 has a score or time that is no number"),
        ("clips/a.wav,dog,a,0.5,early,", "row 2 has a score or time that is no number"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, row, part):
    table = tmp_path / "review.csv"
    table.write_text(f"path,label,group,score,onset_seconds,verdict\n{row}\n")
    with pytest.raises(ArchiveError, match=part):
        VerdictTable(tmp_path)
    for content, part in (
        (b"path,label\n", "lacks the column score"),
        (b"path;label;score;verdict\n", "lacks the column label; save it as CSV with commas"),
        ("path,label,score,verdict\na,Türklingel,0.5,yes\n".encode("cp1252"), "not UTF-8 text"),
        (b"path,label,score,verdict\n" + 200_000 * b"a", "not a CSV table"),
    ):
        table.write_bytes(content)
        with pytest.raises(ArchiveError, match=part):
            VerdictTable(tmp_path)


def test_columns_of_others_stay_and_a_verdict_that_cannot_be_written_is_not_there(
    tmp_path, monkeypatch
):
    path = tmp_path / "review.csv"
    path.write_text("path,label,score,verdict,who\nclips/a.wav,dog,0.5,,me\n")
    table = VerdictTable(tmp_path)
    table.judge(0, "no", "rain")
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert (row["verdict"], row["true_label"], row["who"]) == ("no", "rain", "me")

    def full(*_):
        raise OSError

    monkeypatch.setattr("earmark.archive.verdicts.write_text", full)
    with pytest.raises(OSError):
        table.judge(0, "yes")
    assert table.rows[0]["verdict"] == "no"


def test_flags_that_need_review(label, recordings, tmp_path):
    label(recordings)
    odd: list[tuple[list[str], str]] = [
        (["--no_page"], "--no_page is about --review"),
        (["--per_class", "3"], "--per_class is about --review"),
        (["--review", "r", "--per_class", "-1"], "--per_class must be at least 1, got -1"),
    ]
    for given, part in odd:
        assert_one_line(call_here("earmark", "results", "out", *given, cwd=tmp_path), part)
    for path in recordings.rglob("*.*"):
        path.unlink()
    words = ("results", "out", "--review", "r", "--no_page")
    assert_one_line(call_here("earmark", *words, cwd=tmp_path), "r: nothing to judge")


def test_a_higher_threshold_leaves_the_events_above_it():
    rows = [
        {"label": "dog", "score": score, "verdict": verdict}
        for score, verdict in ((0.35, "no"), (0.55, "no"), (0.75, "yes"), (0.93, "yes"), (0.2, ""))
    ]
    found = {one.threshold: (one.right, one.judged) for one in precisions(rows)}
    assert found[0.0] == (2, 4)
    assert found[0.5] == (2, 3)
    assert found[0.6] == (2, 2)
    assert 0.95 not in found


@pytest.mark.parametrize(
    ("right", "judged", "expected"),
    [(8, 10, (0.490, 0.943)), (0, 10, (0.0, 0.278)), (10, 10, (0.722, 1.0))],
)
def test_the_interval_is_wilsons(right, judged, expected):
    assert interval(right, judged) == pytest.approx(expected, abs=0.001)
