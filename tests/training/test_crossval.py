"""Cross-validation: every fold and seed once, going on after a kill, stopping at a fault."""

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import accelerate
import numpy as np
import pytest

from earmark.config.recipes import Recipe
from earmark.data.dataset import FeatureDataset
from earmark.data.extract import FeatureClip
from earmark.data.readers import Clip
from earmark.errors import DatasetError, RunError
from earmark.evaluation.crossval_report import (
    headline,
    markdown,
    refuse_results_of_other_data,
    summarise,
    write_summary,
)
from earmark.model_directory import load_model
from earmark.training import crossval as crossval_module
from earmark.training.crossval import (
    cross_validate,
    leave_classes_out,
    refuse_unvalidated,
    select_left_out,
)
from earmark.training.crossval_record import open_runs
from earmark.training.run import train_model
from tests.builders import CLASSES, FRONT_END, clip_set, small_recipe

RECIPE = Recipe("small", FRONT_END, small_recipe(num_epochs=2, negatives_probability=0.2))


REFIT = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, refit=True))


@pytest.fixture(scope="module")
def dataset():
    """27 clips of three classes in three folds."""
    clips = clip_set(9, 0)
    items, folds = [], []
    for number, label in enumerate(clips.labels):
        clip = Clip(Path("d") / f"{number}.wav", CLASSES[label], str(number))
        items.append(FeatureClip(clip, clips.clip(number), 0.5, str(number)))
        folds.append(str(number % 3 + 1))
    groups = [item.clip.group for item in items]
    return FeatureDataset("d", False, CLASSES, items, groups, folds, [], FRONT_END, "f" * 64)


def cross(dataset, folder, seeds=(0, 1), recipe=RECIPE, **options):
    lines: list[str] = []
    open_runs(folder, dataset, recipe)
    accelerator = accelerate.Accelerator(cpu=True)
    rows = cross_validate(dataset, recipe, seeds, folder, accelerator, lines.append, **options)
    return rows, lines


class Finished(NamedTuple):
    """A cross-validation of two seeds, which tests read; they change copies."""

    folder: Path
    lines: list[str]
    results: list[dict[str, Any]]

    @property
    def rows(self):
        return copy.deepcopy(self.results)

    def copied(self, folder):
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return folder


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    rows, lines = cross(dataset, folder)
    return Finished(folder, lines, rows)


@pytest.fixture(scope="module")
def refitted(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refitted")
    rows, lines = cross(dataset, folder, recipe=REFIT)
    return Finished(folder, lines, rows)


def runs_of(folder):
    return sorted(folder.glob("fold-*/results.json"))


def test_every_fold_is_tested_once_for_every_seed(dataset, finished):
    rows = finished.rows
    where = [(row["training"]["seed"], row["test_fold"]) for row in rows]
    assert where == [(seed, fold) for seed in (0, 1) for fold in "123"]
    assert len(finished.lines) == 6
    for seed in (0, 1):
        tested = [c["path"] for r in rows if r["training"]["seed"] == seed for c in r["clips"]]
        assert sorted(tested) == sorted(str(item.clip.path) for item in dataset.clips)


def test_the_same_call_goes_on_after_a_kill_and_ends_alike(
    dataset, finished, tmp_path, monkeypatch
):
    whole = finished.rows[:3]
    calls: list[int] = []

    def counted(*args, **options):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(0)
        return train_model(*args, **options)

    monkeypatch.setattr(crossval_module, "train_model", counted)
    with pytest.raises(KeyboardInterrupt):
        cross(dataset, tmp_path / "cut", seeds=(0,))
    calls[:] = [0, 0]
    again, _ = cross(dataset, tmp_path / "cut", seeds=(0,))
    assert len(calls) == 4  # the first fold was not trained again
    for one, other in zip(whole, again, strict=True):
        assert [c["scores"] for c in one["clips"]] == [c["scores"] for c in other["clips"]]


def test_with_a_refit_clips_are_held_out_once_for_each_fold(refitted):
    held_out = sorted(path.parent.name for path in refitted.folder.glob("*/validated"))
    assert held_out == ["fold-1-seed-0", "fold-2-seed-0", "fold-3-seed-0"]
    calibrations = [load_model(path.parent).calibration for path in runs_of(refitted.folder)]
    assert calibrations[0::2] == calibrations[1::2]  # of a fold's two seeds
    assert len(refitted.rows) == 6


def test_all_models_of_a_fold_teach_it(dataset, finished, tmp_path, monkeypatch):
    taught = dataclasses.replace(RECIPE.training, teacher=0.5)
    lessons = []

    def counted(*args, **options):
        lessons.append([path.name for path in options["teachers"]])
        return train_model(*args, **options)

    monkeypatch.setattr(crossval_module, "train_model", counted)
    recipe = dataclasses.replace(RECIPE, training=taught)
    cross(dataset, tmp_path / "second", (0,), recipe, teachers=finished.folder)
    assert lessons == [[f"fold-{n}-seed-0", f"fold-{n}-seed-1"] for n in (1, 2, 3)]
    cross(dataset, tmp_path / "second", (0,), recipe, teachers=tmp_path / "gone")  # all finished


def test_a_fold_without_a_teacher_is_found_before_the_first(dataset, finished, tmp_path):
    finished.copied(tmp_path / "first")
    recipe = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, teacher=0.5))
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "first" / f"fold-3-seed-{seed}")
    with pytest.raises(RunError, match="holds no finished run of fold 3"):
        cross(dataset, tmp_path / "second", (0,), recipe, teachers=tmp_path / "first")
    assert not list((tmp_path / "second").glob("*/*"))


def test_a_seed_whose_teachers_know_all_clips_is_found_before_the_first_fold(
    dataset, refitted, tmp_path
):
    recipe = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, teacher=0.5))
    with pytest.raises(RunError, match="fold 1, seed 1: no teacher held out the same clips"):
        cross(dataset, tmp_path / "second", (0, 1), recipe, teachers=refitted.folder)
    assert not list((tmp_path / "second").glob("*/*"))


def test_a_failed_fold_stops_the_whole_with_its_name_and_reason(dataset, tmp_path):
    recipe = dataclasses.replace(
        RECIPE, training=dataclasses.replace(RECIPE.training, batch_size=1000)
    )
    with pytest.raises(RunError, match="fold 1, seed 0: batch_size 1000 is more than"):
        cross(dataset, tmp_path / "runs", recipe=recipe)


def begin(folder):
    (folder / "fold-1-seed-0").mkdir()
    (folder / "fold-1-seed-0" / "history.csv").touch()


@pytest.mark.parametrize("change", ["recipe", "data"])
def test_runs_of_another_kind_are_refused(dataset, tmp_path, change):
    open_runs(tmp_path, dataset, RECIPE)
    begin(tmp_path)
    open_runs(tmp_path, dataset, RECIPE)
    recipe = RECIPE
    if change == "recipe":
        recipe = dataclasses.replace(RECIPE, training=small_recipe(num_epochs=3))
    else:
        dataset = dataclasses.replace(dataset, fingerprint="0" * 64)
    changed = r"(num_epochs and negatives_probability|fingerprint)"
    with pytest.raises(RunError, match=f"another {changed}; use another --runs"):
        open_runs(tmp_path, dataset, recipe)


def test_runs_that_nothing_describes_are_refused(dataset, tmp_path):
    begin(tmp_path)
    with pytest.raises(RunError, match=r"holds fold-1-seed-0, but no crossval\.json"):
        open_runs(tmp_path, dataset, RECIPE)


def test_runs_with_other_teachers_or_another_precision_are_refused(dataset, tmp_path):
    open_runs(tmp_path / "plain", dataset, RECIPE)
    begin(tmp_path / "plain")
    with pytest.raises(RunError, match="another precision; use another --runs"):
        open_runs(tmp_path / "plain", dataset, RECIPE, precision="bf16")
    open_runs(tmp_path / "taught", dataset, RECIPE, teachers=tmp_path / "b")
    open_runs(tmp_path / "taught", dataset, RECIPE, teachers=tmp_path / "a")  # none was begun
    begin(tmp_path / "taught")
    for teachers in (None, tmp_path / "b"):
        with pytest.raises(RunError, match="another teachers; use another --runs"):
            open_runs(tmp_path / "taught", dataset, RECIPE, teachers=teachers)


def test_a_class_that_cannot_be_validated_is_found_before_the_first_fold(dataset):
    refuse_unvalidated(dataset)
    folds = list(dataset.folds)
    rain = [place for place, item in enumerate(dataset.clips) if item.clip.label == "rain"]
    for place in rain[1:]:
        folds[place] = "3"
    with pytest.raises(DatasetError, match="d: class 'rain' has a single source recording outside"):
        refuse_unvalidated(dataclasses.replace(dataset, folds=folds))


def test_classes_that_fill_a_fold_cannot_be_left_out(dataset):
    folds = ["3" if item.clip.label == CLASSES[0] else "1" for item in dataset.clips]
    folds[-1] = "2"
    alone = dataclasses.replace(dataset, folds=folds)
    with pytest.raises(DatasetError, match=f"leaving out {CLASSES[0]} leaves no clip in fold 3"):
        select_left_out(alone)


def test_a_kill_after_the_result_leaves_no_checkpoint_for_ever(dataset, finished, tmp_path):
    finished.copied(tmp_path)
    run = tmp_path / "fold-1-seed-0"
    (run / "resume").mkdir()
    (run / "resume" / "state.safetensors").write_bytes(b"left by a kill")
    cross(dataset, tmp_path, seeds=(0,))
    assert not (run / "resume").exists()


def test_left_out_classes_are_not_trained_on_and_each_is_left_out_once(dataset, tmp_path):
    accelerator = accelerate.Accelerator(cpu=True)
    rows = leave_classes_out(dataset, RECIPE, tmp_path, accelerator, lambda _: None)
    assert sorted(name for row in rows for name in row["left_out"]) == sorted(CLASSES)
    for index, row in enumerate(rows):
        assert (row["known_clips"], row["unknown_clips"]) == (6, 9)
        assert 0 <= row["auroc"] <= 1
        manifest = json.loads((tmp_path / f"without-{index}" / "model.json").read_text())
        assert set(manifest["classes"]) == set(CLASSES) - set(row["left_out"])
    two = dataclasses.replace(dataset.without(["rain"])[0])
    with pytest.raises(DatasetError, match="fewer than two classes"):
        leave_classes_out(two, RECIPE, tmp_path / "two", accelerator, lambda _: None)


def test_the_summary_says_what_the_runs_hold(finished, tmp_path):
    rows = finished.rows
    unknown = [
        {
            **{"left_out": ["dog"], "auroc": 0.9, "known_accepted": 0.8, "unknown_accepted": 0.1},
            **{"accuracy": 0.7, "test_fold": "1"},
        }
    ]
    summary = summarise(rows, unknown, name="small", command="earmark crossval d")
    assert np.sum(summary["confusion_matrix"]) == 2 * 27
    by_seed = np.mean(summary["accuracy_by_seed_and_fold"], axis=1)
    assert summary["accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in rows]))
    assert summary["spread_over_seeds"] == pytest.approx(np.std(by_seed, ddof=1))
    text = markdown(summary, "small", "How.")
    assert headline(summary) in text
    assert "| dog | 0.900 | 80.0 | 10.0 | 70.0 |" in text
    assert "earmark crossval d" in text
    paths = write_summary(tmp_path / "out", "small", summary, "How.")
    assert all(path.stat().st_size > 500 for path in paths)
    assert json.loads(paths[0].read_text())["folds"] == ["1", "2", "3"]


def test_the_first_run_of_a_fold_is_counted_once(refitted):
    rows = refitted.rows
    first = [row["training"]["validated"]["seconds"] for row in rows[:3]]
    for row, own, held_out in zip(rows, (10.0, 20.0) * 3, first * 2, strict=True):
        row["training"] |= {"seconds": own}
        assert row["training"]["validated"]["seconds"] == held_out
    summary = summarise(rows, [], name="small", command="")
    assert summary["seconds_per_run"] == 15
    assert summary["seconds_per_first_run"] == pytest.approx(np.mean(first))
    runs = [run["seconds"] for run in summary["runs"]]
    assert runs == pytest.approx([10 + first[0], 20 + first[1], 10 + first[2], 20, 10, 20])
    assert "15 s of training a run, and " in markdown(summary, "s", "")


def test_coverage_counts_clips_and_accuracy_is_unknown_where_none_is_accepted(finished):
    rows = finished.rows[:3]
    shares = zip((0.0, 0.5, 1.0), (None, 1.0, 0.5), rows, strict=True)
    for named, right, row in shares:
        row["none_of_these"] |= {"coverage": named, "accuracy_of_accepted": right}
    summary = summarise(rows, [], name="small", command="")
    assert summary["none_of_these"]["coverage"] == pytest.approx(0.5)
    assert summary["none_of_these"]["accuracy_of_accepted"] == pytest.approx(2 / 3)
    assert "50.0 % of the clips are accepted, of which 66.7 % rightly" in markdown(summary, "s", "")
    for row in rows:
        row["none_of_these"] |= {"coverage": 0.0, "accuracy_of_accepted": None}
    summary = summarise(rows, [], name="small", command="")
    assert summary["none_of_these"]["accuracy_of_accepted"] is None
    assert "0.0 % of the clips are accepted; the others" in markdown(summary, "s", "")


def test_figures_of_other_data_are_not_replaced(tmp_path):
    path = tmp_path / "fast.json"
    refuse_results_of_other_data(path, "f" * 64)
    path.write_text(json.dumps({"dataset": "ESC-10", "fingerprint": "f" * 64}))
    refuse_results_of_other_data(path, "f" * 64)
    with pytest.raises(RunError, match=r"fast\.json: holds the figures of ESC-10.*use another"):
        refuse_results_of_other_data(path, "0" * 64)
    for content in ("[]", '{"rows": []}', "torn"):  # whatever else it is, it is someone's
        path.write_text(content)
        with pytest.raises(RunError, match="holds the figures of something else"):
            refuse_results_of_other_data(path, "f" * 64)


def test_runs_are_not_mixed_with_those_of_other_source_recordings(dataset, finished, tmp_path):
    finished.copied(tmp_path)
    renamed = dataclasses.replace(dataset, groups=[f"take {group}" for group in dataset.groups])
    open_runs(tmp_path, renamed, RECIPE)  # the same division under other names
    paired = dataclasses.replace(dataset, groups=[str(n // 2) for n in range(len(dataset.groups))])
    with pytest.raises(RunError, match="another groups"):
        open_runs(tmp_path, paired, RECIPE)
    record = json.loads((tmp_path / "crossval.json").read_text())
    del record["groups"]  # as earlier versions wrote it
    (tmp_path / "crossval.json").write_text(json.dumps(record))
    open_runs(tmp_path, dataset, RECIPE)


def test_models_without_classes_are_trained_with_seed_0_whatever_the_recipe_says(dataset, tmp_path):
    other = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, seed=7))
    accelerator = accelerate.Accelerator(cpu=True)
    open_runs(tmp_path, dataset, other)
    leave_classes_out(dataset, other, tmp_path, accelerator, print)
    assert {load_model(run).training["seed"] for run in tmp_path.glob("without-*")} == {0}


def test_a_cross_validation_of_an_earlier_version_is_gone_on_with(dataset, tmp_path, monkeypatch):
    """Everything in `kept/crossval` is finished, so nothing is trained."""

    def refuse(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(crossval_module, "train_model", refuse)
    folder = tmp_path / "runs"
    shutil.copytree(Path(__file__).parents[1] / "kept" / "crossval", folder)
    rows, _ = cross(dataset, folder, (0,))
    unknown = leave_classes_out(
        dataset, RECIPE, folder, accelerate.Accelerator(cpu=True), lambda _: None
    )
    assert rows[0]["none_of_these"]["negatives"] == 120
    assert rows[0]["training"]["recipe"]["ema_decay"] == 0.9
    summary = summarise(rows, unknown, name="small", command="")
    assert summary["accuracy"] == pytest.approx(1 / 3)
    assert summary["recorded_negatives"] is None
    assert "| dog | 0.389 | 16.7 | 0.0 | 50.0 |" in markdown(summary, "s", "")
    assert write_summary(tmp_path / "out", "s", summary, "")[2].stat().st_size > 500
    other = dataclasses.replace(RECIPE, training=small_recipe(num_epochs=3))
    with pytest.raises(RunError, match="another num_epochs"):
        open_runs(folder, dataset, other)


def test_clips_of_no_class_are_cross_validated_as_themselves(dataset, tmp_path):
    rain = [item.clip.label == "rain" for item in dataset.clips]
    clips = [
        dataclasses.replace(item, clip=dataclasses.replace(item.clip, label=None)) if wet else item
        for item, wet in zip(dataset.clips, rain, strict=True)
    ]
    mixed = dataclasses.replace(dataset, clips=clips, classes=("dog", "rooster"))
    refuse_unvalidated(mixed)
    rows, _ = cross(mixed, tmp_path / "runs", (0,))
    assert [row["test_negatives"] for row in rows] == [3, 3, 3]
    summary = summarise(rows, [], name="small", command="")
    assert np.sum(summary["confusion_matrix"]) == 18
    assert np.sum(summary["none_of_these"]["confusion_matrix"], axis=1).tolist() == [9, 9, 9]
    assert summary["recorded_negatives"]["clips"] == 9
    assert all(clip["label"] in CLASSES for run in summary["runs"] for clip in run["wrong"])
    assert "Of the recorded clips of no class" in markdown(summary, "s", "")
    trained = load_model(tmp_path / "runs" / "fold-1-seed-0")
    assert trained.classes == ("dog", "rooster")
    assert trained.data["training_negatives"] + trained.data["validation_negatives"] == 6
