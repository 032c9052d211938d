"""A cross-validation goes to another machine in one file, and its models come back as its runs."""

import dataclasses
from pathlib import Path

import accelerate
import numpy as np
import pytest
from tools.crossval_pack import STEP, measure_models, read_pack, write_pack, write_runs
from tools.crossval_stacked import save
from tools.stacked_training import Stack, make_plan

from earmark.config.recipes import Recipe
from earmark.data.dataset import FeatureDataset
from earmark.data.extract import FeatureClip
from earmark.data.readers import Clip
from earmark.model_directory import load_model
from earmark.training.crossval import cross_validate
from earmark.training.stopping import Progress
from tests.builders import CLASSES, FRONT_END, clip_set
from tests.tools.test_stacked import EPOCHS, recipe

RECIPE = Recipe("small", FRONT_END, dataclasses.replace(recipe(), refit=True))


@pytest.fixture(scope="module")
def dataset():
    """36 clips of three classes in two folds."""
    clips, items = clip_set(12, 0), []
    for number, label in enumerate(clips.labels):
        clip = Clip(Path("d") / f"{number}.wav", CLASSES[label], str(number))
        items.append(FeatureClip(clip, clips.clip(number), 0.5, str(number)))
    folds, groups = [str(n % 2 + 1) for n in range(36)], [str(n) for n in range(36)]
    return FeatureDataset("d", False, CLASSES, items, groups, folds, [], FRONT_END, "f" * 64)


@pytest.fixture(scope="module")
def pack(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "p.pack"
    write_pack(path, dataset, RECIPE, 2)
    return path


def test_a_pack_holds_the_frames_to_half_a_step_and_no_test_clip(dataset, pack):
    bank, runs, settings, front_end = read_pack(pack)
    assert (settings, front_end) == (RECIPE.training, FRONT_END)
    frames = dataset.whole().train.together()
    assert np.abs(bank.features.numpy() - frames).max() <= STEP / 2 + 1e-4
    assert [(run.fold, run.seed, len(run.validation) > 0) for run in runs] == [
        *((0, 0, True), (1, 0, True), (0, 0, False), (1, 0, False), (0, 1, False), (1, 1, False))
    ]
    for run in runs:
        assert all(dataset.folds[clip] != dataset.fold_names[run.fold] for clip in run.clips)
        assert not set(run.clips) & set(run.validation)


def test_models_come_back_as_runs_that_are_only_calibrated_and_tested(dataset, pack, tmp_path):
    bank, runs, settings, front_end = read_pack(pack)
    stack = Stack(bank, runs, make_plan(bank, runs[0], settings, front_end))
    models = [stack.build_model(bank.classes, run) for run in runs]
    row = {"train_loss": 1.0, "train_accuracy": 0.5, "learning_rate": 0.1, "seconds": 0.0}
    progress = [Progress() for _ in runs]
    for known, run in zip(progress, runs, strict=True):
        measured = 1.0 if len(run.validation) else None
        for epoch in range(1, EPOCHS + 1):
            scores = {"validation_loss": measured, "validation_accuracy": measured}
            known.add({"epoch": epoch, **row, **scores})
    save(tmp_path / "trained", stack, models, progress, {})
    write_runs(tmp_path / "runs", dataset, RECIPE, tmp_path / "trained")
    device = accelerate.Accelerator(cpu=True)
    found = cross_validate(dataset, RECIPE, [0], tmp_path / "runs", device, lambda _: None)
    alone = measure_models(dataset, RECIPE, tmp_path / "trained")
    assert [row["accuracy"] for row in found] == pytest.approx([part for _, part in alone[:2]])
    kept = load_model(tmp_path / "runs" / "fold-2-seed-0").model.state_dict()
    for name, tensor in models[3].state_dict().items():
        assert np.array_equal(kept[name], tensor), name  # nothing was trained here
