"""Labels one file of a day, killed inside it, and compares its events with those of one stream.

Clips of ESC-50 are joined to one WAV file of mu-law at the model's rate. It is labelled by one
worker; each time another stretch of it is done, the worker or the process that was called is
killed. The worker's memory is noted meanwhile. Then the file is streamed once
(`Classifier.events`), and the events of both are compared, all digits of them.

    python benchmarks/archive_day.py --hours 24 --kills 10
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.archive_kill import answers, descendants, words
from earmark.classifier import Classifier
from earmark.io.decode import read
from earmark.provenance import how

EVENTS = "SELECT label, onset_seconds, offset_seconds, score FROM events ORDER BY ALL"


def main() -> int:
    """Make the file, label it with kills, stream it, compare; return 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("archive-day"), help="to work in")
    parser.add_argument("--model_dir", default="bundled")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    classifier = Classifier.load(args.model_dir)
    path = args.folder / "day" / "20240131_000000.wav"
    seconds = round(3600 * args.hours)
    if not path.exists():
        write_day(path, seconds, classifier.sample_rate)
    out = args.folder / "out"
    command = [sys.executable, "-m", "earmark.cli", "label", str(path.parent), "--out", str(out)]
    command += ["--workers", "1", "--checkpoint_seconds", "10", "--model_dir", args.model_dir]
    begun = time.monotonic()
    with (args.folder / "label.log").open("ab") as log:
        memory, lost = label_killed(
            command, out, args.kills, seconds * classifier.sample_rate, classifier.sample_rate, log
        )
    took = time.monotonic() - begun
    found = answers(out, EVENTS)
    begun = time.monotonic()
    streamed = sorted(
        (event.label, event.onset, event.offset, event.score) for event in classifier.events(path)
    )
    stream_took = time.monotonic() - begun
    same = found == streamed
    print(f"# A file of {args.hours:g} h, killed {len(lost)} times inside\n")
    print(f"- events: {len(found)} with kills, {len(streamed)} streamed; the same: {same}")
    print(f"- took {took:.0f} s with kills, streaming alone {stream_took:.0f} s")
    print(
        f"- killed when these hours of it were saved: {', '.join(f'{hour:.2f}' for hour in lost)}"
    )
    print("\n| audio done, h | worker's memory, MB |\n|---|---|")
    for hours, resident in memory:
        print(f"| {hours:.1f} | {resident:.0f} |")
    print("\n".join(["", *how(" ".join(["python", *sys.argv]))]))
    return 0 if same else 1


def write_day(path: Path, seconds: int, rate: int) -> None:
    """Join clips, over and over, to a file so long."""
    clips = sorted(Path(os.environ["EARMARK_ESC50"]).rglob("*.ogg"))
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    part = path.with_suffix(".part")
    left = seconds * rate
    with soundfile.SoundFile(
        part, "w", samplerate=rate, channels=1, format="WAV", subtype="ULAW"
    ) as file:
        block = np.concatenate(
            [read(clip, rate) for clip in rng.permutation(np.array(clips))[:720]]
        )
        while left > 0:
            shifted = np.roll(block, int(rng.integers(len(block)))) * rng.uniform(0.2, 1.0)
            file.write(shifted[:left])
            left -= len(shifted)
    part.rename(path)


def label_killed(
    command: list[str], out: Path, kills: int, samples: int, rate: int, log: object
) -> tuple[list[tuple[float, float]], list[float]]:
    """Label with kills; return the worker's memory by hours done, and the hours of each kill."""
    memory: list[tuple[float, float]] = []
    lost: list[float] = []
    while True:
        process = subprocess.Popen(command, stderr=log, start_new_session=True)  # type: ignore[call-overload]
        target = (len(lost) + 1) / (kills + 1) * samples
        while process.poll() is None:
            time.sleep(0.5)
            done = standing(out)
            workers = [pid for pid in descendants(process.pid) if "spawn_main" in words(pid)]
            hours = done / rate / 3600
            if workers and done and (not memory or hours > memory[-1][0] + 0.8):
                memory.append((hours, resident_mb(workers[0])))
            if len(lost) < kills and done >= target and workers:
                pid = process.pid if len(lost) % 2 else workers[0]
                os.kill(pid, signal.SIGKILL)
                lost.append(hours)
                target = (len(lost) + 1) / (kills + 1) * samples
        if process.returncode == 0:
            return memory, lost


def standing(out: Path) -> int:
    """Return how many samples of the file its last checkpoint has."""
    for path in out.glob("results/*/progress/*.json"):
        try:
            return int(json.loads(path.read_text(encoding="utf-8"))["samples"])
        except (OSError, ValueError):
            continue
    return 0


def resident_mb(pid: int) -> float:
    """Return the memory of a process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
