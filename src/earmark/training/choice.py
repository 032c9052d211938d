"""Which recipe trains on own clips where none is named, and a recipe that follows its clips.

Clips of a second or more suit the base: it has heard a whole world of sounds, but it answers in
steps of 320 ms. In a shorter clip order in time counts, which such steps do not show: there a
network of steps of 30 ms learns from the clips alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from earmark import bundled
from earmark.config import FrontEndSettings
from earmark.config.recipes import Recipe
from earmark.data.survey import Survey
from earmark.model_directory import MANIFEST

FINETUNE, SHORT = "finetune", "short"
SHORT_SECONDS = 1.0  # three steps of the base
# Settings that a recipe which trains the last layer only makes use of.
OF_LAST_LAYER = frozenset(
    [
        "seed",
        "frozen",
        "head_strength",
        "validation_fraction",
        "negatives_probability",
        "label_smoothing",
        "balance",
        "batch_size",
    ]
)
_LOWEST_RATE = 8_000
_SHIFT = 0.15  # of the crop, largest either way


def choose_recipe(survey: Survey | None, given: Iterable[str], otherwise: str) -> str:
    """Return the name of the recipe for a dataset, where none was asked for.

    Args:
        survey: of its clips.
        given: settings that were asked for by name.
        otherwise: the recipe where one of these means that a network is trained, or where the
            package comes without its base.
    """
    if not set(given) <= OF_LAST_LAYER:
        return otherwise
    if survey is not None and survey.median_seconds < SHORT_SECONDS:
        return SHORT
    has_base = (bundled.FOLDERS[bundled.BASE] / MANIFEST).is_file()
    return FINETUNE if has_base else otherwise


def fit_to_clips(recipe: Recipe, survey: Survey | None) -> Recipe:
    """Return a recipe that follows its clips with their sample rate and length in it.

    The rate is at most the recipe's, and transform, window and hop keep their length in time. A
    crop is as long as 95 of 100 clips are at most, and a clip is moved within it by up to 0.15 of
    that.
    """
    if survey is None or not recipe.follow_clips:
        return recipe
    front_end = _lower(recipe.front_end, survey.sample_rate)
    training = dataclasses.replace(
        recipe.training,
        clip_seconds=round(survey.long_seconds, 2),
        max_shift_seconds=round(_SHIFT * survey.long_seconds, 3),
    )
    return dataclasses.replace(recipe, front_end=front_end, training=training)


def describe_choice(recipe: Recipe, survey: Survey | None) -> str:
    """Say in a line which recipe was chosen, and by what."""
    seen = f"clips of {survey.median_seconds:.2f} s in the middle" if survey else "these clips"
    why = f"starts from the model {recipe.init}" if recipe.init else "learns from the clips alone"
    return f"recipe {recipe.name}, for {seen}: {why}; --recipe names another"


def _lower(front_end: FrontEndSettings, sample_rate: int) -> FrontEndSettings:
    """Return a front end at a lower rate; as it is where the clips have its rate or more."""
    rate = max(sample_rate, _LOWEST_RATE)
    if rate >= front_end.sample_rate:
        return front_end
    share = rate / front_end.sample_rate
    return dataclasses.replace(
        front_end,
        sample_rate=rate,
        n_fft=round(front_end.n_fft * share),
        win_length=round(front_end.win_length * share),
        hop_length=round(front_end.hop_length * share),
        high_hz=min(front_end.high_hz, rate / 2),
    )
