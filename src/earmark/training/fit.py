"""A whole training: with validation, and, where the recipe says so, once more on all. Layer 6."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate

from earmark.artifact import MANIFEST, TrainedModel, load_model
from earmark.data.splits import Split
from earmark.errors import RunError
from earmark.evaluation.results import evaluate
from earmark.settings import TrainingSettings, from_json
from earmark.training.loop import Run, refuse_other_data
from earmark.training.state import has_state, read_state, remove_state

VALIDATED = "validated"  # folder of the run that held clips out, inside the run that did not


def fit(
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    folder: Path,
    *,
    source: Mapping[str, Any] | None = None,
    start: TrainedModel | None = None,
    teacher: Path | None = None,
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
        teacher: folder of a run on the same split. Where clips are held out, the model is used
            that did not hear them either: the one in its `validated`, when it has that.
        show_progress: see `Run`.

    Returns:
        The trained model, which the folder holds too. The resume state stands until the caller
        has what it wants of the run and calls `end`.

    Raises:
        SettingsError, DatasetError, RunError, OSError: see `Run`.
    """

    def taught_by(validated: TrainedModel | None) -> TrainedModel | None:
        if teacher is None:
            return None
        first = teacher / VALIDATED
        return load_model(first if validated is None and first.is_dir() else teacher)

    def run(where: Path, validated: TrainedModel | None) -> TrainedModel:
        training = Run(
            split,
            settings,
            accelerator,
            source=source,
            validated=validated,
            start=start,
            teacher=taught_by(validated),
            show_progress=show_progress,
        )
        if has_state(where):
            state = read_state(where)
            refuse_other_data(state, split, where)
            training.resume(state)
        if show_progress:
            accelerator.print(training.description())
        trained = training.train(where)
        training.release()
        return trained

    if not settings.refit:
        return run(folder, None)
    validated = _finished(folder / VALIDATED) or run(folder / VALIDATED, None)
    accelerator.wait_for_everyone()
    return run(folder, validated)


def _finished(folder: Path) -> TrainedModel | None:
    """Return the model of a run that reached its end, else None."""
    trained = load_model(folder) if (folder / MANIFEST).is_file() else None
    return trained if trained and trained.training.get("finished") else None


def tested(folder: Path, split: Split, device: str = "cpu") -> dict[str, Any]:
    """Score a split's test part with the model in `folder`, as it was written; see `evaluate`."""
    trained = load_model(folder)
    trained.model.to(device)
    batch_size = int(trained.training["recipe"]["batch_size"])
    return evaluate(trained, split, batch_size=batch_size, model_name=folder.name)


def end(folder: Path) -> None:
    """Remove what resuming a finished run would need."""
    remove_state(folder / VALIDATED)
    remove_state(folder)


def resumable(folder: Path) -> tuple[TrainingSettings, dict[str, Any]]:
    """Read how an interrupted run was started.

    Returns:
        Its recipe, and what it recorded as its source.

    Raises:
        RunError: there is nothing to resume.
    """
    where = folder if has_state(folder) else folder / VALIDATED
    state = read_state(where if has_state(where) else folder)
    try:
        settings = from_json(TrainingSettings, state.record["settings"])
        return settings, dict(state.record["source"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder}: its resume state is not usable ({error}); start a new run"
        ) from None
