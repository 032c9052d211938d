"""Clips for verdicts, and what the verdicts come to."""

import csv

import pytest
import soundfile

from earmark.archive.review import interval, precisions
from tests.processes import assert_one_line, call_here


def test_verdicts_become_precision(label, recordings, tmp_path):
    label(recordings)
    words = ("results", "out", "--review", "review", "--per_class", 4)
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
