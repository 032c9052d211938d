"""Starting from a trained model against starting from nothing, with few clips of new classes.

    python benchmarks/few_clips.py path/to/ESC-10 --out docs/results/few_clips

Half of the classes of ESC-10 train a model to start from. Of the other half, a few clips a
class, drawn from folds 1 to 3, train two models by the same recipe: from random weights, and with
`--init` and a lower learning rate. Both are tested on all clips of these classes in folds 4 and 5,
so no source recording is on both sides. Then the halves change places. Every clip is new to the
model that is started from.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch

from earmark.config import TrainingSettings
from earmark.config.recipes import Recipe, read_recipe
from earmark.data.dataset import FeatureDataset, build_dataset
from earmark.data.readers import read_dataset
from earmark.data.splits import ClipSet, Split
from earmark.evaluation.scoring import score_clips
from earmark.io.files import write_json, write_text
from earmark.model_directory import TrainedModel
from earmark.provenance import how
from earmark.training.run import train_model

TRAINING_FOLDS = ("1", "2", "3")
NOTHING, MODEL = "from nothing", "from a model"
RATE_FROM_A_MODEL = 0.001


def train(
    split: Split, settings: TrainingSettings, start: TrainedModel | None = None
) -> TrainedModel:
    """Train in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        accelerator = accelerate.Accelerator(cpu=True)
        return train_model(
            split, settings, accelerator, Path(folder), start=start, show_progress=False
        )


def few(dataset: FeatureDataset, clips: int, draw: int) -> Split:
    """Return a split: `clips` of each class to train on, all of the test folds to test on."""
    whole = dataset.whole().train
    rng = np.random.default_rng(draw)
    for_training = np.array([fold in TRAINING_FOLDS for fold in dataset.folds])
    chosen = np.zeros(len(whole), bool)
    for label in range(len(dataset.classes)):
        places = np.flatnonzero(for_training & (whole.labels == label))
        chosen[rng.choice(places, clips, replace=False)] = True
    train_part, test_part = whole.select(chosen), whole.select(~for_training)
    return Split(train_part, test_part, dataset.classes, front_end=dataset.front_end)


def accuracy(trained: TrainedModel, clips: ClipSet) -> float:
    """Return the share of clips named rightly."""
    return float((score_clips(trained.model, clips).argmax(axis=1) == clips.labels).mean())


def run_half(half: int, recipe: Recipe, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train on one half of the classes, then on few clips of the other, with one thread."""
    torch.set_num_threads(1)
    dataset = build_dataset(read_dataset(args.dataset), recipe.front_end)
    new, _ = dataset.without(dataset.classes[half::2])
    known, _ = dataset.without(dataset.classes[1 - half :: 2])
    start = train(known.whole(), dataclasses.replace(recipe.training, refit=False))
    rows = []
    for clips in args.clips:
        for draw in range(args.draws):
            split = few(new, clips, draw)
            alone = dataclasses.replace(recipe.training, seed=draw)
            low = dataclasses.replace(alone, learning_rate=RATE_FROM_A_MODEL)
            for name, trained in (
                (NOTHING, train(split, alone)),
                (MODEL, train(split, low, start)),
            ):
                row = {"half": half, "clips": clips, "draw": draw, "start": name}
                rows.append({**row, "accuracy": accuracy(trained, split.test)})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run both halves side by side, all else one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", default="causal")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--clips", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--out", type=Path, default=Path("docs/results/few_clips"))
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        halves = pool.map(run_half, (0, 1), (recipe, recipe), (args, args))
        rows = [row for half in halves for row in half]
    lines = [
        "# Few clips of new classes: from nothing, or from a model",
        "",
        *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
        "",
        f"Five new classes, {args.draws} draws of the clips for each half, recipe `{recipe.name}`; "
        f"highest learning rate {recipe.training.learning_rate} from nothing, "
        f"{RATE_FROM_A_MODEL} from a model.",
        "",
        "| clips a class | from nothing % | from a model % | gain |",
        "|---|---|---|---|",
    ]
    for clips in args.clips:
        found = {
            name: 100
            * np.array([r["accuracy"] for r in rows if r["clips"] == clips and r["start"] == name])
            for name in (NOTHING, MODEL)
        }
        gain = found[MODEL] - found[NOTHING]
        cells = [f"{v.mean():.1f} ± {v.std(ddof=1):.1f}" for v in (*found.values(), gain)]
        lines.append(f"| {clips} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Spread: standard deviation over {2 * args.draws} runs; the gain is paired.",
        "",
        *how(
            f"python benchmarks/few_clips.py path/to/ESC-10 --recipe {recipe.name} "
            f"--draws {args.draws} --clips {' '.join(map(str, args.clips))}"
        ),
    ]
    write_json(args.out.with_suffix(".json"), {"rows": rows})
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines[6:12]))


if __name__ == "__main__":
    main()
