"""Times `earmark label` with Ray beside the local engine: one core and one worker each.

Clips of ESC-50 are joined to recordings of a minute, of which each stands in the folder several
times (as hard links), so that a job is as long as is asked for. Both engines label all of it at the
same time, each with all its processes on one core; then they change cores and do it again. So what
else the machine does falls on both. Where both are given the same core, one round is enough. Ray's
workers run with the niceness of all others, not with the higher one that Ray gives them by itself.

    python benchmarks/archive_engines.py --minutes 10
    python benchmarks/archive_engines.py --minutes 60 --cores 1 1 --rounds 1
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from earmark.io.decode import read
from earmark.provenance import how

RATE = 44_100
CLIPS, RECORDINGS = 12, 100  # clips of a recording, and how many are made
ENGINES = ("local", "ray")


def main() -> int:
    """Make the folder, label it with both engines, twice, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="about how long a job is")
    parser.add_argument("--factor", type=float, default=120.0, help="times real time, for that")
    parser.add_argument("--cores", type=int, nargs=2, default=(0, 1), help="of local and of ray")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("archive-engines"), help="to work in")
    parser.add_argument("--model_dir", default="base")
    args = parser.parse_args()
    files = round(args.minutes * args.factor)
    recordings = args.folder / f"recordings-{files}"
    if not recordings.is_dir():
        make_recordings(recordings, files)
    print(f"# Ray beside local: {files} files of a minute\n")
    print("| round | engine | core | seconds |\n|---|---|---|---|", flush=True)
    totals = dict.fromkeys(ENGINES, 0.0)
    for number in range(args.rounds):
        cores = dict(zip(ENGINES, args.cores[:: -1 if number % 2 else 1], strict=True))
        for engine, seconds in side_by_side(recordings, cores, args).items():
            totals[engine] += seconds
            print(f"| {number + 1} | {engine} | {cores[engine]} | {seconds:.0f} |", flush=True)
    print(f"\nRay takes {totals['ray'] / totals['local']:.3f} of the local engine's time.")
    print("\n".join(["", *how(" ".join(["python", *sys.argv]))]))
    return 0


def quiet(_: str) -> None:
    """Say nothing of what is suspicious about a clip."""


def make_recordings(folder: Path, files: int) -> None:
    """Write recordings of a minute, each under several names."""
    clips = sorted(Path(os.environ["EARMARK_ESC50"]).rglob("*.ogg"))
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(files):
        path = folder / f"{number:05}.flac"
        if number >= RECORDINGS:
            path.hardlink_to(folder / f"{number % RECORDINGS:05}.flac")
            continue
        chosen = rng.choice(len(clips), CLIPS, replace=False).tolist()
        minute = np.concatenate([read(clips[one], RATE, warn=quiet) for one in chosen])
        soundfile.write(path, minute, RATE)


def side_by_side(
    recordings: Path, cores: dict[str, int], args: argparse.Namespace
) -> dict[str, float]:
    """Label with both engines at the same time; return the seconds that each took."""
    begun, running = time.monotonic(), {}
    for engine, core in cores.items():
        out = args.folder / f"out-{engine}"
        shutil.rmtree(out, ignore_errors=True)
        command = ["taskset", "-c", str(core), sys.executable, "-m", "earmark.cli", "label"]
        command += [str(recordings), "--out", str(out), "--engine", engine, "--workers", "1"]
        with (args.folder / f"{engine}.log").open("ab") as log:
            running[engine] = subprocess.Popen(
                [*command, "--model_dir", args.model_dir],
                stdout=log,
                stderr=log,
                env={**os.environ, "RAY_worker_niceness": "0"},
            )
    took: dict[str, float] = {}
    while running:
        time.sleep(0.2)
        for engine, process in list(running.items()):
            if process.poll() is not None:
                if process.returncode:
                    raise SystemExit(f"{engine} failed; see {args.folder / engine}.log")
                took[engine] = time.monotonic() - begun
                del running[engine]
    return {engine: took[engine] for engine in ENGINES}


if __name__ == "__main__":
    sys.exit(main())
