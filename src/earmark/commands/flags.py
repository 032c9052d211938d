"""Flags and choices that several commands share."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.config import EventSettings, NetworkSettings, TrainingSettings
from earmark.errors import RunError, SettingsError
from earmark.io.files import parse_json

if TYPE_CHECKING:
    import accelerate

    from earmark.classifier import Classifier


def add_cuda(parser: argparse.ArgumentParser) -> None:
    """Add `--cuda`."""
    parser.add_argument(
        "--cuda", action="store_true", help="use CUDA if it is available, else say so and go on"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add `--model_dir`, also called `--model`."""
    parser.add_argument(
        "--model_dir",
        "--model",
        metavar="DIR",
        help="a run of training, or a file of earmark export, or one of the words base and esc10, "
        "models of the package (base)",
    )


def add_restriction(parser: argparse.ArgumentParser, *, calibration: bool = True) -> None:
    """Add `--classes`, `--closed_set` and, unless it is not wanted, `--calibration`."""
    parser.add_argument(
        "--classes",
        action="append",
        metavar="NAMES",
        help="the only classes to answer with, with commas between them (all of the model); may be "
        "given again. Other sounds are none of these",
    )
    parser.add_argument(
        "--closed_set",
        action="store_true",
        help="with --classes: nothing else sounds here, so scores are divided by their sum; other "
        "sounds then get one of these names more often",
    )
    if calibration:
        parser.add_argument(
            "--calibration",
            metavar="FILE",
            help="thresholds that earmark calibrate wrote, in place of the model's own",
        )


def load_classifier(args: argparse.Namespace) -> Classifier:
    """Load the model that the flags of `add_model` and `add_restriction` name.

    Raises:
        EarmarkError: there is no such model, class or calibration.
    """
    from earmark.classifier import Classifier

    cuda = getattr(args, "cuda", False)
    closed_set = getattr(args, "closed_set", False)
    asked = getattr(args, "classes", None)
    refuse_closed_set_alone(args)
    classifier = Classifier.load(args.model_dir, choose_device(cuda))
    calibration = getattr(args, "calibration", None)
    if not asked and calibration is None:
        return classifier
    return Classifier.load(
        args.model_dir,
        choose_device(cuda),
        calibration=calibration,
        classes=split_names(asked, classifier.classes) if asked else None,
        closed_set=closed_set,
    )


def refuse_closed_set_alone(args: argparse.Namespace) -> None:
    """Refuse `--closed_set` without the classes of the set.

    Raises:
        SettingsError: so it is.
    """
    if getattr(args, "closed_set", False) and not getattr(args, "classes", None):
        raise SettingsError("--closed_set needs --classes")


def split_names(given: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Cut texts at their commas, but for one that is the name of a class as it is."""
    names: list[str] = []
    for text in given:
        parts = [text] if text in classes else text.split(",")
        names += [part.strip() for part in parts if part.strip()]
    return names


def add_splits_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--splits_dir`."""
    parser.add_argument(
        "--splits_dir",
        metavar="DIR",
        help="folder of the split files (splits here, else beside the script)",
    )


def add_cache_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--cache_dir`."""
    parser.add_argument(
        "--cache_dir",
        metavar="DIR",
        help="folder of the cache of features (that in the variable EARMARK_CACHE, else where the "
        "system keeps caches; earmark cache shows it)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add `--precision`."""
    parser.add_argument("--precision", choices=("no", "fp16", "bf16"), help="mixed precision (no)")


def choose_device(cuda: bool) -> str:
    """Return the device to use; say so on stderr when CUDA was asked for and is missing."""
    if not cuda:
        return "cpu"
    try:
        import torch
    except ModuleNotFoundError:
        print(
            "CUDA needs torch (pip install earmark[train]); going on with the CPU", file=sys.stderr
        )
        return "cpu"
    if not torch.cuda.is_available():
        print("CUDA is not available; going on with the CPU", file=sys.stderr)
        return "cpu"
    return "cuda"


def splits_folder(given: str | None, beside: Path | None) -> Path:
    """Choose the folder of splits: the one given, `splits` here, or `splits` beside the scripts."""
    here = Path("splits")
    if given is not None:
        return Path(given)
    if not here.is_dir() and beside is not None and (beside / "splits").is_dir():
        return beside / "splits"
    return here


def add_settings(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, names: Sequence[str]
) -> None:
    """Add the flags of these settings of a recipe."""
    fields = {field.name: field for field in _recipe_fields()}
    for name in names:
        _add_setting(parser, fields[name])


def add_other_settings(parser: argparse.ArgumentParser, without: Sequence[str]) -> None:
    """Add a group of flags for every setting of a recipe but these."""
    group = parser.add_argument_group(
        "settings of the recipe", "in brackets the documented defaults; a recipe has its own"
    )
    names = [field.name for field in _recipe_fields()]
    add_settings(group, [name for name in names if name not in without])


def _recipe_fields() -> list[dataclasses.Field[Any]]:
    """Return the settings of a recipe that have flags: the network's and the training's."""
    training = [field for field in dataclasses.fields(TrainingSettings) if field.name != "network"]
    return [*dataclasses.fields(NetworkSettings), *training]


def _add_setting(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, field: dataclasses.Field[Any]
) -> None:
    """Add the flag of one setting of the recipe."""
    text = str(field.metadata["help"]).replace("%", "%%")
    if isinstance(field.default, tuple):
        parser.add_argument(
            f"--{field.name}", type=_list, metavar="JSON", help=f"{text} (none)", default=None
        )
    elif isinstance(field.default, bool):
        parser.add_argument(f"--{field.name}", action="store_true", default=None, help=text)
        parser.add_argument(
            f"--no_{field.name}", dest=field.name, action="store_false", help="the opposite"
        )
    else:
        kind = type(field.default)
        parser.add_argument(
            f"--{field.name}",
            type=kind,
            metavar=kind.__name__.upper(),
            help=f"{text} ({field.default})",
        )


def _list(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list in JSON, see its help") from None


def add_event_settings(parser: argparse.ArgumentParser, *, threshold: bool = True) -> None:
    """Add a group of flags for how scores become events; the threshold may be left out."""
    group = parser.add_argument_group("settings of events")
    for field in dataclasses.fields(EventSettings):
        if threshold or field.name != "threshold":
            _add_setting(group, field)


def event_settings(args: argparse.Namespace) -> EventSettings:
    """Return the settings of events, with those that were given as flags."""
    names = [field.name for field in dataclasses.fields(EventSettings)]
    given = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    return dataclasses.replace(EventSettings(), **given)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the recipe that were given as flags."""
    names = [field.name for field in _recipe_fields()]
    return {name: v for name in names if (v := getattr(args, name, None)) is not None}


def accelerator_for(cuda: bool, precision: str | None) -> accelerate.Accelerator:
    """Set up device, precision and processes; say so when CUDA is missing."""
    import accelerate
    import torch

    there = cuda and torch.cuda.is_available()
    try:
        accelerator = accelerate.Accelerator(cpu=not there, mixed_precision=precision)
    except ValueError as error:
        raise RunError(f"--precision {precision}: {error}") from None
    if cuda and not there:
        accelerator.print("CUDA is not available; going on with the CPU")
    return accelerator
