"""`--classes`, `--closed_set` and `--calibration`: of predict, and refused in one line."""

import csv
import json

import pytest

from earmark import Classifier
from earmark.config import Calibration
from earmark.decision.calibration_file import write_calibration
from tests.processes import assert_one_line, call_here


def predict(documented, run, *words):
    words = ("predict", "--model", run, "sounds", "--format", "csv", *words)
    return call_here("earmark", *words, cwd=documented)


@pytest.mark.parametrize("given", [("rooster,dog",), ("dog", "--classes", "ROOSTER")])
def test_only_the_classes_named_are_answered_with(documented, documented_run, given):
    done = predict(documented, documented_run, "--classes", *given)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert list(rows[0]) == ["path", "seconds", "prediction", "score", "dog", "rooster"]
    assert {row["prediction"] for row in rows} <= {"dog", "rooster", "none of these"}
    assert float(rows[0]["dog"]) + float(rows[0]["rooster"]) < 0.999
    closed = predict(documented, documented_run, "--closed_set", "--classes", *given)
    row = next(csv.DictReader(closed.stdout.splitlines()))
    assert float(row["dog"]) + float(row["rooster"]) == pytest.approx(1, abs=1e-5)


def test_thresholds_from_a_file_take_the_place_of_the_model_s(documented, documented_run, tmp_path):
    info = Classifier.load(documented_run).info
    for threshold, label in ((0.0, info.classes), (1.0, ("none of these",))):
        calibration = Calibration(1.0, (threshold,) * 3)
        write_calibration(tmp_path / "room.json", calibration, info.identity, classes=info.classes)
        done = predict(documented, documented_run, "--calibration", tmp_path / "room.json")
        assert done.returncode == 0, done.stderr
        rows = csv.DictReader(done.stdout.splitlines())
        assert {row["prediction"] for row in rows} <= set(label)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--classes", "dgo"), "the model has no class 'dgo'; did you mean 'dog'?"),
        (("--classes", ","), "classes must name at least one class"),
        (("--closed_set",), "--closed_set needs --classes"),
        (("--calibration", "gone.json"), "gone.json: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_line(documented, documented_run, words, said):
    assert_one_line(predict(documented, documented_run, *words), said)


def test_stream_takes_them_too(documented, documented_run):
    words = ("stream", "--model", documented_run, "--file", "sounds/b.wav", "--format", "jsonl")
    more = ("--threshold", "0.05", "--smoothing_seconds", "0", "--classes", "dog")
    done = call_here("earmark", *words, *more, cwd=documented)
    assert done.returncode == 0, done.stderr
    labels = {json.loads(line)["label"] for line in done.stdout.splitlines()}
    assert labels == {"dog"}
