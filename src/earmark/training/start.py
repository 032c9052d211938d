"""What a run may begin with: a start model, teachers, its own earlier state."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from earmark.config import FrontEndSettings, ModelSettings, from_json, to_json
from earmark.data.splits import Split
from earmark.errors import RunError
from earmark.evaluation.report import seen_in_training
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.training.checkpoint import Checkpoint

NO_PART_FOR_TEACHER = "the recipe gives a teacher no part; set --teacher, to 0.7 for instance"
_OTHERS_HELD_OUT = (
    "{folder}: was started with other clips held out for validation; the source recordings of the "
    "clips, their group, were given otherwise then; start a new run"
)
_OTHER = (
    "{folder}: was started on other data, or on other features of it, than split {index} now "
    "holds; prepare that dataset again or start a new run"
)


def refuse_other_data(state: Checkpoint, split: Split, folder: Path, held_out: str) -> None:
    """Refuse to resume on other data, or on other features of it, than the run began with.

    Args:
        state: what the run left.
        split: what it is to go on with.
        folder: its folder, for the message.
        held_out: digest of the clips that would be held out for validation now.

    Raises:
        RunError: the split's fingerprint or front end has changed, or what is held out.
    """
    data, front_end = state.record["data"], split.front_end
    if "front_end" in state.record:
        values = state.record["front_end"]
        front_end = None if values is None else from_json(FrontEndSettings, values)
    if data["fingerprint"] != split.fingerprint or front_end != split.front_end:
        raise RunError(_OTHER.format(folder=folder, index=split.index))
    if state.record.get("held_out", held_out) != held_out:
        raise RunError(_OTHERS_HELD_OUT.format(folder=folder))


def refuse_other_model(trained: TrainedModel, split: Split, folder: Path) -> None:
    """Refuse to go on from a finished run of other data, or of other features of it.

    For a split of all clips, which tests nothing, a run on any split of them will do.

    Raises:
        RunError: fingerprint, split, front end or classes are not those of the split.
    """
    index = trained.data.get("split_index", split.index) if split.index < 0 else split.index
    if not _learnt_from(trained, dataclasses.replace(split, index=index)):
        raise RunError(_OTHER.format(folder=folder, index=split.index))


def refuse_teacher(teacher: TrainedModel, split: Split) -> None:
    """Refuse a teacher that hears or names otherwise, or may have heard the test part.

    Raises:
        RunError: with the reason.
    """
    if (teacher.front_end, teacher.classes) != (split.front_end, split.classes):
        raise RunError("the teacher has another front end or other classes than the data")
    if not _learnt_from(teacher, split) or seen_in_training(teacher.data, split):
        raise RunError(
            "the teacher was trained on other data or another split, and may have heard the "
            "clips that are held out here"
        )


def _learnt_from(trained: TrainedModel, split: Split) -> bool:
    """Tell whether a model was trained on the training part of this very split."""
    heard = trained.data.get("fingerprint"), trained.data.get("split_index")
    same = heard == (split.fingerprint, split.index)
    return same and (trained.front_end, trained.classes) == (split.front_end, split.classes)


def front_end_record(split: Split) -> dict[str, Any] | None:
    """Return the front end as a checkpoint records it."""
    return to_json(split.front_end) if split.front_end else None


def take_weights(model: LSTMClassifier, start: LSTMClassifier) -> None:
    """Copy everything but the last layer, which names the classes.

    Raises:
        RunError: the two differ in shape.
    """
    if _shape(start) != _shape(model):
        raise RunError("the model to start from has another shape than the recipe")
    last = f"head.{len(model.head) - 1}."
    taken = {name: t for name, t in start.state_dict().items() if not name.startswith(last)}
    model.load_state_dict(taken, strict=False)


def _shape(model: LSTMClassifier) -> ModelSettings:
    """Return what of a model's settings gives its weights their shape, but for the classes."""
    settings = model.settings
    return dataclasses.replace(
        settings, num_classes=1, network=dataclasses.replace(settings.network, dropout=0.0)
    )
