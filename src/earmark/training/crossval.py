"""Cross-validation: every fold tested once for every seed, resumable."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import accelerate
import numpy as np

from earmark.config.recipes import Recipe
from earmark.data.cache.store import FeatureCache
from earmark.data.dataset import FeatureDataset
from earmark.data.folds import class_of_one_source
from earmark.decision.calibration import auroc, with_temperature
from earmark.decision.policy import Policy
from earmark.errors import DatasetError, EarmarkError, RunError
from earmark.evaluation.crossval_report import seconds_trained
from earmark.evaluation.report import write_results
from earmark.evaluation.scoring import score_clips
from earmark.io.files import write_json
from earmark.model_directory import TrainedModel, load_model
from earmark.training.crossval_record import RESULTS, UNKNOWN, read_finished, run_folder
from earmark.training.frozen import freeze, one_thread
from earmark.training.run import (
    VALIDATED,
    remove_checkpoints,
    score_test_part,
    select_teachers,
    train_model,
)

Tell = Callable[[str], None]


def refuse_unvalidated(dataset: FeatureDataset) -> None:
    """Find out before hours of folds that one of them has no clips to validate on.

    Raises:
        DatasetError: a class has a single source in a fold's training part; with both names.
    """
    labels = dataset.labels
    for name in dataset.fold_names:
        inside = np.array([fold != name for fold in dataset.folds])
        groups = [group for group, kept in zip(dataset.groups, inside, strict=True) if kept]
        lone = class_of_one_source(labels[inside], groups)
        if lone is not None:
            raise DatasetError(
                f"{dataset.name}: class {dataset.classes[lone]!r} has a single source recording "
                f"outside fold {name}, so none can be held out there to choose the epoch; add "
                "recordings of other sources"
            )


def cross_validate(
    dataset: FeatureDataset,
    recipe: Recipe,
    seeds: Sequence[int],
    folder: Path,
    accelerator: accelerate.Accelerator,
    tell: Tell,
    *,
    start: TrainedModel | None = None,
    teachers: Path | None = None,
    cache: FeatureCache | None = None,
) -> list[dict[str, Any]]:
    """Train and test every fold with every seed; what is finished is read, not done again.

    With `refit`, the run that holds clips out is made once for each fold, with the first seed, and
    calibrates the models of all seeds.

    Args:
        dataset: the dataset.
        recipe: how to train; its seed is replaced.
        seeds: seeds.
        folder: folder of the runs, see `open_runs`.
        accelerator: carries device and precision.
        tell: takes a line about each run.
        start: the model that each run starts from.
        teachers: folder of the runs of another cross-validation; all its models of a fold teach
            that fold together.
        cache: where a frozen network keeps what it says of generated clips; None: nowhere.

    Returns:
        The content of each run's `results.json`, seed by seed, fold by fold.

    Raises:
        EarmarkError: a fold failed; its name and the reason.
    """
    if teachers:
        _refuse_untaught(dataset, recipe, seeds, folder, teachers)
    rows: list[dict[str, Any]] = []
    network = freeze(start, recipe.training, accelerator, cache)
    for seed in seeds:
        settings = dataclasses.replace(recipe.training, seed=seed)
        shared = settings.refit and seed != seeds[0]
        for index, name in enumerate(dataset.fold_names):
            run = run_folder(folder, name, seed)
            results = read_finished(run / RESULTS)
            if results is None:
                split = dataset.split(index)
                first = run_folder(folder, name, seeds[0]) / VALIDATED
                try:
                    train_model(
                        split,
                        settings,
                        accelerator,
                        run,
                        start=start,
                        network=network,
                        teachers=_find_teachers(teachers, name),
                        validated=first if shared else None,
                        show_progress=False,
                    )
                except EarmarkError as error:
                    raise type(error)(f"fold {name}, seed {seed}: {error}") from None
                with one_thread() if network else contextlib.nullcontext():
                    results = score_test_part(run, split, accelerator.device.type)
                write_results(run / RESULTS, results)
            remove_checkpoints(run)
            rows.append(results)
            tell(
                f"seed {seed}, fold {name}: accuracy {100 * results['accuracy']:.2f} % "
                f"({seconds_trained(results['training'], shared=shared):.0f} s)"
            )
    return rows


def _refuse_untaught(
    dataset: FeatureDataset, recipe: Recipe, seeds: Sequence[int], folder: Path, teachers: Path
) -> None:
    """Find out before hours of folds that one of them has no teacher."""
    for seed in seeds:
        settings = dataclasses.replace(recipe.training, seed=seed)
        for name in dataset.fold_names:
            if (run_folder(folder, name, seed) / RESULTS).exists():
                continue
            found = _find_teachers(teachers, name)
            if not settings.refit or seed == seeds[0]:
                try:
                    select_teachers(found, settings)
                except EarmarkError as error:
                    raise type(error)(f"fold {name}, seed {seed}: {error}") from None


def _find_teachers(folder: Path | None, fold: str) -> list[Path]:
    """Return the finished runs of a fold in the folder of another cross-validation."""
    if folder is None:
        return []
    found = [path.parent for path in sorted(folder.glob(f"fold-{fold}-seed-*/{RESULTS}"))]
    if not found:
        raise RunError(f"{folder}: holds no finished run of fold {fold} that could teach")
    return found


def select_left_out(dataset: FeatureDataset) -> list[tuple[str, ...]]:
    """Return the classes to leave out for each fold: number k, k + folds, ... for fold number k.

    Raises:
        DatasetError: leaving classes out leaves fewer than two, or a fold without clips.
    """
    folds = len(dataset.fold_names)
    sets = [dataset.classes[index::folds] for index in range(folds)]
    if len(dataset.classes) - len(sets[0]) < 2:
        raise DatasetError(
            f"leaving out {', '.join(sets[0])} leaves fewer than two classes; drop --leave_out"
        )
    for left_out in filter(None, sets):
        kept = {
            fold
            for fold, item in zip(dataset.folds, dataset.clips, strict=True)
            if item.clip.label not in left_out
        }
        if empty := [name for name in dataset.fold_names if name not in kept]:
            raise DatasetError(
                f"leaving out {', '.join(left_out)} leaves no clip in fold {empty[0]}; "
                "drop --leave_out"
            )
    return [left_out for left_out in sets if left_out]


def leave_classes_out(
    dataset: FeatureDataset,
    recipe: Recipe,
    folder: Path,
    accelerator: accelerate.Accelerator,
    tell: Tell,
    *,
    start: TrainedModel | None = None,
    cache: FeatureCache | None = None,
) -> list[dict[str, Any]]:
    """Train on each fold's training part without some classes, and see whether they stand out.

    Every class is left out once, see `select_left_out`. Known clips are the test fold's, of the
    classes that remain; unknown ones all clips of the others. These models are not trained once
    more on all clips, whatever the recipe says: that would double the time.

    Returns:
        For each fold: the classes left out, AUROC of the highest score, and the share of known and
        of unknown clips that are accepted.

    Raises:
        DatasetError: leaving classes out leaves fewer than two.
    """
    settings = dataclasses.replace(recipe.training, seed=0, refit=False)
    network = freeze(start, settings, accelerator, cache)
    rows = []
    for index, left_out in enumerate(select_left_out(dataset)):
        run = folder / f"without-{index}"
        row = read_finished(run / UNKNOWN)
        if row is None:
            rest, unknown = dataset.without(left_out)
            split = rest.split(index)
            train_model(
                split,
                settings,
                accelerator,
                run,
                start=start,
                network=network,
                show_progress=False,
            )
            trained, tested = load_model(run), split.test.select(split.test.of_class)
            calibration = trained.calibration
            known, other = (
                with_temperature(score_clips(trained.model, clips), calibration.temperature)
                for clips in (tested, unknown)
            )
            policy = Policy(calibration.thresholds)
            row = {
                "test_fold": split.test_fold,
                "left_out": list(left_out),
                "known_clips": len(known),
                "unknown_clips": len(other),
                "accuracy": float((known.argmax(axis=1) == tested.labels).mean()),
                "auroc": auroc(known.max(axis=1), other.max(axis=1)),
                "known_accepted": float(policy.accepted(known).mean()),
                "unknown_accepted": float(policy.accepted(other).mean()),
            }
            write_json(run / UNKNOWN, row)
        remove_checkpoints(run)
        rows.append(row)
        tell(f"without {', '.join(row['left_out'])}: AUROC {row['auroc']:.3f}")
    return rows
