"""What a run may begin with: a start model, teachers, its own checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from earmark.config import FrontEndSettings, ModelSettings, TrainingSettings, from_json
from earmark.config.recipes import NETWORK_NAMES, Recipe
from earmark.data.splits import Split
from earmark.errors import RunError, SettingsError
from earmark.evaluation.report import seen_in_training
from earmark.model_directory import TrainedModel, load_model, model_folder
from earmark.nn.classifier import LSTMClassifier
from earmark.training.checkpoint import Checkpoint

_NO_PART_FOR_TEACHER = "the recipe gives a teacher no part; set --teacher, to 0.7 for instance"
_OTHERS_HELD_OUT = (
    "{folder}: was started with other clips held out for validation; the source recordings of the "
    "clips, their group, were given otherwise then; start a new run"
)
_OTHER = (
    "{folder}: was started on other data, or on other features of it, than split {index} now "
    "holds; prepare that dataset again or start a new run"
)


def refuse_other_data(checkpoint: Checkpoint, split: Split, folder: Path, held_out: str) -> None:
    """Refuse to resume on other data, or on other features of it, than the run began with.

    Args:
        checkpoint: what the run left.
        split: what it is to go on with.
        folder: its folder, for the message.
        held_out: digest of the clips that would be held out for validation now.

    Raises:
        RunError: the split's fingerprint or front end has changed, or what is held out.
    """
    data, front_end = checkpoint.record["data"], split.front_end
    if "front_end" in checkpoint.record:
        values = checkpoint.record["front_end"]
        front_end = None if values is None else from_json(FrontEndSettings, values)
    if data["fingerprint"] != split.fingerprint or front_end != split.front_end:
        raise RunError(_OTHER.format(folder=folder, index=split.index))
    if checkpoint.record.get("held_out", held_out) != held_out:
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


def load_start(recipe: Recipe) -> TrainedModel | None:
    """Return the model that a recipe starts from; None where it starts from nothing.

    Raises:
        ModelError: there is no such model.
        RunError: only its last layer is to be trained, and there is no model to start from.
    """
    if recipe.init:
        return load_model(model_folder(recipe.init))
    if recipe.training.frozen:
        raise RunError(
            "frozen needs a model to start from, as its network is taken as it is; give one with "
            "--init, or set --no_frozen"
        )
    return None


def take_shape(recipe: Recipe, start: TrainedModel, given: Iterable[str] = ()) -> Recipe:
    """Return the recipe with the front end and the network of the model to start from.

    Args:
        recipe: the recipe; its `init` names the model, for messages.
        start: the model.
        given: settings that were asked for by name.

    Raises:
        RunError: the model was not trained on audio.
        SettingsError: a setting that the model has its own of was asked for.
    """
    if start.front_end is None:
        raise RunError(f"--init {recipe.init}: was trained on ready-made features, not on audio")
    if wrong := [name for name in NETWORK_NAMES if name in given and name != "dropout"]:
        raise SettingsError(
            f"--init takes the shape of {recipe.init}; leave out "
            f"{', '.join('--' + name for name in wrong)}"
        )
    network = dataclasses.replace(
        start.model.settings.network, dropout=recipe.training.network.dropout
    )
    training = dataclasses.replace(recipe.training, network=network)
    return dataclasses.replace(
        recipe, front_end=start.front_end, training=training, follow_clips=False
    )


def check_batch_size(settings: TrainingSettings, processes: int) -> None:
    """Refuse a batch that does not divide among processes and sequences.

    Raises:
        RunError: with a size that does.
    """
    share = processes * settings.clips_per_sequence
    if settings.batch_size % share:
        raise RunError(
            f"batch_size {settings.batch_size} does not divide among {processes} processes; "
            f"use a multiple of {share}"
        )


def count_steps(settings: TrainingSettings, clips: int) -> int:
    """Return the steps of an epoch.

    Raises:
        RunError: the batch is larger than an epoch.
    """
    steps = clips * settings.crops_per_clip // settings.batch_size
    if steps == 0:
        raise RunError(
            f"batch_size {settings.batch_size} is more than the {clips} training clips "
            f"times {settings.crops_per_clip} crops; use a smaller one"
        )
    return steps


def check_teachers(
    teachers: Sequence[TrainedModel], split: Split, settings: TrainingSettings
) -> None:
    """Refuse teachers that do not fit, that the recipe does not ask for, or that are missing.

    Raises:
        RunError: with the reason.
    """
    for teacher in teachers:
        refuse_teacher(teacher, split)
    if teachers and not settings.teacher:
        raise RunError(_NO_PART_FOR_TEACHER)
    if settings.teacher and not teachers:
        raise RunError("a recipe with a teacher needs one; give its run, or set --teacher 0")


def refuse_teacher(teacher: TrainedModel, split: Split) -> None:
    """Refuse a teacher of another front end or other classes, or that may know the test part.

    Raises:
        RunError: with the reason.
    """
    if (teacher.front_end, teacher.classes) != (split.front_end, split.classes):
        raise RunError("the teacher has another front end or other classes than the data")
    if not _learnt_from(teacher, split) or seen_in_training(teacher.data, split):
        raise RunError(
            "the teacher was trained on other data or another split, and may have learnt from the "
            "clips that are held out here"
        )


def _learnt_from(trained: TrainedModel, split: Split) -> bool:
    """Tell whether a model was trained on the training part of this very split."""
    its = trained.data.get("fingerprint"), trained.data.get("split_index")
    same = its == (split.fingerprint, split.index)
    return same and (trained.front_end, trained.classes) == (split.front_end, split.classes)


def take_weights(model: LSTMClassifier, start: LSTMClassifier) -> None:
    """Copy everything but the last layer and the similarity, which are of the classes.

    Raises:
        RunError: the two differ in shape.
    """
    if _shape(start) != _shape(model):
        raise RunError("the model to start from has another shape than the recipe")
    left = (f"head.{len(model.head) - 1}.", "similarity.")
    taken = {name: t for name, t in start.state_dict().items() if not name.startswith(left)}
    model.load_state_dict(taken, strict=False)


def _shape(model: LSTMClassifier) -> ModelSettings:
    """Return what of a model's settings gives its weights their shape, but for the classes."""
    network = dataclasses.replace(model.settings.network, dropout=0.0)
    return dataclasses.replace(model.settings, num_classes=1, network=network, prototypes=())
