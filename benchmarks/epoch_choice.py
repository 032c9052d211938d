"""What choosing the epoch on the test fold would add to the accuracy of a recipe.

    python benchmarks/epoch_choice.py path/to/ESC-10 --out docs/results/epoch_choice

Each model is trained as the recipe says, on all clips of the other folds, and its test fold is
scored after every epoch: with the averaged weights, which are what is saved, and with the weights
as they are. The last epoch is the figure that counts. The best one is what the same training would
be said to reach by who keeps the epoch that does best on the test fold; nothing else is made of it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch

from earmark.config.recipes import Recipe, read_recipe
from earmark.data.dataset import FeatureDataset, build_dataset
from earmark.data.readers import read_dataset
from earmark.data.splits import ClipSet
from earmark.evaluation.scoring import score_clips
from earmark.io.files import write_json, write_text
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.provenance import how
from earmark.training.loop import Trainer

AVERAGED, PLAIN = "averaged", "as they are"


def accuracy(model: LSTMClassifier, clips: ClipSet) -> float:
    """Return the share of clips named rightly, in percent."""
    return 100 * float((score_clips(model, clips).argmax(axis=1) == clips.labels).mean())


def run_fold(dataset: FeatureDataset, index: int, recipe: Recipe) -> dict[str, Any]:
    """Train with one thread, nothing held out, and score the test fold after every epoch."""
    torch.set_num_threads(1)
    split = dataset.split(index)
    # What a run with clips held out would have given; here it only says that none are.
    before = TrainedModel(LSTMClassifier(1, 1, 1, 2), split.classes, split.front_end)
    run = Trainer(split, recipe.training, accelerate.Accelerator(cpu=True), validated=before)
    rows: dict[str, list[float]] = {AVERAGED: [], PLAIN: []}
    for epoch in range(1, recipe.training.num_epochs + 1):
        run.train_epoch(epoch)
        rows[AVERAGED].append(accuracy(run.average.model, split.test))
        rows[PLAIN].append(accuracy(run.model, split.test))
        if epoch % 20 == 0:
            shown = ", ".join(f"{way} {found[-1]:.2f}" for way, found in rows.items())
            print(f"fold {split.test_fold}, epoch {epoch}: {shown}", flush=True)
    return {"fold": split.test_fold, **rows}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay out the last and the best epoch of each fold."""
    names = [row["fold"] for row in rows]
    lines = [
        "| weights | epoch | " + " | ".join(f"fold {name}" for name in names) + " | mean |",
        "|---" * (len(names) + 3) + "|",
    ]
    for way in (AVERAGED, PLAIN):
        for title, pick in (("last", lambda found: found[-1]), ("best on the test fold", max)):
            cells = [pick(row[way]) for row in rows]
            shown = " | ".join(f"{cell:.2f}" for cell in cells)
            lines.append(f"| {way} | {title} | {shown} | **{np.mean(cells):.2f}** |")
    return lines


def main() -> None:
    """Run all folds, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", default="causal")
    parser.add_argument("--out", type=Path, default=Path("docs/results/epoch_choice"))
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    dataset = build_dataset(read_dataset(args.dataset), recipe.front_end)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(run_fold, dataset, i, recipe) for i in range(len(dataset.fold_names))]
        rows = []
        for job in jobs:
            rows.append(job.result())
            write_json(args.out.with_suffix(".json"), {"rows": rows})
    lines = [
        "# The last epoch, and the one that does best on the test fold",
        "",
        *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
        "",
        f"Accuracy % by recipe `{recipe.name}`, seed {recipe.training.seed}, "
        f"{recipe.training.num_epochs} epochs:",
        "",
        *table(rows),
        "",
        *how(f"python benchmarks/epoch_choice.py path/to/ESC-10 --recipe {recipe.name}"),
    ]
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
