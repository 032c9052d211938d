"""What a run may begin with: a start model, teachers, its own earlier state. Layer 6."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from earmark.artifact import TrainedModel
from earmark.data.splits import Split
from earmark.errors import RunError
from earmark.model import LSTMClassifier
from earmark.training.state import ResumeState

NO_PART_FOR_TEACHER = "the recipe gives a teacher no part; set --teacher, to 0.7 for instance"


def refuse_other_data(state: ResumeState, split: Split, folder: Path) -> None:
    """Refuse to resume on other data than the run began with.

    Raises:
        RunError: the split's fingerprint has changed.
    """
    before = state.record["data"]["fingerprint"]
    if before != split.fingerprint:
        raise RunError(
            f"{folder}: was started on other data than split {split.index} now holds; "
            "prepare that dataset again or start a new run"
        )


def refuse_teacher(teacher: TrainedModel, split: Split) -> None:
    """Refuse a teacher that hears or names otherwise, or may have heard the test part.

    Raises:
        RunError: with the reason.
    """
    if (teacher.front_end, teacher.classes) != (split.front_end, split.classes):
        raise RunError("the teacher has another front end or other classes than the data")
    learnt = teacher.data.get("fingerprint"), teacher.data.get("split_index")
    if learnt != (split.fingerprint, split.index):
        raise RunError(
            "the teacher was trained on other data or another split, and may have heard the "
            "clips that are held out here"
        )


def take_weights(model: LSTMClassifier, start: LSTMClassifier) -> None:
    """Copy everything but the last layer, which names the classes.

    Raises:
        RunError: the two differ in shape.
    """
    wanted = dataclasses.replace(start.settings, num_classes=1, dropout=0.0)
    if wanted != dataclasses.replace(model.settings, num_classes=1, dropout=0.0):
        raise RunError("the model to start from has another shape than the recipe")
    last = f"head.{len(model.head) - 1}."
    taken = {name: t for name, t in start.state_dict().items() if not name.startswith(last)}
    model.load_state_dict(taken, strict=False)
