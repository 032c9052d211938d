"""What the record of a model says about its training and its data."""

from __future__ import annotations

from typing import Any

import accelerate

from earmark.config import TrainingSettings, to_json
from earmark.data.splits import ClipSet, Split
from earmark.model_directory import TrainedModel
from earmark.training.stopping import Progress
from earmark.training.validation import TrainingParts

CHOSEN_BY = (
    "lowest loss of the averaged weights on validation clips carved out of the training part "
    "by source recording"
)
NOT_CHOSEN = (
    "none: the last of the whole schedule, on all training clips; calibration is that of the run "
    "before, with validation clips held out"
)


def describe_data(split: Split, parts: TrainingParts, start: TrainedModel | None) -> dict[str, Any]:
    """Return what a model's record says about the data it was trained on."""
    before = {"started_from": dict(start.data)} if start else {}
    return {
        "dataset": split.dataset,
        "synthetic": split.synthetic,
        "split_index": split.index,
        "test_fold": split.test_fold,
        "fingerprint": split.fingerprint,
        "training_clips": len(parts.fitted),
        "validation_clips": len(parts.validation or ()),
        "training_negatives": _count_negatives(parts.fitted),
        "validation_negatives": _count_negatives(parts.validation),
        **before,
    }


def front_end_record(split: Split) -> dict[str, Any] | None:
    """Return the front end as a checkpoint records it."""
    return to_json(split.front_end) if split.front_end else None


def describe_training(
    settings: TrainingSettings,
    progress: Progress,
    accelerator: accelerate.Accelerator,
    *,
    finished: bool,
    validated: TrainedModel | None,
    start: TrainedModel | None,
) -> dict[str, Any]:
    """Return what a model's record says about how it was trained.

    Args:
        settings: the recipe.
        progress: where the training stands.
        accelerator: what it runs on.
        finished: it reached its end.
        validated: what the run before it gave, which held clips out; then this one held none out.
        start: the model it started from.
    """
    best = progress.history[progress.best_epoch - 1]
    return {
        "recipe": to_json(settings),
        "seed": settings.seed,
        "finished": finished,
        "epochs": progress.epochs_done,
        "stopped": progress.stopped or ("all epochs done" if finished else "still training"),
        "epoch": progress.best_epoch,
        "epoch_chosen_by": NOT_CHOSEN if validated else CHOSEN_BY,
        "started_from": start.fingerprint if start else None,
        "validation_accuracy": best["validation_accuracy"],
        "validation_loss": best["validation_loss"],
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "precision": str(accelerator.mixed_precision),
        "seconds": round(sum(row["seconds"] for row in progress.history), 3),
        "validated": dict(validated.training) if validated else None,
    }


def _count_negatives(clips: ClipSet | None) -> int:
    return 0 if clips is None else len(clips) - int(clips.of_class.sum())
