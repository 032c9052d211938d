"""`earmark crossval`: tables for people and machines, going on after a stop, every refusal."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.builders import write_sounds
from tests.processes import assert_one_line, call_here, stopped_after


def crossval(own, *words, cwd):
    recipe = ("--recipe", own / "small.toml", "--num_epochs", 1)
    return call_here("earmark", "crossval", *words, *recipe, cwd=cwd)


def test_a_table_for_people_and_machines_is_written(own_crossval):
    summary = json.loads((own_crossval / "results" / "small.json").read_text())
    assert summary["folds"] == ["1", "2", "3"]
    assert summary["seeds"] == [0, 1]
    assert summary["accuracy"] > 0.8
    assert np.sum(summary["confusion_matrix"]) == 60
    assert len(summary["left_out"]) == 3
    assert summary["baselines"]["largest_class"]["accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert summary["baselines"]["mfcc_svm"]["accuracy"] > 0.8
    text = (own_crossval / "results" / "small.md").read_text()
    assert "earmark crossval " in text
    assert "small.toml --folds 3" in text
    assert (own_crossval / "results" / "small-confusion.png").is_file()
    said = (own_crossval / "said.txt").read_text()
    assert "d: 30 clips, 3 classes, 3 folds, 2 seed(s); runs in runs" in said.replace("sounds", "d")
    assert "without high: AUROC" in said
    assert "For comparison, on the same clips: the largest class" in said
    assert "MFCC statistics with an SVM" in text


def test_the_same_command_trains_nothing_again(own, own_crossval, tmp_path):
    shutil.copytree(own_crossval / "runs", tmp_path / "runs")
    models = list((tmp_path / "runs").glob("*/model.json"))
    written = [model.stat().st_mtime_ns for model in models]
    words = ("crossval", own / "sounds", "--recipe", own / "small.toml", "--num_epochs", 6)
    more = ("--folds", 3, "--seeds", 2, "--runs", "runs", "--out", "results", "--name", "again")
    done = call_here("earmark", *words, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results" / "again.json").read_text())["left_out"] == []
    assert len(models) == 9  # those without a class too
    assert [model.stat().st_mtime_ns for model in models] == written


def test_one_changed_setting_has_a_name_of_its_own(own, tmp_path):
    places = ("--folds", 2, "--out", "changed", "--runs", "changed/runs")
    done = crossval(own, own / "sounds", *places, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "changed" / "small+num_epochs=1.md").is_file()
    words = ("crossval", own / "sounds", "--recipe", own / "small.toml", *places)
    done = call_here("earmark", *words, cwd=tmp_path)
    assert_one_line(done, "another num_epochs", "--runs")


def test_an_interrupted_one_goes_on(own, tmp_path):
    words = (own / "sounds", "--folds", 2, "--out", "out", "--runs", "runs")
    with stopped_after("results.json"):
        done = crossval(own, *words, cwd=tmp_path)
    assert done.returncode == 130
    assert "the same command goes on from here" in done.stderr
    first = tmp_path / "runs" / "fold-1-seed-0" / "results.json"
    written = first.stat().st_mtime_ns
    assert not list(tmp_path.glob("runs/fold-2-seed-0/*"))
    done = crossval(own, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == written
    assert (tmp_path / "runs" / "fold-2-seed-0" / "results.json").is_file()


def test_one_seed_is_not_taken_for_a_number_of_seeds(tmp_path):
    done = call_here("earmark", "crossval", "sounds", "--seed", 3, cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments: --seed 3" in done.stderr


WRONG = {
    "no seeds": (["--seeds", "0"], "--seeds must be at least 1"),
    "unknown recipe": (["--recipe", "casual"], "there are causal"),
    "a teacher of all classes": (
        ["--leave_out", "--teacher", "0.5"],
        "use --teacher 0 with --leave_out",
    ),
    "no such data": ([], "sounds: no such dataset"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_flags_are_one_line_and_write_nothing(tmp_path, fault):
    flags, message = WRONG[fault]
    assert_one_line(call_here("earmark", "crossval", "sounds", *flags, cwd=tmp_path), message)
    assert list(tmp_path.iterdir()) == []


def test_clips_from_50_ms_to_minutes_train_together(own, tmp_path):
    write_sounds(tmp_path / "sounds", clips=4)
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "sounds/low/short.wav", 0.1 * rng.standard_normal(400), 8_000)
    long = 0.1 * rng.standard_normal(8_000 * 150)
    soundfile.write(tmp_path / "sounds/low/long.wav", long, 8_000)
    done = crossval(own, "sounds", "--folds", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
