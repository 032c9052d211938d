"""Measure the false alarms that are left on hours which a calibration was not fitted to.

    python -m benchmarks.calibration path/to/ESC-50 --more path/to/recordings

The background is what the model `esc10` was never told of: the clips of ESC-50's
forty other classes. They are divided in two by their source recordings, each half joined in random
order to one long recording. Thresholds are fitted to one half and tried on the other, then the
other way round; and tried on the recordings of `--more`, none of which may hold a class. What they
cost is measured on the clips of the ten classes, which the model was trained on.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from earmark import Classifier, EventSettings
from earmark.decision.poisson import rate_interval
from earmark.evaluation.background import (
    Alarms,
    Judge,
    Recording,
    count_events,
    measure_recall,
    raise_thresholds,
)
from earmark.io import decode
from earmark.provenance import how

SAMPLE_RATE = 44_100
RATES = (1.0, 3.0, 10.0, 30.0, 100.0)


def join_halves(esc50: Path, folder: Path) -> list[Path]:
    """Write the clips of the forty other classes as two recordings of different sources."""
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if not row["path"].startswith("../esc10")]
    sources = sorted({row["group"] for row in rows})
    first = set(np.random.default_rng(0).permutation(sources)[: len(sources) // 2].tolist())
    halves: list[Path] = []
    for half in (True, False):
        chosen = [row["path"] for row in rows if (row["group"] in first) == half]
        path = folder / f"half-{len(halves)}.flac"
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            for name in np.random.default_rng(1).permutation(chosen).tolist():
                file.write(decode.read(esc50 / name, SAMPLE_RATE, allow_silence=True))
        halves.append(path)
    return halves


def show(alarms: Alarms) -> str:
    """Lay out a count with its rate and interval."""
    low, high = alarms.interval
    return f"{alarms.count}: {alarms.per_hour:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Fit to each half, try on the other, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    classifier = Classifier.load("esc10")
    judge = Judge(classifier.engine, EventSettings())
    own = classifier.info.calibration.thresholds
    with (args.esc50 / "esc50.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["path"].startswith("../esc10")]
    labels = [Path(row["path"]).parent.name[6:] for row in rows]
    clips = [judge.score(args.esc50 / row["path"], allow_silence=True) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        halves = [
            judge.score(path, allow_silence=False) for path in join_halves(args.esc50, Path(folder))
        ]
    more = [judge.score(path, allow_silence=False) for path in args.more]

    def count(recordings: list[Recording], thresholds: Sequence[float]) -> Alarms:
        hours = sum(one.seconds for one in recordings) / 3600
        return count_events(judge.find(recordings, thresholds), hours)

    hours = [one.seconds / 3600 for one in halves]
    print(f"halves {hours[0]:.3f} and {hours[1]:.3f} h, more {sum(r.seconds for r in more):.0f} s")
    print(f"own thresholds: {[show(count([half], own)) for half in halves]}")
    print(f"of the classes: {count(halves, own).by_class}; on more: {count(more, own)}")
    print("| asked | fitted to | on it | on the other half | on more | clips found |")
    print("|---|---|---|---|---|---|")
    for rate in RATES:
        left = 0
        for number in (0, 1):
            mine, other = [halves[number]], [halves[1 - number]]
            thresholds = raise_thresholds(judge, mine, own, max(1.0, rate * hours[number]))
            tried = count(other, thresholds)
            left += tried.count
            found = measure_recall(judge, clips, labels, own, thresholds).values()
            before, after = (
                100 * sum(getattr(row, part) for row in found) / len(clips)
                for part in ("before", "after")
            )
            print(
                f"| {rate:g} | half {number} | {show(count(mine, thresholds))} | {show(tried)} "
                f"| {show(count(more, thresholds))} | {before:.1f} -> {after:.1f} % |",
                flush=True,
            )
        low, high = rate_interval(left, sum(hours))
        each = left / sum(hours)
        print(f"| {rate:g} | each half | | **{left}: {each:.2f} ({low:.2f} to {high:.2f})** | | |")
    print("\n".join(how("python -m benchmarks.calibration ESC-50 --more FILES", cores=1)))


if __name__ == "__main__":
    main()
