"""Take a cross-validation to another machine, and its models back.

    python -m tools.crossval_pack pack ESC-50/ --recipe causal --seeds 3 --out esc50.pack
    python -m tools.crossval_stacked esc50.pack --out trained          # on a machine with a GPU
    python -m tools.crossval_pack unpack ESC-50/ --recipe causal --trained trained/whole --runs runs
    earmark crossval ESC-50/ --recipe causal --seeds 3 --runs runs     # calibrates, tests, writes
    python -m tools.crossval_pack test ESC-50/ --recipe causal --trained trained/whole

The last is for packs without the runs that hold clips out, which give temperature and thresholds.

A pack is a ZIP archive of arrays: frames as steps of 0.1 natural logarithm of power from the front
end's floor, 8 bits each, and which clips each run trains on. No test fold is marked in it, and what
is tested is read from the dataset itself. Settings of the recipe may be given as for `crossval`.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tools.stacked_training import Bank, Run

from earmark.commands.flags import add_other_settings, given_settings
from earmark.config import (
    FrontEndSettings,
    ModelSettings,
    TrainingSettings,
    from_json,
    to_json,
)
from earmark.config.recipes import Recipe, read_recipe
from earmark.data.dataset import FeatureDataset, generate_negative_frames
from earmark.data.prepare import DatasetRequest, extract_features
from earmark.data.splits import Split
from earmark.evaluation.scoring import score_clips
from earmark.nn.classifier import LSTMClassifier
from earmark.training.augment import clip_statistics
from earmark.training.checkpoint import Checkpoint, write_checkpoint
from earmark.training.crossval_record import open_runs, run_folder
from earmark.training.record import describe_data, front_end_record
from earmark.training.run import VALIDATED
from earmark.training.validation import TrainingParts, hold_clips_out

STEP = 0.1  # natural logarithm of power
_NEGATIVES = 240  # as in `earmark.training.augment`
_PARTS = 24  # of the frames, which are read at once


def runs_of(dataset: FeatureDataset, settings: TrainingSettings, seeds: int) -> list[Run]:
    """Return the runs of a cross-validation: those with clips held out, then those on all clips."""
    found = []
    for index, name in enumerate(dataset.fold_names):
        split = dataset.split(index)
        clips = np.flatnonzero([fold != name for fold in dataset.folds])
        place = dict(zip(split.train.paths, clips.tolist(), strict=True))
        for parts in (hold_clips_out(split, settings), TrainingParts(split.train)):
            mean, scale = (part.numpy() for part in clip_statistics(parts.fitted))
            found.append(
                Run(
                    index,
                    settings.seed,
                    np.array([place[path] for path in parts.fitted.paths]),
                    np.array(
                        [place[path] for path in parts.validation.paths]
                        if parts.validation
                        else [],
                        np.int64,
                    ),
                    mean,
                    scale,
                )
            )
    first = [run for run in found if len(run.validation)]
    last = [run for run in found if not len(run.validation)]
    return first + [dataclasses.replace(run, seed=seed) for seed in range(seeds) for run in last]


def write_pack(
    path: Path,
    dataset: FeatureDataset,
    recipe: Recipe,
    seeds: int,
    *,
    held_out: bool = True,
) -> None:
    """Write a pack of a dataset and of the runs of its cross-validation.

    Args:
        path: the new file.
        dataset: the dataset.
        recipe: how to train.
        seeds: runs of each fold.
        held_out: also the runs with clips held out, which give temperature and thresholds.
    """
    front_end, settings = recipe.front_end, dataclasses.replace(recipe.training, seed=0)
    clips = dataset.whole().train
    runs = runs_of(dataset, settings, seeds)
    runs = [run for run in runs if held_out or not len(run.validation)]
    about = {
        "front_end": to_json(front_end),
        "training": to_json(settings),
        "classes": len(dataset.classes),
        "runs": [[run.fold, run.seed] for run in runs],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:

        def add(name: str, array: NDArray[Any]) -> None:
            data = io.BytesIO()
            np.save(data, array)
            file.writestr(name, data.getvalue())

        file.writestr("about.json", json.dumps(about))
        add("frames", clips.frames)
        add("labels", clips.labels)
        for number, part in enumerate(np.array_split(clips.together(), _PARTS)):
            add(f"features-{number}", _rounded(part, front_end))
        for seed in range(seeds):
            made = generate_negative_frames(front_end, _NEGATIVES, seed, settings.clip_seconds)
            add(f"negatives-{seed}", _rounded(made.reshape(-1, made.shape[-1]), front_end))
        for number, run in enumerate(runs):
            for name in ("clips", "validation", "mean", "scale"):
                add(f"{name}-{number}", getattr(run, name))


def read_pack(path: Path) -> tuple[Bank, list[Run], TrainingSettings, FrontEndSettings]:
    """Read what `write_pack` wrote."""

    def read(name: str) -> NDArray[Any]:
        with zipfile.ZipFile(path) as file:
            array: NDArray[Any] = np.load(io.BytesIO(file.read(name)), allow_pickle=False)
            return array

    with zipfile.ZipFile(path) as file:
        about = json.loads(file.read("about.json"))
    front_end = from_json(FrontEndSettings, about["front_end"])
    seeds = 1 + max(seed for _, seed in about["runs"])
    names = [f"features-{number}" for number in range(_PARTS)]
    names += [f"negatives-{seed}" for seed in range(seeds)]
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda name: _restored(read(name), front_end), names))
    runs = [
        Run(fold, seed, *(read(f"{n}-{number}") for n in ("clips", "validation", "mean", "scale")))
        for number, (fold, seed) in enumerate(about["runs"])
    ]
    negatives = np.stack([p.reshape(_NEGATIVES, -1, front_end.n_mels) for p in parts[_PARTS:]])
    bank = Bank(
        torch.from_numpy(np.concatenate(parts[:_PARTS])),
        torch.from_numpy(read("frames")),
        torch.from_numpy(read("labels")),
        about["classes"],
        torch.from_numpy(negatives),
    )
    return bank, runs, from_json(TrainingSettings, about["training"]), front_end


def _rounded(frames: NDArray[np.float32], front_end: FrontEndSettings) -> NDArray[np.uint8]:
    """Return log-mel frames as steps from the floor, each frame as its change since the last."""
    steps = np.rint((frames - math.log(front_end.floor)) / STEP)
    if steps.min() < 0 or steps.max() > 255:
        raise ValueError("frames outside what 8 bits hold")
    return np.diff(steps.astype(np.uint8), axis=0, prepend=np.uint8(0))


def _restored(changes: NDArray[np.uint8], front_end: FrontEndSettings) -> NDArray[np.float32]:
    steps = np.cumsum(changes, axis=0, dtype=np.uint8)
    return (steps * STEP + math.log(front_end.floor)).astype(np.float32)


def write_runs(folder: Path, dataset: FeatureDataset, recipe: Recipe, trained: Path) -> None:
    """Write what came back as the checkpoints of runs that have come to their last epoch."""
    open_runs(folder, dataset, recipe)
    for run, best in _read_trained(trained):
        settings = dataclasses.replace(recipe.training, seed=run["seed"])
        split = dataset.split(run["fold"])
        where = run_folder(folder, split.test_fold, run["seed"])
        parts = TrainingParts(split.train)
        if run["held_out"]:
            parts, where = hold_clips_out(split, settings), where / VALIDATED
        write_checkpoint(where, _finished(split, settings, parts, run["progress"], best))


def _finished(
    split: Split,
    settings: TrainingSettings,
    parts: TrainingParts,
    progress: dict[str, Any],
    best: dict[str, torch.Tensor],
) -> Checkpoint:
    """Return the checkpoint of a run after its last epoch; nothing in it is needed but the best."""
    record = {
        "settings": to_json(settings),
        "source": {},
        "data": describe_data(split, parts, None),
        "front_end": front_end_record(split),
        "held_out": parts.held_out,
        "progress": progress,
    }
    step = {"0/step": torch.tensor(float(settings.num_epochs))}
    return Checkpoint(record, {"weights": best, "average": best, "best": best, "optimizer": step})


def measure_models(
    dataset: FeatureDataset, recipe: Recipe, trained: Path
) -> list[tuple[Any, float]]:
    """Return the accuracy on its test fold of each model that was trained on all other clips."""
    found = []
    for run, state in _read_trained(trained):
        if run["held_out"]:
            continue
        split = dataset.split(run["fold"])
        shape = ModelSettings(
            input_size=recipe.front_end.n_mels,
            num_classes=len(split.classes),
            network=recipe.training.network,
        )
        model = LSTMClassifier.from_settings(shape)
        model.load_state_dict(state)
        tested = split.test.select(split.test.of_class)
        right = score_clips(model, tested).argmax(axis=1) == tested.labels
        found.append((run, float(right.mean())))
    return found


def _read_trained(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    """Yield what each run did and its averaged weights."""
    about = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    tensors = {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}
    for number, run in enumerate(about["runs"]):
        own = f"{number}/"
        yield run, {n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)}


def main(given: Sequence[str] | None = None) -> None:
    """Pack a dataset; unpack models, or test them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("pack", "unpack", "test"))
    parser.add_argument("dataset")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--without_held_out",
        action="store_true",
        help="pack only the runs on all clips of the training folds: enough for the accuracy",
    )
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--trained", type=Path, metavar="DIR")
    parser.add_argument("--runs", type=Path, metavar="DIR")
    add_other_settings(parser, ["seed"])
    args = parser.parse_args(given)
    recipe = read_recipe(args.recipe).replace(given_settings(args))
    dataset = extract_features(DatasetRequest(args.dataset), recipe.front_end)
    if args.what == "pack":
        write_pack(args.out, dataset, recipe, args.seeds, held_out=not args.without_held_out)
    elif args.what == "test":
        for run, accuracy in measure_models(dataset, recipe, args.trained):
            name = dataset.fold_names[run["fold"]]
            print(f"seed {run['seed']}, fold {name}: accuracy {100 * accuracy:.2f} %")
    else:
        write_runs(args.runs, dataset, recipe, args.trained)


if __name__ == "__main__":
    main()
