"""`earmark evaluate` and `lstm_inference.py`: a split's results, one file's scores."""

import json
import os
from pathlib import Path

import pytest

from earmark.data.splits import write_split
from tests.builders import small_split
from tests.processes import assert_one_line, call_here

SCRIPT = "lstm_inference.py"


@pytest.mark.parametrize("program", [("earmark", "evaluate"), (SCRIPT,)], ids=str)
def test_a_split_is_evaluated(documented, documented_run, tmp_path, program):
    out = tmp_path / "r.json"
    words = ("--model_dir", documented_run, "--output_file", out)
    done = call_here(*program, *words, cwd=documented)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    trained = json.loads((documented_run / "results.json").read_text(encoding="utf-8"))
    assert results["accuracy"] == trained["accuracy"]
    assert results["split_index"] == 0
    assert (tmp_path / "r-confusion.png").is_file()


def test_another_split_is_said_to_be_no_test(documented, documented_run):
    words = ("--model_dir", documented_run, "--split_index", 3)
    done = call_here(SCRIPT, *words, cwd=documented)
    assert done.returncode == 0
    assert "Not a test" in done.stdout


def test_one_file_is_predicted(documented, documented_run, tmp_path):
    out = tmp_path / "p.json"
    words = ("--model_dir", documented_run, "--audio_file", "sounds/b.wav", "--output_file", out)
    done = call_here(SCRIPT, *words, "--cuda", cwd=documented)
    assert done.returncode == 0, done.stderr
    assert "going on with the CPU" in done.stderr
    prediction = json.loads(out.read_text(encoding="utf-8"))
    assert prediction["prediction"] in done.stdout.splitlines()[0]
    assert set(prediction["scores"]) == {"dog", "rain", "rooster"}
    assert prediction["seconds"] == 1.0
    assert prediction["model"]["trained_on"] == "three sounds"


def test_a_model_is_restricted_to_some_classes(documented, documented_run, tmp_path):
    out = tmp_path / "r.json"
    words = ("--model_dir", documented_run, "--classes", "dog,Rooster")
    done = call_here("earmark", "evaluate", *words, "--output_file", out, cwd=documented)
    assert done.returncode == 0, done.stderr
    assert "restricted to these of 3 classes (open set)" in done.stdout
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["classes"] == ["dog", "rooster"]
    assert results["recorded_negatives"]["clips"] == results["test_negatives"] > 0
    clip = ("--audio_file", "sounds/b.wav", "--output_file", out)
    done = call_here("earmark", "evaluate", *words, "--closed_set", *clip, cwd=documented)
    assert done.returncode == 0, done.stderr
    scores = json.loads(out.read_text(encoding="utf-8"))["scores"]
    assert set(scores) == {"dog", "rooster"}
    assert sum(scores.values()) == pytest.approx(1, abs=1e-4)


def test_a_model_that_does_not_fit_the_split_is_said(documented_run, tmp_path):
    write_split(tmp_path, small_split(classes=("cat", "rain", "rooster")))
    words = ("--model_dir", documented_run, "--splits_dir", tmp_path)
    assert_one_line(call_here(SCRIPT, *words, cwd=tmp_path), "cat", "dog")


def test_a_folder_without_permission_is_said(documented, documented_run, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):  # root may write anywhere but into the kernel's own folders
        locked = Path("/sys")
        if not locked.is_dir():
            pytest.skip("no folder here is closed to this user")
    words = ("--model_dir", documented_run, "--output_file", locked / "r.json")
    done = call_here(SCRIPT, *words, cwd=documented)
    assert_one_line(done, locked / "r.json", "permission denied")


def test_wrong_flags_are_one_line(documented_run, tmp_path):
    words = ("--model_dir", documented_run)
    for flags, message in (
        (["--closed_set"], "--closed_set needs --classes"),
        (["--batch_size", 0], "batch_size must be at least 1"),
        (["--split_index", 0], "earmark prepare"),
        (["--audio_file", "none.wav"], "none.wav: no such file"),
    ):
        assert_one_line(call_here(SCRIPT, *words, *flags, cwd=tmp_path), message)
    assert_one_line(call_here(SCRIPT, cwd=tmp_path), "--model_dir")
