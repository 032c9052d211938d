"""A whole training: with validation, and, where the recipe says so, once more on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import accelerate

from earmark.config import TrainingSettings, from_json
from earmark.data.splits import Split
from earmark.errors import RunError, SettingsError
from earmark.evaluation.report import evaluate
from earmark.model_directory import MANIFEST, TrainedModel, load_model
from earmark.training.checkpoint import has_checkpoint, read_checkpoint, remove_checkpoint
from earmark.training.loop import Run
from earmark.training.start import refuse_other_data, refuse_other_model

VALIDATED = "validated"  # folder of the run that held clips out, inside the run that did not


def fit(
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    folder: Path,
    *,
    source: Mapping[str, Any] | None = None,
    start: TrainedModel | None = None,
    teachers: Sequence[Path] = (),
    validated: Path | None = None,
    show_progress: bool = True,
) -> TrainedModel:
    """Train a model into `folder`, going on from whatever an interrupted call left there.

    Args:
        split: what to train on; only its training part is used.
        settings: the recipe. With `refit`, a run with validation clips held out comes first, in
            `folder / "validated"`, and gives its calibration to the run on all clips.
        accelerator: carries device, precision and processes.
        folder: the run's folder.
        source: what the record should say about where the split came from.
        start: a trained model to start from.
        teachers: folders of runs on the same split. Where clips are held out, only those teach
            that held out the same ones, with the model that did not hear them.
        validated: folder of a finished run on the same split with clips held out; with `refit` its
            calibration is taken, and no such run is made here.
        show_progress: see `Run`.

    Returns:
        The trained model, which the folder holds too. The checkpoint stands until the caller
        has what it wants of the run and calls `end`.

    Raises:
        SettingsError, DatasetError, RunError, OSError: see `Run`.
    """

    def taught_by(held_out: bool) -> list[TrainedModel]:
        if not held_out:
            return [load_model(teacher) for teacher in teachers]
        return select_teachers(teachers, settings)

    def run(where: Path, before: TrainedModel | None) -> TrainedModel:
        training = Run(
            split,
            settings,
            accelerator,
            source=source,
            validated=before,
            start=start,
            teachers=taught_by(before is None),
            show_progress=show_progress,
        )
        if has_checkpoint(where):
            state = read_checkpoint(where)
            refuse_other_data(state, split, where, training.held_out)
            training.resume(state)
        if show_progress:
            accelerator.print(training.description())
        trained = training.train(where)
        training.release()
        return trained

    if not settings.refit:
        return run(folder, None)
    before = finished(validated or folder / VALIDATED)
    if before is None and validated:
        raise RunError(f"{validated}: holds no finished run")
    if before:
        refuse_other_model(before, split, folder)
    before = before or run(folder / VALIDATED, None)
    accelerator.wait_for_everyone()
    return run(folder, before)


def select_teachers(teachers: Sequence[Path], settings: TrainingSettings) -> list[TrainedModel]:
    """Return the teachers that did not hear the clips that these settings hold out.

    Raises:
        RunError: there are teachers, but none such.
    """
    firsts = [teacher / VALIDATED for teacher in teachers]
    folders = [f if f.is_dir() else t for f, t in zip(firsts, teachers, strict=True)]
    deaf = [t for t in map(load_model, folders) if _holds_out_like(t, settings)]
    if teachers and not deaf:
        raise RunError(
            "no teacher held out the same clips for validation; a run that holds clips out with "
            f"--seed {settings.seed} and --validation_fraction {settings.validation_fraction} would"
        )
    return deaf


def finished(folder: Path) -> TrainedModel | None:
    """Return the model of a run that reached its end, else None."""
    trained = load_model(folder) if (folder / MANIFEST).is_file() else None
    return trained if trained and trained.training.get("finished") else None


def _holds_out_like(trained: TrainedModel, settings: TrainingSettings) -> bool:
    """Tell whether a run held out the clips that these settings hold out."""
    its = trained.training["recipe"]
    names = ("seed", "validation_fraction")
    held_out = trained.data["validation_clips"] > 0
    return held_out and all(its[n] == getattr(settings, n) for n in names)


def tested(folder: Path, split: Split, device: str = "cpu") -> dict[str, Any]:
    """Score a split's test part with the model in `folder`, as it was written; see `evaluate`."""
    trained = load_model(folder)
    trained.model.to(device)
    batch_size = int(trained.training["recipe"]["batch_size"])
    return evaluate(trained, split, batch_size=batch_size, model_name=folder.name)


def end(folder: Path) -> None:
    """Remove what resuming a finished run would need."""
    remove_checkpoint(folder / VALIDATED)
    remove_checkpoint(folder)


def resumable(folder: Path) -> tuple[TrainingSettings, dict[str, Any]]:
    """Read how an interrupted run was started.

    Returns:
        Its recipe, and what it recorded as its source.

    Raises:
        RunError: there is nothing to resume.
    """
    where = folder if has_checkpoint(folder) else folder / VALIDATED
    state = read_checkpoint(where if has_checkpoint(where) else folder)
    try:
        settings = from_json(TrainingSettings, state.record["settings"])
        source = dict(state.record["source"])
        first_of_two = settings.refit and state.record["data"]["validation_clips"] > 0
    except (SettingsError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder}: its checkpoint is not usable ({error}); start a new run"
        ) from None
    if first_of_two and has_checkpoint(folder):
        raise RunError(
            f"{folder}: is the first of two runs; go on with both: --resume {folder.parent}"
        )
    return settings, source
