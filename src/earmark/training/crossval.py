"""Cross-validation: every fold tested once for every seed, resumable.

RUNS/crossval.json         what is cross-validated; another dataset or recipe is refused
RUNS/fold-1-seed-0/        a finished run keeps its model and results.json
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import accelerate
import numpy as np

from earmark.config import to_json
from earmark.config.recipes import Recipe
from earmark.data.dataset import FeatureDataset
from earmark.data.folds import class_of_one_source
from earmark.decision.calibration import auroc, with_temperature
from earmark.decision.policy import Policy
from earmark.errors import DatasetError, EarmarkError, RunError
from earmark.evaluation.crossval_report import seconds_trained
from earmark.evaluation.report import write_results
from earmark.evaluation.scoring import score_clips
from earmark.io.files import sha256_of_json, write_json
from earmark.model_directory import load_model
from earmark.training.run import VALIDATED, end, fit, select_teachers, tested

RECORD = "crossval.json"
RESULTS = "results.json"
UNKNOWN = "unknown.json"

Tell = Callable[[str], None]


def open_runs(
    folder: Path,
    heard: FeatureDataset,
    recipe: Recipe,
    *,
    teachers: Path | None = None,
    precision: str = "no",
) -> None:
    """Make the folder of the runs, or make sure that it holds runs of the same kind.

    Raises:
        RunError: it holds a cross-validation of other data, recipe, teachers or precision.
    """
    record = {
        "dataset": heard.dataset,
        "fingerprint": heard.fingerprint,
        "front_end": to_json(recipe.front_end),
        "training": to_json(dataclasses.replace(recipe.training, seed=0)),
        "groups": _partition(heard.groups),
    }
    if teachers:
        record["teachers"] = str(teachers.resolve())
    if precision != "no":
        record["precision"] = precision
    record = json.loads(json.dumps(record))  # as it comes back: lists, not tuples
    path = folder / RECORD
    begun = sorted([*folder.glob("fold-*/*"), *folder.glob("without-*/*")])
    if begun and not path.exists():
        raise RunError(
            f"{folder}: holds {begun[0].parent.name}, but no {RECORD} that says of what; use "
            "another --runs folder, or remove it"
        )
    if not begun:
        write_json(path, record)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    before = before if isinstance(before, dict) else {}
    if before:
        before.setdefault("groups", record["groups"])  # not recorded by earlier versions
    if changed := _differences(before, record):
        raise RunError(
            f"{folder}: holds a cross-validation with another {' and '.join(changed)}; "
            "use another --runs folder, or remove it"
        )


def _partition(groups: Sequence[str]) -> str:
    """Return a digest of which clips share a source recording, whatever these are called."""
    numbers: dict[str, int] = {}
    return sha256_of_json([numbers.setdefault(group, len(numbers)) for group in groups])


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the keys whose values differ, down into objects."""
    names: list[str] = []
    for key in {**now, **before}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += _differences(old, new)
        elif old != new:
            names.append(key)
    return names


def refuse_unvalidated(heard: FeatureDataset) -> None:
    """Find out before hours of folds that one of them has no clips to validate on.

    Raises:
        DatasetError: a class has a single source in a fold's training part; with both names.
    """
    labels = np.array([heard.classes.index(item.clip.label) for item in heard.heard])
    for name in heard.fold_names:
        inside = np.array([fold != name for fold in heard.folds])
        groups = [group for group, kept in zip(heard.groups, inside, strict=True) if kept]
        lone = class_of_one_source(labels[inside], groups)
        if lone is not None:
            raise DatasetError(
                f"{heard.dataset}: class {heard.classes[lone]!r} has a single source recording "
                f"outside fold {name}, so none can be held out there to choose the epoch; add "
                "recordings of other sources"
            )


def cross_validate(
    heard: FeatureDataset,
    recipe: Recipe,
    seeds: Sequence[int],
    folder: Path,
    accelerator: accelerate.Accelerator,
    tell: Tell,
    *,
    teachers: Path | None = None,
) -> list[dict[str, Any]]:
    """Train and test every fold with every seed; what is finished is read, not done again.

    With `refit`, the run that holds clips out is made once for each fold, with the first seed, and
    calibrates the models of all seeds.

    Args:
        heard: the dataset.
        recipe: how to train; its seed is replaced.
        seeds: seeds.
        folder: folder of the runs, see `open_runs`.
        accelerator: carries device and precision.
        tell: takes a line about each run.
        teachers: folder of the runs of another cross-validation; all its models of a fold teach
            that fold together.

    Returns:
        The content of each run's `results.json`, seed by seed, fold by fold.

    Raises:
        EarmarkError: a fold failed; its name and the reason.
    """
    if teachers:
        _refuse_untaught(heard, recipe, seeds, folder, teachers)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        settings = dataclasses.replace(recipe.training, seed=seed)
        shared = settings.refit and seed != seeds[0]
        for index, name in enumerate(heard.fold_names):
            run = _run_folder(folder, name, seed)
            results = _finished(run / RESULTS)
            if results is None:
                split = heard.split(index)
                first = _run_folder(folder, name, seeds[0]) / VALIDATED
                try:
                    fit(
                        *(split, settings, accelerator, run),
                        teachers=_teachers(teachers, name),
                        validated=first if shared else None,
                        show_progress=False,
                    )
                except EarmarkError as error:
                    raise type(error)(f"fold {name}, seed {seed}: {error}") from None
                results = tested(run, split, accelerator.device.type)
                write_results(run / RESULTS, results)
            end(run)
            rows.append(results)
            tell(
                f"seed {seed}, fold {name}: accuracy {100 * results['accuracy']:.2f} % "
                f"({seconds_trained(results['training'], shared=shared):.0f} s)"
            )
    return rows


def _run_folder(folder: Path, fold: str, seed: int) -> Path:
    return folder / f"fold-{fold}-seed-{seed}"


def _refuse_untaught(
    heard: FeatureDataset, recipe: Recipe, seeds: Sequence[int], folder: Path, teachers: Path
) -> None:
    """Find out before hours of folds that one of them has no teacher."""
    for seed in seeds:
        settings = dataclasses.replace(recipe.training, seed=seed)
        for name in heard.fold_names:
            if (_run_folder(folder, name, seed) / RESULTS).exists():
                continue
            found = _teachers(teachers, name)
            if not settings.refit or seed == seeds[0]:
                try:
                    select_teachers(found, settings)
                except EarmarkError as error:
                    raise type(error)(f"fold {name}, seed {seed}: {error}") from None


def _teachers(folder: Path | None, fold: str) -> list[Path]:
    """Return the finished runs of a fold in the folder of another cross-validation."""
    if folder is None:
        return []
    found = [path.parent for path in sorted(folder.glob(f"fold-{fold}-seed-*/{RESULTS}"))]
    if not found:
        raise RunError(f"{folder}: holds no finished run of fold {fold} that could teach")
    return found


def classes_left_out(heard: FeatureDataset) -> list[tuple[str, ...]]:
    """Return the classes to leave out for each fold: number k, k + folds, ... for fold number k.

    Raises:
        DatasetError: leaving classes out leaves fewer than two, or a fold without clips.
    """
    folds = len(heard.fold_names)
    sets = [heard.classes[index::folds] for index in range(folds)]
    if len(heard.classes) - len(sets[0]) < 2:
        raise DatasetError(
            f"leaving out {', '.join(sets[0])} leaves fewer than two classes; drop --leave_out"
        )
    for left_out in filter(None, sets):
        kept = {
            fold
            for fold, item in zip(heard.folds, heard.heard, strict=True)
            if item.clip.label not in left_out
        }
        if empty := [name for name in heard.fold_names if name not in kept]:
            raise DatasetError(
                f"leaving out {', '.join(left_out)} leaves no clip in fold {empty[0]}; "
                "drop --leave_out"
            )
    return [left_out for left_out in sets if left_out]


def leave_classes_out(
    heard: FeatureDataset,
    recipe: Recipe,
    folder: Path,
    accelerator: accelerate.Accelerator,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Train on each fold's training part without some classes, and see whether they stand out.

    Every class is left out once, see `classes_left_out`. Known clips are the test fold's, of the
    classes that remain; unknown ones all clips of the others. These models are not trained once
    more on all clips, whatever the recipe says: that would double the time.

    Returns:
        For each fold: the classes left out, AUROC of the highest score, and the share of known and
        of unknown clips that are named rather than none of these.

    Raises:
        DatasetError: leaving classes out leaves fewer than two.
    """
    settings = dataclasses.replace(recipe.training, seed=0, refit=False)
    rows = []
    for index, left_out in enumerate(classes_left_out(heard)):
        run = folder / f"without-{index}"
        row = _finished(run / UNKNOWN)
        if row is None:
            rest, unknown = heard.without(left_out)
            split = rest.split(index)
            fit(split, settings, accelerator, run, show_progress=False)
            trained = load_model(run)
            calibration = trained.calibration
            known, other = (
                with_temperature(score_clips(trained.model, clips), calibration.temperature)
                for clips in (split.test, unknown)
            )
            policy = Policy(calibration.thresholds)
            row = {
                "test_fold": split.test_fold,
                "left_out": list(left_out),
                "known_clips": len(known),
                "unknown_clips": len(other),
                "accuracy": float((known.argmax(axis=1) == split.test.labels).mean()),
                "auroc": auroc(known.max(axis=1), other.max(axis=1)),
                "known_accepted": float(policy.accepted(known).mean()),
                "unknown_accepted": float(policy.accepted(other).mean()),
            }
            write_json(run / UNKNOWN, row)
        end(run)
        rows.append(row)
        tell(f"without {', '.join(row['left_out'])}: AUROC {row['auroc']:.3f}")
    return rows


def _finished(path: Path) -> dict[str, Any] | None:
    """Return the content of a finished run's file, or None."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove {path.parent}") from None
    return content if isinstance(content, dict) else None
