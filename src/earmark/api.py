"""Loading, training and cross-validation in one call each; torch is imported by those that need it.

The command line has more choices: held-out folds, resuming, several teachers, precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.classifier import Classifier
from earmark.config import Calibration
from earmark.config.recipes import Recipe, read_recipe
from earmark.errors import DatasetError, SettingsError
from earmark.io.files import refuse_unwritable

if TYPE_CHECKING:
    from earmark.data.cache.store import FeatureCache
    from earmark.data.dataset import FeatureDataset
    from earmark.model_directory import TrainedModel

DEFAULT_RECIPE = "fast"


def load(
    name_or_path: str | Path | None = None,
    device: str = "cpu",
    *,
    calibration: Calibration | str | Path | None = None,
    classes: Sequence[str] | None = None,
    closed_set: bool = False,
) -> Classifier:
    """Load a model.

    Args:
        name_or_path: None or "base" for the model of fifty classes in the package, "esc10" for
            the one of ten, a file that `earmark export` wrote, or a model directory.
        device: a device of torch's; all but the CPU need torch, and so does a directory.
        calibration: takes the place of the model's own, or a file that holds one.
        classes: the only ones to answer with; what the model gives to others is given to none of
            these. None: all.
        closed_set: nothing but these classes sounds, so that their scores sum to 1.

    Raises:
        ModelError: there is no such model or calibration, or they are not usable.
        SettingsError: the model does not have one of the classes, or none was named.

    Example:
        >>> earmark.load().predict("dog.wav").label
        'Dog'
    """
    return Classifier.load(
        name_or_path, device, calibration=calibration, classes=classes, closed_set=closed_set
    )


def train(
    dataset: str | Path,
    recipe: str | Recipe | None = None,
    *,
    out: str | Path,
    device: str = "cpu",
    allow_incomplete: bool = False,
    **settings: Any,
) -> Classifier:
    """Train on all clips of a dataset and return the classifier.

    Clips are held out to choose the epoch and to calibrate, unless the recipe says otherwise;
    `cross_validate` says how well it may be expected to do.

    Args:
        dataset: a folder with a folder of clips for each class, or a table of labelled clips.
        recipe: a recipe, its name, or a .toml file. None: `finetune`, or `short` where the middle
            clip is under a second; `fast` where settings of a network or its schedule are given.
        out: folder of the run, which holds the model when it is done; an interrupted run in it is
            gone on with.
        device: "cpu" or "cuda".
        allow_incomplete: leave out files that cannot be read.
        settings: settings of the recipe in place of its own, such as `num_epochs=20`.

    Raises:
        DatasetError: there is no such dataset, it has too few clips, or some cannot be read.
        SettingsError: a setting or a recipe that there is not, or out of range.
        OSError: `out` cannot be written.
    """
    from earmark.training.frozen import freeze
    from earmark.training.run import remove_checkpoints, train_model

    folder = Path(out)
    refuse_unwritable(folder / ".run")
    chosen, start = _recipe(dataset, recipe, settings)
    clips = _read(dataset, chosen, folds=None, allow_incomplete=allow_incomplete)
    accelerator = _accelerator(device)
    train_model(
        clips.whole(),
        chosen.training,
        accelerator,
        folder,
        start=start,
        network=freeze(start, chosen.training, accelerator, _cache()),
        show_progress=False,
    )
    remove_checkpoints(folder)
    return Classifier.load(folder, device)


def cross_validate(
    dataset: str | Path,
    recipe: str | Recipe | None = None,
    *,
    seeds: int = 1,
    folds: int = 5,
    out: str | Path | None = None,
    device: str = "cpu",
    allow_incomplete: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Train and test every fold of a dataset.

    Args:
        dataset: see `train`.
        recipe: see `train`.
        seeds: how often, each time with other random numbers.
        folds: how many folds to make where the dataset has none.
        out: folder of the runs, where finished ones are kept and not done again; None: they are
            thrown away.
        device: "cpu" or "cuda".
        allow_incomplete: leave out files that cannot be read.
        settings: settings of the recipe in place of its own.

    Returns:
        The content of the `RECIPE.json` that `earmark crossval` writes: `accuracy`,
        `spread_over_seeds`, `per_class`, `runs` and others; see docs/formats.md.

    Raises:
        DatasetError, SettingsError, OSError: see `train`.
        RunError: `out` holds a cross-validation of other data or settings.
    """
    from earmark.evaluation.baselines import measure_folds
    from earmark.evaluation.crossval_report import summarise
    from earmark.training.crossval import cross_validate as run_folds
    from earmark.training.crossval import refuse_unvalidated
    from earmark.training.crossval_record import open_runs

    if seeds < 1 or folds < 2:
        raise SettingsError(
            f"seeds must be at least 1 and folds at least 2, got {seeds} and {folds}"
        )
    chosen, start = _recipe(dataset, recipe, settings)
    clips = _read(dataset, chosen, folds=folds, allow_incomplete=allow_incomplete)
    if not chosen.training.frozen:
        refuse_unvalidated(clips)
    with tempfile.TemporaryDirectory() as thrown_away:
        runs = Path(thrown_away if out is None else out)
        open_runs(runs, clips, chosen, start=start)
        rows = run_folds(
            clips,
            chosen,
            range(seeds),
            runs,
            _accelerator(device),
            lambda _: None,
            start=start,
            cache=_cache(),
        )
        baselines = measure_folds([clips.split(fold) for fold in range(len(clips.fold_names))])
        return summarise(rows, [], name=chosen.name, command="", baselines=baselines)


def _recipe(
    dataset: str | Path, recipe: str | Recipe | None, settings: dict[str, Any]
) -> tuple[Recipe, TrainedModel | None]:
    """Return the recipe, chosen for the dataset where none is given, and the model it starts from.

    Raises:
        DatasetError: there is no such dataset.
        ModelError: there is no such model to start from.
        SettingsError: there is no such recipe or setting, or a value is out of range.
    """
    from earmark.data.prepare import DatasetRequest, survey_dataset
    from earmark.training.choice import choose_recipe, fit_to_clips
    from earmark.training.start import load_start, take_shape

    survey = None
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(recipe or DEFAULT_RECIPE)
    if recipe is None or chosen.follow_clips:
        survey = survey_dataset(DatasetRequest(str(dataset)))
    if recipe is None:
        chosen = read_recipe(choose_recipe(survey, settings, DEFAULT_RECIPE))
    try:
        chosen = fit_to_clips(chosen, survey).replace(settings)
    except TypeError:
        raise SettingsError(
            f"{', '.join(sorted(settings))}: not all of these are settings of a recipe; "
            "earmark train --help lists them"
        ) from None
    start = load_start(chosen)
    if start:
        chosen = take_shape(chosen, start, settings)
    chosen.check_fit()
    return chosen, start


def _read(
    dataset: str | Path, recipe: Recipe, *, folds: int | None, allow_incomplete: bool
) -> FeatureDataset:
    """Read and decode a dataset; without `folds`, for training on all of it.

    Raises:
        EarmarkError: there is no such dataset, or files cannot be read and may not be left out.
    """
    from earmark.data.prepare import DatasetRequest, extract_features

    request = DatasetRequest(str(dataset), folds=folds, allow_incomplete=allow_incomplete)
    clips = extract_features(request, recipe.front_end, tested=folds is not None)
    if clips.failures and not allow_incomplete:
        raise DatasetError(
            f"{dataset}: {len(clips.failures)} files cannot be read, the first: "
            f"{clips.failures[0]}; mend them, or accept this with allow_incomplete=True"
        )
    return clips


def _cache() -> FeatureCache | None:
    """Return the user's cache, for what a frozen network says of generated clips, if there is one.

    Features stay in memory here.
    """
    from earmark.data.cache.store import FeatureCache

    try:
        return FeatureCache()
    except SettingsError:  # no home folder
        return None


def _accelerator(device: str) -> Any:
    import accelerate

    return accelerate.Accelerator(cpu=device == "cpu")
