"""The documented training command over every split: accuracy on each official fold.

    earmark prepare path/to/ESC-10
    python benchmarks/documented_folds.py --seeds 0 1 2 --out docs/results/documented

Runs `lstm_classifier_train.py --split_index N` as a user would, with no flag but the seed (left
out for seed 0, the default), and collects each run's `results.json` into OUT.json, OUT.md and a
confusion matrix over all folds, OUT.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from earmark.evaluation.pictures import draw_confusion
from earmark.io.files import write_json, write_text
from earmark.provenance import installed_versions, now

ROOT = Path(__file__).resolve().parent.parent


def train(index: int, seed: int, out: Path) -> dict[str, Any]:
    """Train one split with the documented command and return its results."""
    command = [sys.executable, str(ROOT / "lstm_classifier_train.py"), "--split_index", str(index)]
    command += ["--seed", str(seed)] if seed else []
    begin = time.perf_counter()
    subprocess.run([*command, "--output_dir", str(out)], check=True, stdout=subprocess.DEVNULL)
    (run,) = out.iterdir()
    results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    results["wall_seconds"] = round(time.perf_counter() - begin, 1)
    return results


def commit() -> str:
    """Return the commit the numbers belong to."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def table(rows: list[dict[str, Any]], seeds: list[int], splits: list[int]) -> list[str]:
    """Lay out accuracy by seed and fold."""
    folds = [next(r["test_fold"] for r in rows if r["split_index"] == i) for i in splits]
    head = " | ".join(f"fold {name}" for name in folds)
    lines = [f"| seed | {head} | mean |", "|---" * (len(splits) + 2) + "|"]
    for seed in seeds:
        cells = [100 * r["accuracy"] for r in rows if r["training"]["seed"] == seed]
        shown = " | ".join(f"{cell:.2f}" for cell in cells)
        lines.append(f"| {seed} | {shown} | **{np.mean(cells):.2f}** |")
    return lines


def main() -> None:
    """Run all splits and seeds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("docs/results/documented"))
    args = parser.parse_args()
    rows = []
    for seed in args.seeds:
        for index in args.splits:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(train(index, seed, Path(folder)))
            last = rows[-1]
            print(
                f"seed {seed}, split {index}: accuracy {100 * last['accuracy']:.2f} %, epoch "
                f"{last['training']['epoch']} of {last['training']['epochs']}, "
                f"{last['wall_seconds']} s",
                flush=True,
            )
    means = [
        100 * np.mean([r["accuracy"] for r in rows if r["training"]["seed"] == seed])
        for seed in args.seeds
    ]
    every = [100 * r["accuracy"] for r in rows]
    classes = rows[0]["classes"]
    matrix = np.sum([r["confusion_matrix"] for r in rows], axis=0)
    recall = 100 * matrix.diagonal() / matrix.sum(axis=1)
    spread = f" ± {np.std(means, ddof=1):.2f} over seeds" if len(means) > 1 else ""
    title = f"{rows[0]['dataset']}, documented command: {np.mean(means):.1f} %{spread}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPU"
    lines = [
        f"# {title}",
        "",
        "Mean accuracy over the official folds. Each model was trained on four folds, of which a "
        "part was held out, by source recording, to choose the epoch; its own test fold was scored "
        "once, at the end.",
        "",
        "The defaults behind the flags (40 mels, five frames a step, differences, mixing, averaged "
        "weights) were chosen on validation too: for each split, training on three of its four "
        "training folds and validating on the fourth, one seed. No run was chosen by its own "
        "test fold; but each fold is a training fold of the other splits, so over all splits that "
        "choice has seen every clip.",
        "",
        *table(rows, args.seeds, args.splits),
        "",
        f"Standard deviation over all {len(every)} runs: {np.std(every, ddof=1):.2f} points; "
        "most of it lies between folds.",
        "",
        "| class | recall % |",
        "|---|---|",
        *(f"| {name} | {value:.1f} |" for name, value in zip(classes, recall, strict=True)),
        "",
        f"![Confusion matrix over all folds and seeds]({args.out.name}.png)",
        "",
        f"- command: `python {' '.join(sys.argv)}`",
        f"- machine: {machine}; {np.mean([r['wall_seconds'] for r in rows]):.0f} s a run",
        f"- commit: {commit()}; {now()}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in installed_versions().items())}",
    ]
    record = {"title": title, "machine": machine, "commit": commit(), "runs": rows}
    for row in rows:  # every clip's scores are in each run's own results; keep this file small
        row["clips"] = [{k: c[k] for k in ("path", "most_likely", "label")} for c in row["clips"]]
        for clip in row["clips"]:
            clip["path"] = "/".join(Path(clip["path"]).parts[-2:])
    write_json(args.out.with_suffix(".json"), record)
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    draw_confusion(args.out.with_suffix(".png"), matrix.tolist(), classes, title)
    print(f"mean {np.mean(means):.2f} %; wrote {args.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
