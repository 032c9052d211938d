"""Measure what `earmark train my_sounds/` gives, on bases that heard none of the test clips.

    python -m tools.evaluate_frozen path/to/ESC-50 --bank bank --bases bases

Draws classes of ESC-50 and clips of each from four folds, fits a last layer on the frozen base of
the fifth as the recipe `finetune` does, and tests on that fold: its clips of these classes, its
clips of all others, which no class should answer to, and generated negatives.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools.base_bank import Bank
from tools.base_folds import FOLDS, embed_negatives
from tools.base_heads import CLIPS, Clips, embed_crops
from tools.base_network import load_base

from earmark.config.recipes import read_recipe
from earmark.decision.calibration import auroc, fit_calibration, with_temperature
from earmark.decision.policy import Policy
from earmark.training.last_layer import Array, Lesson

SEEDS = (3 * 10**9, 10**9, 2 * 10**9)  # of negatives that train, set thresholds, test
KINDS = ((10, 20), (5, 10), (5, 5), (5, 1))  # classes, clips of each


def read_negatives(path: Path) -> list[Array]:
    """Return embeddings of three sets of generated negatives, kept beside the base's file."""
    kept = path.with_name(f"{path.stem}.negatives.npz")
    if not kept.exists():
        base, _ = load_base(path)
        found = [embed_negatives(base, seed) for seed in SEEDS]
        np.savez(kept, *found)
    with np.load(kept) as file:
        return [file[f"arr_{number}"] for number in range(len(SEEDS))]


def measure_draw(
    clips: Clips, x: Array, negatives: list[Array], fold: int, *, kind: tuple[int, int], draw: int
) -> dict[str, float]:
    """Return the figures of one draw of classes and clips, tested on a fold."""
    count, per_class = kind
    rng = np.random.default_rng((count, per_class, draw, fold))
    drawn = np.sort(rng.choice(len(clips.names), count, replace=False))
    pools = [np.flatnonzero((clips.label == c) & (clips.fold != fold)) for c in drawn]
    train = np.concatenate([rng.choice(pool, per_class, replace=False) for pool in pools])
    test = np.flatnonzero(clips.fold == fold)
    asked = test[np.isin(clips.label[test], drawn)]
    unknown = test[~np.isin(clips.label[test], drawn)]
    labels = np.searchsorted(drawn, clips.label)
    settings = read_recipe("finetune").training
    lesson = Lesson(x[train], labels[train], negatives[0], count, settings)
    layer = lesson.fit(np.ones(len(train), bool))
    sets = {"known": x[asked], "unknown": x[unknown], "set": negatives[1], "try": negatives[2]}
    scores = {name: layer.probabilities(part) for name, part in sets.items()}
    right = scores["known"].argmax(1) == labels[asked]
    figures = {"accuracy": float(right.mean())}
    # A source recording has the number between the hyphens.
    numbers = lesson.hold_out([clips.paths[n].name.split("-")[1] for n in train])
    if numbers is None:
        return figures
    held_out = lesson.score_held_out(numbers)
    figures["held out"] = float((held_out.argmax(1) == labels[train]).mean())
    similarity, known = lesson.fit_similarity(numbers)
    with torch.inference_mode():
        near = {n: similarity(torch.from_numpy(v).float()).numpy() for n, v in sets.items()}
    lowered = (held_out * known[:, None]).astype(np.float32)
    similar = {name: scores[name] * near[name] for name in sets}
    ways = {"plain": (held_out, scores), "similarity": (lowered, similar)}
    for way, (held, found) in ways.items():
        calibration = fit_calibration(labels[train], held, found["set"])
        accepted = {
            name: Policy(calibration.thresholds).accepted(
                with_temperature(part, calibration.temperature)
            )
            for name, part in found.items()
        }
        figures |= {
            f"{way}, AUROC of unknown classes": auroc(
                found["known"].max(1), found["unknown"].max(1)
            ),
            f"{way}, known accepted": float(accepted["known"].mean()),
            f"{way}, unknown accepted": float(accepted["unknown"].mean()),
            f"{way}, generated accepted": float(accepted["try"].mean()),
            f"{way}, accuracy of accepted": float(right[accepted["known"]].mean()),
        }
    return figures


def main() -> None:
    """Measure, and print the mean over folds and draws of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--bases", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=4, help="in each fold (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips, bank = Clips(args.esc50), Bank([args.bank])
    found: dict[tuple[int, int], list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for fold in FOLDS:
        path = args.bases / f"base-fold-{fold}.safetensors"
        x, negatives = embed_crops(path, bank, CLIPS), read_negatives(path)
        for kind, rows in found.items():
            for draw in range(args.draws):
                rows.append(measure_draw(clips, x, negatives, fold, kind=kind, draw=draw))
    for (count, per_class), rows in found.items():
        means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
        print(f"{count} classes, {per_class} clips each: {json.dumps(means)}", flush=True)


if __name__ == "__main__":
    main()
