"""The training loop.

Validation clips are carved out of the training part, by source recording; they choose the epoch,
stop the run, and calibrate the scores. The test part is not looked at here.

Every process draws the same batch from the same seed and trains on its slice of it, so a recipe
means the same on one process and on several; only batch norm takes its statistics from the slice.
All randomness of an epoch follows from the seed and the epoch's number.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor
from tqdm import tqdm

from earmark.config import Calibration, ModelSettings, TrainingSettings, to_json
from earmark.data.dataset import collect_negatives
from earmark.data.folds import validation_mask
from earmark.data.splits import ClipSet, Split
from earmark.decision.calibration import cross_entropy, fit
from earmark.errors import DatasetError, RunError
from earmark.evaluation.pictures import draw_curves
from earmark.evaluation.scoring import score_clips
from earmark.io.files import write_text
from earmark.model_directory import TrainedModel, save_model
from earmark.nn.classifier import LSTMClassifier
from earmark.provenance import now
from earmark.training.augment import Batches, Crops
from earmark.training.checkpoint import (
    Checkpoint,
    load_optimizer,
    optimizer_tensors,
    write_checkpoint,
)
from earmark.training.objective import Objective, class_weights
from earmark.training.start import (
    NO_PART_FOR_TEACHER,
    front_end_record,
    refuse_teacher,
    take_weights,
)

HISTORY = "history.csv"
CURVES = "curves.png"
CHOSEN_BY = (
    "lowest loss of the averaged weights on validation clips carved out of the training part "
    "by source recording"
)
NOT_CHOSEN = (
    "none: the last of the whole schedule, on all training clips; calibration is that of the run "
    "before, with validation clips held out"
)
_NEGATIVES = 240  # generated clips that set the thresholds
_NEGATIVE_SEED = 10**9  # apart from those that training draws


@dataclass
class _Progress:
    """Where a run stands; what the checkpoint records beside the tensors."""

    history: list[dict[str, Any]]
    best_epoch: int = 0
    stopped: str = ""

    @property
    def epochs_done(self) -> int:
        return len(self.history)


class Run:
    """One training run: a split and a recipe.

    Args:
        split: what to train on; only its training part is used.
        settings: the recipe.
        accelerator: carries device, precision and processes.
        source: what the record should say about where the split came from.
        validated: what an earlier run with validation clips held out gave; then none is held out
            here, the last epoch is kept, and its calibration is taken.
        start: a trained model to start from; its weights are taken, but for the layer that names
            classes.
        teachers: models whose mean score is part of the target, as the recipe says.
        show_progress: draw a bar when the output is a terminal, else a line for each epoch.

    Raises:
        SettingsError, DatasetError, RunError: the run cannot start.
    """

    def __init__(
        self,
        split: Split,
        settings: TrainingSettings,
        accelerator: accelerate.Accelerator,
        *,
        source: Mapping[str, Any] | None = None,
        validated: TrainedModel | None = None,
        start: TrainedModel | None = None,
        teachers: Sequence[TrainedModel] = (),
        show_progress: bool = True,
    ) -> None:
        self.split, self.settings = split, settings
        self.accelerator, self.show_progress = accelerator, show_progress
        self.source = dict(source or {})
        processes = accelerator.num_processes
        if settings.batch_size % (processes * settings.clips_per_sequence):
            raise RunError(
                f"batch_size {settings.batch_size} does not divide among {processes} processes; "
                f"use a multiple of {processes * settings.clips_per_sequence}"
            )
        self.validated, self.start = validated, start
        for teacher in teachers:
            refuse_teacher(teacher, split)
        if bool(teachers) != bool(settings.teacher):
            raise RunError(
                "a recipe with a teacher needs one; give its run, or set --teacher 0"
                if settings.teacher
                else NO_PART_FOR_TEACHER
            )
        self.teachers = [teacher.model.to(accelerator.device).eval() for teacher in teachers]
        self.validation: ClipSet | None = None
        self.held_out = ""  # a digest of which clips are
        fitted = split.train
        if validated is None:
            held_out = _validation(split, settings)
            self.validation = split.train.select(held_out)
            self.held_out = hashlib.sha256(held_out.tobytes()).hexdigest()
            fitted = split.train.select(~held_out)
        device = accelerator.device
        self.batches = Batches(fitted, settings, split.front_end, device)
        self.steps = len(fitted) * settings.crops_per_clip // settings.batch_size
        if self.steps == 0:
            raise RunError(
                f"batch_size {settings.batch_size} is more than the {len(fitted)} training clips "
                f"times {settings.crops_per_clip} crops; use a smaller one"
            )
        torch.manual_seed(settings.seed)
        model = LSTMClassifier.from_settings(_model_settings(split, settings))
        model.mean.copy_(self.batches.mean)
        model.scale.copy_(self.batches.scale)
        if start:
            take_weights(model, start.model)
        self.average = LSTMClassifier.from_settings(model.settings).to(device)
        self.average.load_state_dict(model.state_dict())
        self.model = model.to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        weight = class_weights(split.train.labels, len(split.classes), settings.balance).to(device)
        objective = Objective(self.model, settings, weight, self._window())
        self.objective, self.prepared_optimizer = accelerator.prepare(objective, self.optimizer)
        self.best = _copy(self.average)
        self.progress = _Progress([])

    def _window(self) -> int:
        """Return the steps of a segment, at most those of a crop."""
        steps = self.batches.crop_frames // self.model.frames_per_step
        front_end = self.split.front_end
        if front_end is None:
            return steps
        per_second = front_end.frames_per_second / self.model.frames_per_step
        return min(steps, max(1, round(self.settings.segment_seconds * per_second)))

    def resume(self, state: Checkpoint) -> None:
        """Go on from a state between two epochs."""
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"the checkpoint is not usable ({reason}); start a new run") from None

    def _restore(self, state: Checkpoint) -> None:
        self.model.load_state_dict(state.tensors["weights"])
        self.average.load_state_dict(state.tensors["ema_decay"])
        self.best = {k: v.to(self.average.mean.device) for k, v in state.tensors["best"].items()}
        load_optimizer(self.optimizer, state.tensors["optimizer"])
        self.progress = _Progress(**state.record["progress"])

    def train(self, folder: Path) -> TrainedModel:
        """Train to the last epoch or the early stop, and return the best model.

        Where validation clips are held out, the folder has a whole model from the first epoch on,
        the best so far; else only at the end. Interrupted, the run can be resumed.

        Raises:
            RunError: the loss is no longer a number.
            OSError: the folder cannot be written.
        """
        done = self.progress
        bar = tqdm(
            total=self.settings.num_epochs * self.steps,
            initial=done.epochs_done * self.steps,
            unit="step",
            disable=None if self.show_progress and self.accelerator.is_main_process else True,
        )
        try:
            while done.epochs_done < self.settings.num_epochs and not done.stopped:
                row = self.train_epoch(done.epochs_done + 1, bar)
                self._validate(row)
                if self.accelerator.is_main_process:
                    self._record(folder, bar)
        finally:  # interrupted or not, what was learnt so far is shown
            bar.close()
            if self.accelerator.is_main_process and done.best_epoch:
                title = self.split.dataset + _place(self.split)
                draw_curves(folder / CURVES, done.history, done.best_epoch, title)
        trained = self._trained(finished=True)
        if self.accelerator.is_main_process:
            save_model(folder, trained)
        return trained

    def release(self) -> None:
        """Let go of what holds the process group, so that all processes can leave it together."""
        self.objective, self.prepared_optimizer = self.accelerator.free_memory(
            self.objective, self.prepared_optimizer
        )

    def description(self) -> str:
        """Say in one line what is trained on what."""
        split, done = self.split, self.progress.epochs_done
        held_out = f"{len(self.validation)} for validation" if self.validation else "all of them"
        tested = f", {len(split.test)} for the test" if len(split.test) else ""
        return (
            (f"going on after epoch {done}: " if done else "")
            + f"training on {split.dataset}{_place(split)}: {len(self.batches.labels)} clips, "
            + f"{held_out}{tested}; device {self.accelerator.device.type}, "
            + f"{self.accelerator.num_processes} process(es)"
        )

    def train_epoch(self, epoch: int, bar: Any) -> dict[str, Any]:
        """Train one epoch and return the start of its history row."""
        recipe, processes = self.settings, self.accelerator.num_processes
        rank = self.accelerator.process_index
        generator = torch.Generator().manual_seed(_epoch_seed(recipe.seed, epoch))
        torch.manual_seed(_epoch_seed(recipe.seed, epoch, rank + 1))  # dropout
        classes, begin = len(self.split.classes), time.perf_counter()
        order = self.batches.order(generator)
        self.objective.train()
        total = torch.zeros(2, device=self.accelerator.device)
        for step in range(self.steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            crops = self.batches.draw(chosen, classes, generator)
            if self.teachers:
                with torch.no_grad():
                    taught = torch.stack([teacher(crops.frames) for teacher in self.teachers])
                targets = torch.lerp(crops.targets, taught.mean(0), recipe.teacher)
                crops = crops._replace(targets=targets)
            at = (epoch - 1) * self.steps + step
            for group in self.optimizer.param_groups:
                group["lr"] = _rate(recipe, at / (recipe.num_epochs * self.steps))
            mine = Crops(*(values[rank::processes] for values in crops))
            loss, correct = self.objective(mine)
            self.prepared_optimizer.zero_grad()
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.objective.parameters(), recipe.max_grad_norm)
            self.prepared_optimizer.step()
            self._move_average(at)
            total += torch.stack([loss.detach(), correct])
            bar.update()
            if not bar.disable and step % 5 == 4:
                mean = total / (step + 1)
                shown = {"epoch": epoch, "loss": f"{mean[0]:.3f}", "acc": f"{mean[1]:.3f}"}
                if self.progress.history and self.validation:
                    last = self.progress.history[-1]
                    shown["val_loss"] = f"{last['validation_loss']:.3f}"
                    shown["val_acc"] = f"{last['validation_accuracy']:.3f}"
                bar.set_postfix(shown)
        mean = (self.accelerator.reduce(total, reduction="mean") / self.steps).tolist()
        if not math.isfinite(mean[0]):
            raise RunError(
                f"the loss became {mean[0]} in epoch {epoch}; use a lower --learning_rate"
            )
        return {
            "epoch": epoch,
            "train_loss": round(mean[0], 6),
            "train_accuracy": round(mean[1], 6),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - begin, 3),
        }

    @torch.no_grad()
    def _move_average(self, step: int) -> None:
        """Move the running average of the weights; it starts quickly and slows to its decay."""
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        average, weights = _numbers(self.average), _numbers(self.model)
        torch._foreach_lerp_(average, weights, 1 - decay)

    def _validate(self, row: dict[str, Any]) -> None:
        """Score the validation clips with the averaged weights; decide what is best, when to end.

        The main process measures and decides, the others follow it.
        """
        done = self.progress
        if self.validation is None:
            row |= {"validation_loss": None, "validation_accuracy": None}
            done.history.append(row)
            done.best_epoch = row["epoch"]
            self.best = _copy(self.average)
            return
        if self.accelerator.is_main_process:
            scores = score_clips(self.average, self.validation, batch_size=self.settings.batch_size)
            labels = self.validation.labels
            row["validation_loss"] = round(cross_entropy(labels, scores), 6)
            row["validation_accuracy"] = round(float((scores.argmax(1) == labels).mean()), 6)
        (row,) = broadcast_object_list([row])
        if not math.isfinite(row["validation_loss"]):
            raise RunError(
                f"the weights are no longer numbers after epoch {row['epoch']}; "
                "use a lower --learning_rate"
            )
        done.history.append(row)
        best = done.history[done.best_epoch - 1] if done.best_epoch else None
        if best is None or row["validation_loss"] < best["validation_loss"]:
            done.best_epoch = row["epoch"]
            self.best = _copy(self.average)
        # Patience counts in the falling half of the schedule: before, the rate is so high that a
        # few epochs without progress say little. Progress is a lower loss or a higher accuracy.
        counted = max(_last_progress(done.history), self.settings.num_epochs // 2)
        if row["epoch"] - counted >= self.settings.patience:
            done.stopped = f"no better epoch for {self.settings.patience} epochs"

    def _record(self, folder: Path, bar: Any) -> None:
        """Write history, model and checkpoint after an epoch."""
        done = self.progress
        row = done.history[-1]
        if done.best_epoch == row["epoch"] and self.validation:
            save_model(folder, self._trained(finished=False))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(done.history)
        write_text(folder / HISTORY, text.getvalue())
        record = {
            "settings": to_json(self.settings),
            "source": self.source,
            "data": self._data(),
            "front_end": front_end_record(self.split),
            "held_out": self.held_out,
            "progress": vars(done),
        }
        tensors = {
            "weights": self.model.state_dict(),
            "ema_decay": self.average.state_dict(),
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        write_checkpoint(folder, Checkpoint(record, tensors))
        if self.show_progress and bar.disable:
            line = (
                f"epoch {row['epoch']}/{self.settings.num_epochs}: "
                f"loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.3f}"
            )
            if self.validation:
                line += (
                    f", validation loss {row['validation_loss']:.3f}, "
                    f"accuracy {row['validation_accuracy']:.3f}"
                )
            print(line, flush=True)

    def _data(self) -> dict[str, Any]:
        split = self.split
        before = {"started_from": dict(self.start.data)} if self.start else {}
        return {
            "dataset": split.dataset,
            "synthetic": split.synthetic,
            "split_index": split.index,
            "test_fold": split.test_fold,
            "fingerprint": split.fingerprint,
            "training_clips": len(self.batches.labels),
            "validation_clips": len(self.validation or ()),
            **before,
        }

    def _trained(self, *, finished: bool) -> TrainedModel:
        """Return the best model so far with its record."""
        done = self.progress
        best = done.history[done.best_epoch - 1]
        model = LSTMClassifier.from_settings(self.model.settings)
        model.load_state_dict(self.best)
        seconds = sum(row["seconds"] for row in done.history)
        before = self.validated
        calibration = before.calibration if before else Calibration()
        if finished and self.validation:
            calibration = self._calibrated(model)
        training = {
            "recipe": to_json(self.settings),
            "seed": self.settings.seed,
            "finished": finished,
            "epochs": done.epochs_done,
            "stopped": done.stopped or ("all epochs done" if finished else "still training"),
            "epoch": done.best_epoch,
            "epoch_chosen_by": CHOSEN_BY if self.validation else NOT_CHOSEN,
            "started_from": self.start.fingerprint if self.start else None,
            "validation_accuracy": best["validation_accuracy"],
            "validation_loss": best["validation_loss"],
            "device": str(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "precision": str(self.accelerator.mixed_precision),
            "seconds": round(seconds, 3),
            "validated": dict(before.training) if before else None,
        }
        return TrainedModel(
            model.eval(),
            self.split.classes,
            self.split.front_end,
            calibration,
            training,
            self._data(),
            created=now(),
        )

    def _calibrated(self, model: LSTMClassifier) -> Calibration:
        """Fit temperature and thresholds on the validation clips and on generated negatives.

        Thresholds need a recipe that trained with negatives: a model that never met one is sure
        of itself on any noise, and the thresholds that stop it would stop its classes too.
        """
        assert self.validation is not None
        scores = score_clips(model, self.validation, batch_size=self.settings.batch_size)
        negative, front_end = None, self.split.front_end
        if front_end and self.settings.negatives_probability:
            nothing = collect_negatives(front_end, _NEGATIVES, _NEGATIVE_SEED)
            negative = score_clips(model, nothing, batch_size=self.settings.batch_size)
        return fit(self.validation.labels, scores, negative)


def _place(split: Split) -> str:
    return f", split {split.index}" if split.index >= 0 else ""


def _validation(split: Split, settings: TrainingSettings) -> np.ndarray[Any, np.dtype[np.bool_]]:
    part: ClipSet = split.train
    try:
        return validation_mask(
            part.labels, part.groups, settings.validation_fraction, settings.seed
        )
    except DatasetError as error:
        raise DatasetError(f"{split.dataset}{_place(split)}: {error}") from None


def _model_settings(split: Split, settings: TrainingSettings) -> ModelSettings:
    return ModelSettings(
        input_size=split.train.features.shape[1],
        num_classes=len(split.classes),
        network=settings.network,
    )


def _last_progress(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the last epoch that lowered the validation loss or raised the accuracy."""
    epochs = range(1, len(history) + 1)
    losses = [row["validation_loss"] for row in history]
    accuracies = [row["validation_accuracy"] for row in history]
    lowest = min(epochs, key=lambda epoch: losses[epoch - 1])
    return max(lowest, max(epochs, key=lambda epoch: accuracies[epoch - 1]))


def _rate(recipe: TrainingSettings, progress: float) -> float:
    """Return the learning rate at `progress` (0 to 1) of the run: a rise, then a half cosine."""
    if progress < recipe.warmup:
        return recipe.learning_rate * (0.02 + 0.98 * progress / recipe.warmup)
    falling = (progress - recipe.warmup) / (1 - recipe.warmup)
    return recipe.learning_rate * (0.001 + 0.999 * (0.5 + 0.5 * math.cos(math.pi * falling)))


def _epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return a seed of its own for each epoch and stream of random numbers."""
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1, np.uint64)[0] >> 1)


def _numbers(model: LSTMClassifier) -> list[Tensor]:
    """Return the weights and the running statistics of batch norm."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


def _copy(model: LSTMClassifier) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
