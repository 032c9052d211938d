"""The training loop: it sequences augmentation, optimizer, average, validation and record.

Every process draws the same batch from the same seed and trains on its slice of it, so a recipe
means the same on one process and on several; only batch norm takes its statistics from the slice.
All randomness of an epoch follows from the seed and the epoch's number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from earmark.config import LAGS_SECONDS, Calibration, ModelSettings, TrainingSettings, to_json
from earmark.data.splits import ClipSet, Split
from earmark.errors import RunError
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.provenance import now
from earmark.training.augment import Batches, Crops
from earmark.training.checkpoint import Checkpoint, load_optimizer, optimizer_tensors
from earmark.training.ema import WeightAverage, copy_weights
from earmark.training.objective import Objective, class_weights
from earmark.training.record import describe_data, describe_training, front_end_record
from earmark.training.recorder import Recorder
from earmark.training.request import TrainingRequest
from earmark.training.schedule import derive_seed, learning_rate_at
from earmark.training.start import check_batch_size, check_teachers, count_steps, take_weights
from earmark.training.stopping import Progress
from earmark.training.validation import (
    TrainingParts,
    calibrate_model,
    hold_clips_out,
    validate_model,
)


class Trainer:
    """One training: a split and a recipe.

    Args:
        split: what to train on; only its training part is used.
        settings: the recipe.
        accelerator: carries device, precision and processes.
        request: what was asked for, for the checkpoint; None: not by a command.
        validated: what an earlier run with validation clips held out gave; then none is held out
            here, the last epoch is kept, and its calibration is taken.
        start: a trained model to start from; its weights are taken, but for the layer that names
            classes.
        teachers: models whose mean score is part of the target, as the recipe says.
        show_progress: draw a bar when the output is a terminal, else a line for each epoch.

    Raises:
        SettingsError, DatasetError, RunError: the training cannot start.
    """

    def __init__(
        self,
        split: Split,
        settings: TrainingSettings,
        accelerator: accelerate.Accelerator,
        *,
        request: TrainingRequest | None = None,
        validated: TrainedModel | None = None,
        start: TrainedModel | None = None,
        teachers: Sequence[TrainedModel] = (),
        show_progress: bool = True,
    ) -> None:
        self.split, self.settings, self.accelerator = split, settings, accelerator
        self.request, self.validated, self.start = request, validated, start
        self.show_progress = show_progress
        check_batch_size(settings, accelerator.num_processes)
        check_teachers(teachers, split, settings)
        device = accelerator.device
        self.teachers = [teacher.model.to(device).eval() for teacher in teachers]
        self.parts = TrainingParts(split.train) if validated else hold_clips_out(split, settings)
        self.batches = Batches(self.parts.fitted, settings, split.front_end, device)
        self.steps = count_steps(settings, len(self.parts.fitted))
        self.model = self._build_model().to(device)
        self.average = WeightAverage(self.model, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        weight = class_weights(split.train.labels, len(split.classes), settings.balance).to(device)
        objective = Objective(self.model, settings, weight, self._segment_steps())
        self.objective, self.prepared_optimizer = accelerator.prepare(objective, self.optimizer)
        self.best = copy_weights(self.average.model)
        self.progress = Progress()

    def _build_model(self) -> LSTMClassifier:
        """Return the network with the statistics of the training clips in it."""
        torch.manual_seed(self.settings.seed)
        shape = ModelSettings(
            input_size=self.split.train.features.shape[1],
            num_classes=len(self.split.classes),
            network=self.settings.network,
            lags_seconds=self.start.model.settings.lags_seconds if self.start else LAGS_SECONDS,
        )
        model = LSTMClassifier.from_settings(shape)
        model.mean.copy_(self.batches.mean)
        model.scale.copy_(self.batches.scale)
        if self.start:
            take_weights(model, self.start.model)
        return model

    def _segment_steps(self) -> int:
        """Return the steps of a segment, at most those of a crop."""
        steps = self.batches.crop_frames // self.model.frames_per_step
        front_end = self.split.front_end
        if front_end is None:
            return steps
        per_second = front_end.frames_per_second / self.model.frames_per_step
        return min(steps, max(1, round(self.settings.segment_seconds * per_second)))

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, which lies between two epochs.

        Raises:
            RunError: it does not fit this training.
        """
        try:
            self._restore(checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"the checkpoint is not usable ({reason}); start a new run") from None

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, device = checkpoint.tensors, self.accelerator.device
        self.model.load_state_dict(tensors["weights"])
        self.average.model.load_state_dict(tensors["average"])
        self.best = {name: tensor.to(device) for name, tensor in tensors["best"].items()}
        load_optimizer(self.optimizer, tensors["optimizer"])
        self.progress = Progress(**checkpoint.record["progress"])

    def train(self, folder: Path) -> TrainedModel:
        """Train to the last epoch or the early stop, and return the best model.

        Where validation clips are held out, the folder has a whole model from the first epoch on,
        the best so far; else only at the end. Interrupted, the training can be resumed.

        Raises:
            RunError: the loss is no longer a number.
            OSError: the folder cannot be written.
        """
        done, settings = self.progress, self.settings
        recorder = Recorder(
            folder if self.accelerator.is_main_process else None,
            title=self.split.title,
            progress=done,
            num_epochs=settings.num_epochs,
            steps=self.steps,
            show_progress=self.show_progress,
        )
        with recorder:
            while done.epochs_done < settings.num_epochs and not done.stopped:
                row = self.train_epoch(done.epochs_done + 1, recorder)
                row |= self._validate(row["epoch"])
                best = done.add(row)
                if best:
                    self.best = copy_weights(self.average.model)
                if self.parts.validation is not None:
                    done.stop_early(patience=settings.patience, num_epochs=settings.num_epochs)
                if self.accelerator.is_main_process:
                    keep = best and self.parts.validation is not None
                    recorder.write_epoch(
                        self._checkpoint(), self._trained(finished=False) if keep else None
                    )
        trained = self._trained(finished=True)
        recorder.write_model(trained)
        return trained

    def release(self) -> None:
        """Let go of what holds the process group, so that all processes can leave it together."""
        self.objective, self.prepared_optimizer = self.accelerator.free_memory(
            self.objective, self.prepared_optimizer
        )

    def describe(self) -> str:
        """Say in one line what is trained on what."""
        split, done, validation = self.split, self.progress.epochs_done, self.parts.validation
        held_out = f"{len(validation)} for validation" if validation else "all of them"
        tested = f", {len(split.test)} for the test" if len(split.test) else ""
        return (
            (f"going on after epoch {done}: " if done else "")
            + f"training on {split.title}: {_count_clips(self.parts.fitted)}, "
            + f"{held_out}{tested}; device {self.accelerator.device.type}, "
            + f"{self.accelerator.num_processes} process(es)"
        )

    def train_epoch(self, epoch: int, recorder: Recorder | None = None) -> dict[str, Any]:
        """Train one epoch, numbered from 1 on, and return the start of its history row.

        Raises:
            RunError: the loss is no longer a number.
        """
        settings, rank = self.settings, self.accelerator.process_index
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, epoch))
        torch.manual_seed(derive_seed(settings.seed, epoch, rank + 1))  # dropout
        begin = time.perf_counter()
        order = self.batches.order(generator)
        self.objective.train()
        total = torch.zeros(3, device=self.accelerator.device)
        for step in range(self.steps):
            chosen = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            crops = self.batches.draw(chosen, len(self.split.classes), generator)
            total += self._train_step((epoch - 1) * self.steps + step, self._taught(crops))
            if recorder:
                recorder.bar.update()
                if recorder.wants_figures(step):
                    recorder.show_step(epoch, *_average(total, step + 1))
        total = self.accelerator.reduce(total, reduction="mean")
        loss, accuracy = _average(total, self.steps)
        if not math.isfinite(loss):
            raise RunError(f"the loss became {loss} in epoch {epoch}; use a lower --learning_rate")
        return {
            "epoch": epoch,
            "train_loss": round(loss, 6),
            "train_accuracy": round(accuracy, 6),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - begin, 3),
        }

    @torch.no_grad()
    def _taught(self, crops: Crops) -> Crops:
        """Return the crops with the teachers' part in their targets."""
        if not self.teachers:
            return crops
        scores = torch.stack([teacher(crops.frames) for teacher in self.teachers]).mean(0)
        return crops._replace(targets=torch.lerp(crops.targets, scores, self.settings.teacher))

    def _train_step(self, step: int, crops: Crops) -> Tensor:
        """Take one step of the optimizer; return what `_average` takes, of this process's slice."""
        settings, accelerator = self.settings, self.accelerator
        rate = learning_rate_at(settings, step / (settings.num_epochs * self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        mine = Crops(*(v[accelerator.process_index :: accelerator.num_processes] for v in crops))
        loss, correct, decided = self.objective(mine)
        self.prepared_optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(self.objective.parameters(), settings.max_grad_norm)
        self.prepared_optimizer.step()
        self.average.update(self.model, step)
        return torch.stack([loss.detach(), correct, decided])

    def _validate(self, epoch: int) -> dict[str, float | None]:
        """Score the validation clips with the averaged weights: the rest of the history row.

        The main process measures, the others follow it.
        """
        row: dict[str, Any] = {"validation_loss": None, "validation_accuracy": None}
        if self.parts.validation is None:
            return row
        if self.accelerator.is_main_process:
            loss, accuracy = validate_model(
                self.average.model, self.parts.validation, self.settings.batch_size
            )
            row = {"validation_loss": round(loss, 6), "validation_accuracy": round(accuracy, 6)}
        (row,) = broadcast_object_list([row])
        if not math.isfinite(row["validation_loss"]):
            raise RunError(
                f"the weights are no longer numbers after epoch {epoch}; "
                "use a lower --learning_rate"
            )
        return row

    def _checkpoint(self) -> Checkpoint:
        """Return what this training needs to go on from here."""
        record = {
            "settings": to_json(self.settings),
            "source": to_json(self.request) if self.request else {},
            "data": describe_data(self.split, self.parts, self.start),
            "front_end": front_end_record(self.split),
            "held_out": self.parts.held_out,
            "progress": vars(self.progress),
        }
        tensors = {
            "weights": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return Checkpoint(record, tensors)

    def _trained(self, *, finished: bool) -> TrainedModel:
        """Return the best model so far with its record."""
        done, split, before = self.progress, self.split, self.validated
        validation = self.parts.validation
        model = LSTMClassifier.from_settings(self.model.settings)
        model.load_state_dict(self.best)
        calibration = before.calibration if before else Calibration()
        if finished and validation is not None:
            calibration = calibrate_model(model, validation, split.front_end, self.settings)
        training = describe_training(
            self.settings,
            done,
            self.accelerator,
            finished=finished,
            validated=before,
            start=self.start,
        )
        return TrainedModel(
            model.eval(),
            split.classes,
            split.front_end,
            calibration,
            training,
            describe_data(split, self.parts, self.start),
            created=now(),
        )


def _average(total: Tensor, steps: int) -> tuple[float, float]:
    """Return loss and accuracy from the sums over `steps`: loss, right crops, crops that count."""
    loss, correct, decided = total.tolist()
    return loss / steps, correct / max(1.0, decided)


def _count_clips(clips: ClipSet) -> str:
    """Say how many clips there are, and how many of no class."""
    negatives = len(clips) - int(clips.of_class.sum())
    return f"{len(clips)} clips" + (f" ({negatives} of no class)" if negatives else "")
