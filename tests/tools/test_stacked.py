"""Trainings that take their steps together come to what each would come to alone."""

from functools import partial

import accelerate
import numpy as np
import pytest
import torch
from tools.crossval_stacked import Feeder, train
from tools.stacked_training import Bank, Run, Stack, make_plan

from earmark.data.dataset import generate_negative_frames
from earmark.training.loop import Trainer
from tests.builders import FRONT_END, small_recipe, small_split

EPOCHS = 3
CONVOLUTIONS = ((4, 3, 3, 2, 2), (6, 3, 3, 2, 1))


def recipe(**changes):
    values = {
        "num_epochs": EPOCHS,
        "stack": 1,
        "delta": 0,
        "convolutions": CONVOLUTIONS,
        "pooling": "attention",
        "dropout": 0.0,
        "clips_per_sequence": 2,
        "segment_loss_weight": 0.5,
        "segment_seconds": 0.2,
        "negatives_probability": 0.2,
        "mixup_probability": 0.8,
        "pitch": 0.1,
        "noise": 0.0,
        "label_smoothing": 0.0,
        "weight_decay": 0.1,
    }
    return small_recipe(**{**values, **changes})


def train_alone(folder, settings, validated):
    trainer = Trainer(
        small_split(),
        settings,
        accelerate.Accelerator(cpu=True),
        validated=validated,
        show_progress=False,
    )
    return trainer, trainer.train(folder)


def run_like(trainer, seed):
    paths = list(trainer.split.train.paths)
    held_out = trainer.parts.validation.paths if trainer.parts.validation else ()
    clips, rest = (
        np.array([paths.index(path) for path in part], np.int64)
        for part in (trainer.parts.fitted.paths, held_out)
    )
    mean, scale = trainer.batches.mean.numpy(), trainer.batches.scale.numpy()
    return Run(0, seed, clips, rest, mean, scale)


def test_runs_beside_each_other_come_to_what_each_comes_to_alone(tmp_path):
    split, made = small_split(), recipe()
    first = train_alone(tmp_path / "0", made, None)
    alone = [
        first,
        train_alone(tmp_path / "1", made, first[1]),
        train_alone(tmp_path / "2", recipe(seed=1), first[1]),
    ]
    runs = [run_like(trainer, seed) for (trainer, _), seed in zip(alone, (0, 0, 1), strict=True)]
    negatives = [
        generate_negative_frames(FRONT_END, 240, seed, made.clip_seconds) for seed in (0, 1)
    ]
    bank = Bank(
        torch.from_numpy(split.train.features),
        torch.from_numpy(split.train.frames),
        torch.from_numpy(split.train.labels),
        len(split.classes),
        torch.from_numpy(np.stack(negatives)),
    )
    plan = make_plan(bank, runs[0], made, FRONT_END)
    stack = Stack(bank, runs, plan)
    feeder = Feeder(stack, [partial(plan.draw_epoch, run) for run in runs])
    found = train(stack, bank, stack.step, feeder)
    for number, (trainer, trained) in enumerate(alone):
        for row, its in zip(found[number].history, trainer.progress.history, strict=True):
            del row["seconds"], its["seconds"]
            assert row == pytest.approx(its, abs=1e-4)
        model = stack.build_model(len(split.classes), runs[number])
        stack.give_average(number, model)
        state = trained.model.state_dict()
        del state["attention.bias"]  # cancels, so that its gradient is rounding alone
        for name, tensor in state.items():
            torch.testing.assert_close(
                model.state_dict()[name], tensor, rtol=0, atol=2e-5, msg=name
            )
