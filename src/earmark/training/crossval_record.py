"""The folder of a cross-validation's runs: what it is a record of, and what is finished.

RUNS/crossval.json         what is cross-validated; another dataset or recipe is refused
RUNS/fold-1-seed-0/        a finished run keeps its model and results.json
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earmark.config import FrontEndSettings, TrainingSettings, to_json
from earmark.config.recipes import Recipe
from earmark.data.dataset import FeatureDataset
from earmark.errors import RunError
from earmark.evaluation.upgrade import upgrade_results, upgrade_settings
from earmark.io.files import read_json, sha256_of_json, write_json
from earmark.model_directory import TrainedModel

RECORD = "crossval.json"
RESULTS = "results.json"
UNKNOWN = "unknown.json"


def open_runs(
    folder: Path,
    dataset: FeatureDataset,
    recipe: Recipe,
    *,
    start: TrainedModel | None = None,
    teachers: Path | None = None,
    precision: str = "no",
) -> None:
    """Make the folder of the runs, or make sure that it holds runs of the same kind.

    Raises:
        RunError: it holds a cross-validation of other data, recipe, model to start from, teachers
            or precision.
    """
    record = {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "front_end": to_json(recipe.front_end),
        "training": to_json(dataclasses.replace(recipe.training, seed=0)),
        "groups": _partition(dataset.groups),
    }
    if start:
        record["model to start from"] = start.fingerprint
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
        before = read_json(path)
    except (OSError, ValueError):
        before = None
    before = _upgraded(before) if isinstance(before, dict) else {}
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


def run_folder(folder: Path, fold: str, seed: int) -> Path:
    """Return where the run of a fold and a seed lies."""
    return folder / f"fold-{fold}-seed-{seed}"


def read_finished(path: Path) -> dict[str, Any] | None:
    """Return the content of a finished run's file, or None; of any version, under today's names.

    Raises:
        RunError: it cannot be read.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove {path.parent}") from None
    return upgrade_results(content) if isinstance(content, dict) else None


def _upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with settings that an earlier version wrote under their names of now."""
    upgraded = {
        **record,
        "front_end": upgrade_settings(FrontEndSettings, record.get("front_end")),
        "training": upgrade_settings(TrainingSettings, record.get("training")),
    }
    comparable: dict[str, Any] = json.loads(json.dumps(upgraded))
    return comparable
