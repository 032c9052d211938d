"""A whole training: with validation, and, where the recipe says so, once more on all clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import accelerate

from earmark.config import TrainingSettings, from_json
from earmark.data.splits import Split
from earmark.errors import RunError, SettingsError
from earmark.evaluation.report import evaluate
from earmark.model_directory import MANIFEST, TrainedModel, load_model
from earmark.training.checkpoint import has_checkpoint, read_checkpoint, remove_checkpoint
from earmark.training.frozen import FrozenNetwork, train_frozen
from earmark.training.loop import Trainer
from earmark.training.request import TrainingRequest
from earmark.training.start import refuse_other_data, refuse_other_model

VALIDATED = "validated"  # folder of the run that held clips out, inside the run that did not


def train_model(
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    folder: Path,
    *,
    request: TrainingRequest | None = None,
    start: TrainedModel | None = None,
    teachers: Sequence[Path] = (),
    validated: Path | None = None,
    network: FrozenNetwork | None = None,
    show_progress: bool = True,
) -> TrainedModel:
    """Train a model into `folder`, going on from whatever an interrupted call left there.

    Args:
        split: what to train on; only its training part is used.
        settings: the recipe. With `refit`, a run with validation clips held out comes first, in
            `folder / "validated"`, and gives its calibration to the run on all clips.
        accelerator: carries device, precision and processes.
        folder: the run's folder.
        request: what was asked for, so that the run can be resumed from its folder alone.
        start: a trained model to start from; a frozen recipe needs one.
        teachers: folders of runs on the same split. Where clips are held out, only those teach
            that held out the same ones, with the model that was not trained on them.
        validated: folder of a finished run on the same split with clips held out; with `refit` its
            calibration is taken, and no such run is made here.
        network: that model, frozen, where several runs share what it says of clips.
        show_progress: see `Trainer`.

    Returns:
        The trained model, which the folder holds too. The checkpoint stands until the caller
        has what it wants of the run and calls `remove_checkpoints`.

    Raises:
        SettingsError, DatasetError, RunError, OSError: see `Trainer`.
    """

    if settings.frozen:
        if network is None:
            if start is None:
                raise RunError("a frozen recipe needs a model to start from; give one with --init")
            network = FrozenNetwork(start, accelerator.device)
        return train_frozen(split, settings, accelerator, folder, network)

    def train(where: Path, before: TrainedModel | None) -> TrainedModel:
        if before is None:
            models = select_teachers(teachers, settings)
        else:
            models = [load_model(teacher) for teacher in teachers]
        trainer = Trainer(
            split,
            settings,
            accelerator,
            request=request,
            validated=before,
            start=start,
            teachers=models,
            show_progress=show_progress,
        )
        if has_checkpoint(where):
            checkpoint = read_checkpoint(where)
            refuse_other_data(checkpoint, split, where, trainer.parts.held_out)
            trainer.resume(checkpoint)
        if show_progress:
            accelerator.print(trainer.describe())
        trained = trainer.train(where)
        trainer.release()
        return trained

    if not settings.refit:
        return train(folder, None)
    before = load_finished(validated or folder / VALIDATED)
    if before is None and validated:
        raise RunError(f"{validated}: holds no finished run")
    if before:
        refuse_other_model(before, split, folder)
    before = before or train(folder / VALIDATED, None)
    accelerator.wait_for_everyone()
    return train(folder, before)


def select_teachers(teachers: Sequence[Path], settings: TrainingSettings) -> list[TrainedModel]:
    """Return the teachers that were not trained on the clips that these settings hold out.

    Raises:
        RunError: there are teachers, but none such.
    """
    firsts = [teacher / VALIDATED for teacher in teachers]
    folders = [f if f.is_dir() else t for f, t in zip(firsts, teachers, strict=True)]
    fitting = [t for t in map(load_model, folders) if _holds_out_like(t, settings)]
    if teachers and not fitting:
        raise RunError(
            "no teacher held out the same clips for validation; a run that holds clips out with "
            f"--seed {settings.seed} and --validation_fraction {settings.validation_fraction} would"
        )
    return fitting


def load_finished(folder: Path) -> TrainedModel | None:
    """Return the model of a run that reached its end, else None."""
    trained = load_model(folder) if (folder / MANIFEST).is_file() else None
    return trained if trained and trained.training.get("finished") else None


def score_test_part(folder: Path, split: Split, device: str = "cpu") -> dict[str, Any]:
    """Score a split's test part with the model in `folder`, as it was written; see `evaluate`."""
    trained = load_model(folder)
    trained.model.to(device)
    batch_size = int(trained.training["recipe"]["batch_size"])
    return evaluate(trained, split, batch_size=batch_size, model_name=folder.name)


def remove_checkpoints(folder: Path) -> None:
    """Remove what resuming a finished run would need."""
    remove_checkpoint(folder / VALIDATED)
    remove_checkpoint(folder)


def read_resumable(folder: Path) -> tuple[TrainingSettings, TrainingRequest | None]:
    """Read how an interrupted run was started.

    Returns:
        Its recipe, and what was asked for; None where no command started it.

    Raises:
        RunError: there is nothing to resume.
    """
    where = folder if has_checkpoint(folder) else folder / VALIDATED
    record = read_checkpoint(where if has_checkpoint(where) else folder).record
    try:
        settings = from_json(TrainingSettings, record["settings"])
        source = record["source"]
        request = from_json(TrainingRequest, source) if source else None
        first_of_two = settings.refit and record["data"]["validation_clips"] > 0
    except (SettingsError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder}: its checkpoint is not usable ({error}); start a new run"
        ) from None
    if first_of_two and has_checkpoint(folder):
        raise RunError(
            f"{folder}: is the first of two runs; go on with both: --resume {folder.parent}"
        )
    return settings, request


def _holds_out_like(trained: TrainedModel, settings: TrainingSettings) -> bool:
    """Tell whether a run held out the clips that these settings hold out."""
    its = trained.training["recipe"]
    names = ("seed", "validation_fraction")
    held_out = trained.data["validation_clips"] > 0
    return held_out and all(its[name] == getattr(settings, name) for name in names)
