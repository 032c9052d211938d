"""The loop: it learns, is deterministic, validates without a leak, and survives kills."""

import csv
import json

import accelerate
import numpy as np
import pytest
import torch

from earmark.errors import DatasetError, RunError
from earmark.evaluation.report import evaluate
from earmark.model_directory import load_model
from earmark.training.checkpoint import read_checkpoint
from earmark.training.loop import Trainer
from earmark.training.recorder import Recorder
from earmark.training.request import TrainingRequest
from earmark.training.run import read_resumable
from tests.builders import FRONT_END, clip_set, small_recipe, small_split


def make_run(recipe=None, split=None):
    return Trainer(
        split or small_split(),
        recipe or small_recipe(),
        accelerate.Accelerator(cpu=True),
        request=TrainingRequest(None, "splits", 0, FRONT_END),
        show_progress=False,
    )


def weights(folder):
    return load_model(folder).model.state_dict()


def test_training_learns_and_leaves_a_whole_record(tmp_path):
    make_run().train(tmp_path)
    trained = load_model(tmp_path)
    assert evaluate(trained, small_split())["accuracy"] >= 0.9
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert trained.training["finished"] is True
    assert trained.training["recipe"]["num_epochs"] == 6
    losses = [float(row["validation_loss"]) for row in rows]
    assert trained.training["epoch"] == 1 + losses.index(min(losses))


def test_training_on_joined_crops_and_their_segments_learns_both(tmp_path):
    recipe = small_recipe(
        clips_per_sequence=4, segment_loss_weight=1.0, segment_seconds=0.2, num_epochs=12
    )
    trained = make_run(recipe).train(tmp_path)
    assert evaluate(trained, small_split())["accuracy"] >= 0.9
    clips = small_split().test
    model, right = trained.model, []
    state = model.initial_state(1, 5)
    for start, length, label in zip(clips.starts, clips.frames, clips.labels, strict=True):
        frames = torch.from_numpy(clips.features[start : start + length])[None]
        logits, state = model.score_segments(frames, state)
        right.append(int(logits[0, -1].argmax()) == label)
    assert np.mean(right) >= 0.8  # one stream of all test clips, a short window


def test_the_saved_model_is_the_one_validation_scored(tmp_path):
    run = make_run()
    run.train(tmp_path)
    trained = load_model(tmp_path)
    held_out = small_split(test=run.parts.validation)
    results = evaluate(trained, held_out)
    assert results["accuracy"] == pytest.approx(trained.training["validation_accuracy"], abs=1e-6)


def test_a_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_run(small_recipe(num_epochs=2, seed=seed)).train(tmp_path / name)
    first, same, other = (weights(tmp_path / name) for name in "abc")
    torch.testing.assert_close(first, same, atol=0, rtol=0)
    assert not torch.equal(first["head.4.weight"], other["head.4.weight"])


@pytest.mark.parametrize("epochs_before", [1, 4])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path, epochs_before, monkeypatch
):
    make_run().train(tmp_path / "whole")
    run, record = make_run(), Recorder.write_epoch

    def die(self, *written):
        record(self, *written)
        if self.progress.epochs_done == epochs_before:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "write_epoch", die)
    with pytest.raises(KeyboardInterrupt):
        run.train(tmp_path / "cut")
    monkeypatch.undo()
    load_model(tmp_path / "cut")  # a whole model is there already
    settings, _ = read_resumable(tmp_path / "cut")
    again = make_run(settings)
    again.resume(read_checkpoint(tmp_path / "cut"))
    again.train(tmp_path / "cut")
    torch.testing.assert_close(
        weights(tmp_path / "whole"), weights(tmp_path / "cut"), atol=0, rtol=0
    )


def test_validation_shares_no_source_with_training(tmp_path):
    train = clip_set(12, 1)
    groups = [f"source {number // 2}" for number in range(len(train))]
    train = type(train)(train.features, train.frames, train.labels, train.paths, groups)
    run = make_run(split=small_split(train=train))
    held_out = set(run.parts.validation.groups)
    assert len(run.batches.labels) + len(run.parts.validation) == len(train)
    assert all(
        groups.count(group) == list(run.parts.validation.groups).count(group) for group in held_out
    )
    assert set(run.parts.validation.labels.tolist()) == {0, 1, 2}


def test_statistics_come_from_the_training_clips_alone(tmp_path):
    run = make_run()
    held_out = set(run.parts.validation.paths)
    train = small_split().train
    kept = np.array([path not in held_out for path in train.paths])
    expected = train.select(kept).features.mean(0)
    np.testing.assert_allclose(run.model.mean.numpy(), expected, atol=1e-5)
    assert not np.allclose(train.features.mean(0), expected, atol=1e-5)


def test_the_test_part_changes_nothing_in_training(tmp_path):
    make_run(small_recipe(num_epochs=2)).train(tmp_path / "a")
    other = small_split(test=clip_set(7, 99))
    make_run(small_recipe(num_epochs=2), other).train(tmp_path / "b")
    torch.testing.assert_close(weights(tmp_path / "a"), weights(tmp_path / "b"), atol=0, rtol=0)


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    recipe = small_recipe(num_epochs=40, patience=2, learning_rate=1e-9)
    run = make_run(recipe)
    run.train(tmp_path)
    # weights that hardly move: epoch 1 stays best, and patience counts from epoch 20 on
    assert run.progress.epochs_done == 22
    assert "2 epochs" in load_model(tmp_path).training["stopped"]


def test_a_loss_that_is_not_finite_ends_the_run_with_the_remedy(tmp_path):
    run = make_run()
    with torch.no_grad():
        run.model.head[-1].bias.fill_(float("nan"))
    with pytest.raises(RunError, match="learning_rate"):
        run.train(tmp_path)


def test_a_batch_larger_than_the_epoch_is_refused(tmp_path):
    with pytest.raises(RunError, match="batch_size"):
        make_run(small_recipe(batch_size=1000))


def test_one_source_per_class_is_refused(tmp_path):
    train = clip_set(4, 1)
    groups = [str(label) for label in train.labels]
    train = type(train)(train.features, train.frames, train.labels, train.paths, groups)
    with pytest.raises(DatasetError, match="single source"):
        make_run(split=small_split(train=train))


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(RunError, match="no such run"):
        read_resumable(tmp_path / "none")
    with pytest.raises(RunError, match="no checkpoint"):
        read_resumable(tmp_path)


def test_a_damaged_checkpoint_is_said(tmp_path):
    make_run(small_recipe(num_epochs=1)).train(tmp_path)
    state = tmp_path / "resume" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(RunError, match="damaged"):
        read_resumable(tmp_path)


def test_the_checkpoint_holds_no_pickle_and_stands_beside_the_model(tmp_path):
    make_run(small_recipe(num_epochs=1)).train(tmp_path)
    data = (tmp_path / "resume" / "state.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {name.split("/")[0] for name in header} == {
        *("__metadata__", "weights", "average", "best", "optimizer")
    }
