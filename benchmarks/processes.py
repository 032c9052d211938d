"""Accuracy of one process beside two that Accelerate joins: the same recipe, fold and seeds.

    earmark prepare path/to/ESC-10
    python benchmarks/processes.py --recipe fast --num_epochs 25 --seeds 3

What is trained already, in `--folder`, is not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from earmark.provenance import how

LAUNCH = (
    *("-m", "accelerate.commands.launch", "--num_machines=1", "--mixed_precision=no"),
    *("--dynamo_backend=no", "--main_process_port=0"),
)
DOOR = Path(__file__).resolve().parents[1] / "lstm_classifier_train.py"
PROCESSES = (1, 2)


def main() -> int:
    """Train, test and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--num_epochs", type=int, default=25)
    parser.add_argument("--split_index", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits_dir", type=Path, default=Path("splits"))
    parser.add_argument("--folder", type=Path, default=Path("processes"))
    args = parser.parse_args()
    found: dict[int, list[float]] = {count: [] for count in PROCESSES}
    print("| seed | processes | accuracy | seconds |\n|---|---|---|---|", flush=True)
    for seed in range(args.seeds):
        for count in PROCESSES:
            accuracy, seconds = trained(args, seed, count)
            found[count].append(accuracy)
            print(f"| {seed} | {count} | {accuracy:.2f} | {seconds:.0f} |", flush=True)
    print()
    for count, values in found.items():
        print(
            f"{count} process(es): mean {mean(values):.2f}, standard deviation {stdev(values):.2f}"
        )
    apart = [two - one for one, two in zip(found[1], found[2], strict=True)]
    print(f"two less one, by seed: {', '.join(f'{value:+.2f}' for value in apart)}")
    print("\n".join(["", *how(" ".join(["python", *sys.argv]))]))
    return 0


def trained(args: argparse.Namespace, seed: int, count: int) -> tuple[float, float]:
    """Train with so many processes, of one thread each; return accuracy in percent, and seconds."""
    place = args.folder / f"{args.recipe}-{args.num_epochs}-seed{seed}-processes{count}"
    kept = place / "accuracy.json"
    if not kept.exists():
        begun = time.monotonic()
        launch = [*LAUNCH, f"--num_processes={count}", *(["--multi_gpu"] if count > 1 else [])]
        words = ["--recipe", args.recipe, "--num_epochs", str(args.num_epochs), "--seed", str(seed)]
        words += ["--split_index", str(args.split_index), "--splits_dir", str(args.splits_dir)]
        run([*(launch if count > 1 else []), str(DOOR), *words, "--output_dir", str(place)])
        seconds = time.monotonic() - begun
        (model,) = (path for path in place.iterdir() if path.is_dir())
        report = place / "report.json"
        words = ["--model_dir", str(model), "--splits_dir", str(args.splits_dir)]
        words += ["--split_index", str(args.split_index), "--output_file", str(report)]
        run(["-m", "earmark.cli", "evaluate", *words])
        accuracy = json.loads(report.read_text(encoding="utf-8"))["accuracy"]
        kept.write_text(json.dumps([100 * accuracy, seconds]), encoding="utf-8")
    accuracy, seconds = json.loads(kept.read_text(encoding="utf-8"))
    return accuracy, seconds


def run(words: list[str]) -> None:
    """Run Python quietly; end with what it said where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


if __name__ == "__main__":
    sys.exit(main())
