"""A whole training: refit, going on after a kill at any point, starting from another model."""

import dataclasses

import accelerate
import pytest
import torch

from earmark.errors import RunError
from earmark.model_directory import load_model
from earmark.training import run as run_module
from earmark.training.checkpoint import has_checkpoint
from earmark.training.loop import Trainer
from earmark.training.recorder import Recorder
from earmark.training.run import (
    VALIDATED,
    read_resumable,
    remove_checkpoints,
    score_test_part,
    train_model,
)
from tests.builders import small_recipe, small_split

REFIT = small_recipe(refit=True, num_epochs=4, negatives_probability=0.2)


def train(folder, settings=REFIT, split=None, **options):
    return train_model(
        split or small_split(),
        settings,
        accelerate.Accelerator(cpu=True),
        folder,
        show_progress=False,
        **options,
    )


def head_weight(trained):
    return trained.model.state_dict()["head.1.weight"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of `REFIT`, which tests read."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return folder


def test_a_refit_trains_on_all_clips_with_the_calibration_of_the_validated_run(tmp_path):
    trained = train(tmp_path)
    validated = load_model(tmp_path / VALIDATED)
    assert validated.data["validation_clips"] > 0
    assert trained.data["validation_clips"] == 0
    assert trained.data["training_clips"] == len(small_split().train)
    assert trained.training["epoch"] == REFIT.num_epochs
    assert trained.calibration == validated.calibration == load_model(tmp_path).calibration
    assert len(trained.calibration.thresholds) == 3
    assert trained.training["validated"]["epoch"] == validated.training["epoch"]
    assert trained.training["validated"]["seconds"] > 0


@pytest.mark.parametrize("deadly", [1, 4, 5, 8])
def test_a_kill_after_any_epoch_of_either_run_changes_no_weight(
    finished, tmp_path, deadly, monkeypatch
):
    whole = load_model(finished)
    record, epochs = Recorder.write_epoch, []

    def die(self, *written):
        record(self, *written)
        epochs.append(self.folder)
        if len(epochs) == deadly:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "write_epoch", die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut")
    monkeypatch.setattr(Recorder, "write_epoch", record)
    settings, _ = read_resumable(tmp_path / "cut")
    assert settings == REFIT
    again = train(tmp_path / "cut", settings)
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], tensor, atol=0, rtol=0)
    assert again.calibration == whole.calibration


def test_a_kill_between_the_two_runs_can_be_resumed(tmp_path, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    release = Trainer.release
    monkeypatch.setattr(Trainer, "release", die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    monkeypatch.setattr(Trainer, "release", release)
    assert not has_checkpoint(tmp_path)
    assert read_resumable(tmp_path)[0] == REFIT
    monkeypatch.setattr(run_module, "read_checkpoint", die)  # the validated run is not begun again
    assert train(tmp_path).training["epochs"] == REFIT.num_epochs
    monkeypatch.undo()
    remove_checkpoints(tmp_path)
    assert not has_checkpoint(tmp_path)
    assert not has_checkpoint(tmp_path / VALIDATED)
    with pytest.raises(RunError, match="no checkpoint"):
        read_resumable(tmp_path)


def test_the_first_of_two_runs_is_not_resumed_without_the_second(tmp_path, monkeypatch):
    record = Recorder.write_epoch

    def die(self, *written):
        record(self, *written)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "write_epoch", die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    with pytest.raises(RunError, match=f"--resume {tmp_path}$"):
        read_resumable(tmp_path / VALIDATED)
    assert read_resumable(tmp_path)[0] == REFIT


def test_a_run_on_all_clips_takes_the_calibration_of_a_run_on_a_fold_of_them(finished, tmp_path):
    """As the bundled model does."""
    first = load_model(finished)
    split = small_split()
    whole = dataclasses.replace(split, index=-1, test=split.test.select(split.test.labels < 0))
    trained = train(tmp_path / "all", split=whole, validated=finished / VALIDATED)
    assert trained.data["split_index"] == -1
    assert trained.calibration == first.calibration
    other = dataclasses.replace(whole, fingerprint="0" * 64)
    with pytest.raises(RunError, match="other data"):
        train(tmp_path / "other", split=other, validated=finished / VALIDATED)


def test_the_test_part_is_scored_with_calibration_and_rejection(finished):
    results = score_test_part(finished, small_split())
    assert results["calibration"]["temperature"] > 0
    assert 0 <= results["none_of_these"]["negatives_accepted"] <= 1
    assert results["accuracy"] > 0.5


def test_a_model_to_start_from_gives_all_but_the_last_layer(tmp_path):
    first = train(tmp_path / "first", small_recipe(num_epochs=1))
    run = Trainer(small_split(), small_recipe(), accelerate.Accelerator(cpu=True), start=first)
    mine, theirs = run.model.state_dict(), first.model.state_dict()
    for name, tensor in theirs.items():
        assert torch.equal(mine[name], tensor) == (not name.startswith("head.4.")), name
    other = small_recipe(hidden_size=9)
    with pytest.raises(RunError, match="another shape"):
        Trainer(small_split(), other, accelerate.Accelerator(cpu=True), start=first)


def test_convolutions_train_and_their_statistics_are_averaged(tmp_path):
    recipe = small_recipe(convolutions=((4, 3, 3, 2, 2), (6, 3, 3, 1, 2)), stack=1, delta=0)
    trained = train(tmp_path, recipe)
    norm = trained.model.encoder.convolutions[0].norm
    assert not torch.equal(norm.running_mean, torch.zeros(4))
    assert score_test_part(tmp_path, small_split())["accuracy"] > 0.5


def test_a_balanced_recipe_trains(tmp_path):
    assert train(tmp_path, dataclasses.replace(REFIT, refit=False, balance=1.0)).calibration


def test_a_teacher_of_the_same_split_has_its_part_in_the_target(finished, tmp_path):
    recipe = dataclasses.replace(REFIT, teacher=0.7)
    taught = train(tmp_path / "taught", recipe, teachers=[finished])
    alone = load_model(finished)
    assert not torch.equal(head_weight(taught), head_weight(alone))
    assert score_test_part(tmp_path / "taught", small_split())["accuracy"] > 0.5


def test_the_teacher_of_a_run_with_clips_held_out_was_not_trained_on_them(
    finished, tmp_path, monkeypatch
):
    loaded = []

    def counted(path):
        loaded.append(path)
        return load_model(path)

    monkeypatch.setattr(run_module, "load_model", counted)
    recipe = dataclasses.replace(REFIT, teacher=0.7)
    train(tmp_path / "taught", recipe, teachers=[finished])
    assert loaded == [finished / VALIDATED, finished]


def test_several_teachers_teach_but_not_where_they_know_what_is_held_out(
    finished, tmp_path, monkeypatch
):
    teachers = [finished, tmp_path / "1"]
    train(teachers[1], dataclasses.replace(REFIT, seed=1))
    lessons = []
    start = Trainer.__init__

    def counted(self, *args, **options):
        lessons.append([teacher.training["seed"] for teacher in options["teachers"]])
        start(self, *args, **options)

    monkeypatch.setattr(Trainer, "__init__", counted)
    recipe = dataclasses.replace(REFIT, teacher=0.7, seed=1)
    train(tmp_path / "taught", recipe, teachers=teachers)
    assert lessons == [[1], [0, 1]]
    with pytest.raises(RunError, match=r"no teacher held out the same clips.*--seed 2"):
        train(tmp_path / "x", dataclasses.replace(recipe, seed=2), teachers=teachers)


def test_the_calibration_may_come_from_a_run_of_another_seed(finished, tmp_path):
    first = load_model(finished)
    other = dataclasses.replace(REFIT, seed=1)
    second = train(tmp_path / "1", other, validated=finished / VALIDATED)
    assert not (tmp_path / "1" / VALIDATED).exists()
    assert second.calibration == first.calibration
    assert not torch.equal(head_weight(first), head_weight(second))
    with pytest.raises(RunError, match="no finished run"):
        train(tmp_path / "2", other, validated=tmp_path / "nothing")


def test_a_teacher_that_may_know_the_test_part_is_refused(finished, tmp_path):
    recipe = dataclasses.replace(REFIT, teacher=0.7)
    with pytest.raises(RunError, match="another split"):
        train(tmp_path / "x", recipe, small_split(index=1), teachers=[finished])
    with pytest.raises(RunError, match="other classes"):
        other = small_split(classes=("a", "b", "c"))
        train(tmp_path / "x", recipe, other, teachers=[finished])
    with pytest.raises(RunError, match="needs one"):
        train(tmp_path / "x", recipe)
    with pytest.raises(RunError, match="no part"):
        train(tmp_path / "x", teachers=[finished])
