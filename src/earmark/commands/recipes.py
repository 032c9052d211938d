"""Flags that choose a recipe and the model it starts from, for several commands."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earmark.config.recipes import Recipe, read_recipe

if TYPE_CHECKING:
    from earmark.data.prepare import DatasetRequest
    from earmark.model_directory import TrainedModel

OWN_SOUNDS = (
    "finetune, or short where the middle clip is under a second; documented where settings of a "
    "network or of its schedule are given"
)


def add_recipe(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--recipe` and `--init`.

    Args:
        parser: where to add them.
        default: which recipe is taken where none is named, in words.
    """
    parser.add_argument(
        "--recipe", metavar="NAME", help=f"named recipe, or a .toml file ({default})"
    )
    parser.add_argument(
        "--init",
        metavar="MODEL",
        help="start from the weights of this model directory, or of a model of the package "
        "(the words base and esc10), with a new last layer; which is all that is trained where "
        "the recipe is frozen",
    )


def chosen_recipe(
    args: argparse.Namespace,
    dataset: DatasetRequest | None,
    given: Mapping[str, Any],
    *,
    otherwise: str = "documented",
) -> Recipe:
    """Return the recipe that the flags name, or that suits the dataset; say which it is then.

    Args:
        args: with those of `add_recipe`.
        dataset: what is trained on; None: split files, for which nothing is chosen.
        given: settings that were given as flags.
        otherwise: the recipe where nothing is to be chosen.

    Raises:
        SettingsError: there is no such recipe, or a value is out of range.
        DatasetError: there is no such dataset.
    """
    recipe = _begun(read_recipe(args.recipe or otherwise), args.init)
    if dataset is None or (args.recipe and not recipe.follow_clips):
        return recipe.replace(given)
    from earmark.data.prepare import survey_dataset
    from earmark.training.choice import (
        FINETUNE,
        OF_LAST_LAYER,
        SHORT,
        choose_recipe,
        describe_choice,
        fit_to_clips,
    )

    replaced = recipe.replace(given)  # a value out of range is refused before anything is read
    if not args.recipe and not given.keys() <= OF_LAST_LAYER:
        return replaced
    survey = survey_dataset(dataset)
    if not args.recipe:
        name = choose_recipe(survey, given, otherwise)
        if args.init is not None and name == SHORT:  # which is a network of its own
            name = FINETUNE
        recipe = _begun(read_recipe(name), args.init)
    recipe = fit_to_clips(recipe, survey).replace(given)
    if not args.recipe and recipe.name != otherwise:
        print(describe_choice(recipe, survey), flush=True)
    return recipe


def _begun(recipe: Recipe, init: str | None) -> Recipe:
    """Return the recipe with the model to start from that a flag names, if it was given."""
    return recipe if init is None else dataclasses.replace(recipe, init=init or ".")


def load_start(recipe: Recipe, given: Mapping[str, Any]) -> tuple[Recipe, TrainedModel | None]:
    """Return the recipe with the shape of the model that it starts from, and that model.

    Raises:
        EarmarkError: there is no such model, it does not fit, or one is needed and none is named.
    """
    if not recipe.init and not recipe.training.frozen:
        return recipe, None
    from earmark.training.start import load_start as load
    from earmark.training.start import take_shape

    start = load(recipe)
    return (take_shape(recipe, start, given) if start else recipe), start
