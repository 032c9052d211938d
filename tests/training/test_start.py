"""What a run may begin with."""

import dataclasses

import accelerate
import pytest
import torch

from earmark.errors import RunError
from earmark.nn.classifier import LSTMClassifier
from earmark.training.checkpoint import read_checkpoint
from earmark.training.loop import Trainer
from earmark.training.run import train_model
from earmark.training.start import refuse_other_data, take_weights
from tests.builders import FRONT_END, small_recipe, small_split


def test_resuming_on_other_data_is_refused(tmp_path):
    accelerator = accelerate.Accelerator(cpu=True)
    run = Trainer(small_split(), small_recipe(num_epochs=1), accelerator)
    run.train(tmp_path)
    state = read_checkpoint(tmp_path)
    refuse_other_data(state, small_split(), tmp_path, run.parts.held_out)
    longer = dataclasses.replace(FRONT_END, hop_length=FRONT_END.hop_length + 1)
    for other in (small_split(fingerprint="0" * 64), small_split(front_end=longer)):
        with pytest.raises(RunError, match="other data, or on other features"):
            refuse_other_data(state, other, tmp_path, run.parts.held_out)


def test_going_on_with_other_clips_held_out_is_refused(tmp_path):
    """Else clips that the weights have learnt would choose the epoch and calibrate the scores."""
    accelerator = accelerate.Accelerator(cpu=True)
    split, recipe = small_split(), small_recipe(num_epochs=2)
    Trainer(split, recipe, accelerator).train(tmp_path)
    pairs = [f"recording {number // 2}" for number in range(len(split.train))]
    grouped = dataclasses.replace(split, train=dataclasses.replace(split.train, groups=pairs))
    with pytest.raises(RunError, match="other clips held out"):
        train_model(grouped, recipe, accelerator, tmp_path)


def test_going_on_from_a_finished_run_of_other_data_is_refused(tmp_path):
    accelerator = accelerate.Accelerator(cpu=True)
    recipe = small_recipe(num_epochs=1, refit=True)
    train_model(small_split(), recipe, accelerator, tmp_path)
    longer = dataclasses.replace(FRONT_END, hop_length=FRONT_END.hop_length + 1)
    for other in (small_split(index=1), small_split(front_end=longer)):
        with pytest.raises(RunError, match="was started on other data"):
            train_model(other, recipe, accelerator, tmp_path)


def test_what_a_model_started_from_is_on_its_record(tmp_path):
    accelerator = accelerate.Accelerator(cpu=True)
    recipe, other = small_recipe(num_epochs=1), small_split(index=1)
    first = train_model(other, recipe, accelerator, tmp_path / "1")
    second = train_model(small_split(), recipe, accelerator, tmp_path / "2", start=first)
    assert second.data["started_from"] == first.data


def test_a_start_model_s_classes_stay_behind():
    """Neither its last layer nor what its similarity knows."""
    torch.manual_seed(0)
    start, model = LSTMClassifier(6, 4, 1, 5, prototypes=(5, 3)), LSTMClassifier(6, 4, 1, 3)
    last = model.head.linear_layers()[-1].weight.clone()
    take_weights(model, start)
    kept, taken = start.state_dict(), model.state_dict()
    assert torch.equal(taken["lstm.weight_hh_l0"], kept["lstm.weight_hh_l0"])
    assert torch.equal(model.head.linear_layers()[-1].weight, last)
    assert model.similarity is None
    with pytest.raises(RunError, match="another shape"):
        take_weights(LSTMClassifier(6, 5, 1, 3), start)
