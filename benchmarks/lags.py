"""How late the scores of the bundled model are, and what that does to the times of events.

    python benchmarks/lags.py path/to/ESC-50 --out docs/results/lags

The clips are those that weights for shipping may not learn from (CC BY-NC and CC Sampling+), so the
model met none of them. Their sources are drawn into two halves; each half is laid into long
recordings, with noise at two levels, as `benchmarks.hours` does. The lags of a half are the medians
by which events without lags are late; each half is then scored with the lags of the other one, and
with those that the model has. Needs sed_eval: pip install earmark[bench].
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.hours import Scene, carried, measures, scene
from earmark import Classifier
from earmark.config import EventSettings
from earmark.config.model import LAGS_SECONDS
from earmark.io import decode
from earmark.io.files import write_text
from earmark.provenance import how
from earmark.runtime.engine import Engine, Floats

FREE = ("CC0", "CC-BY")
SEED = 0
COLUMNS = {
    "seconds_right": "seconds right",
    "seconds_right_first": "first 10 min",
    "seconds_right_last": "last 10 min",
    "f1_onset_second": "onset F1, 1 s",
    "f1_second": "onset and offset F1, 1 s",
    "found": "found",
    "onset_late_seconds": "onset late s",
    "offset_late_seconds": "offset late s",
    "false_alarms_per_hour": "false alarms an hour",
}
Recordings = list[tuple[Scene, Floats]]


def read_halves(esc50: Path, sample_rate: int) -> list[list[tuple[str, Floats]]]:
    """Return label and samples of the clips that the model has not met, in two halves."""
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["licence"] not in FREE]
    groups = sorted({row["group"] for row in rows})
    np.random.default_rng(SEED).shuffle(groups)
    halves: list[list[tuple[str, Floats]]] = [[], []]
    for row in rows:
        half = halves[groups.index(row["group"]) % 2]
        half.append((row["label"], decode.read(esc50 / row["path"], sample_rate)))
    return halves


def measure(engine: Engine, recordings: Recordings, lags: Sequence[float]) -> dict[str, float]:
    """Return the means over some recordings of what `benchmarks.hours` measures."""
    settings = EventSettings().with_lags(lags)
    found = [measures(engine, settings, rows, recording) for recording, rows in recordings]
    return {name: float(np.mean([one[name] for one in found])) for name in COLUMNS}


def main() -> None:
    """Measure both halves and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--minutes", type=float, default=45.0, help="of each recording")
    parser.add_argument("--snr", type=float, nargs="+", default=[30.0, 10.0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/lags"))
    args = parser.parse_args()
    engine = Classifier.load().engine
    own = engine.info.model.lags_seconds
    halves: list[Recordings] = []
    for number, clips in enumerate(read_halves(args.esc50, engine.info.sample_rate)):
        laid = [
            scene(clips, engine.info.sample_rate, args.minutes, snr, number) for snr in args.snr
        ]
        settings = EventSettings()
        halves.append([(one, carried(engine, settings, one.samples)) for one in laid])
        halves[-1] = [(replace(one, samples=one.samples[:0]), rows) for one, rows in halves[-1]]
    late = [measure(engine, half, (0.0, 0.0)) for half in halves]
    fitted = [
        (round(one["onset_late_seconds"], 2), round(one["offset_late_seconds"], 2)) for one in late
    ]
    lines = [
        "# How late scores are",
        "",
        *" ".join(__doc__.split("\n\n")[2].split()).splitlines(),
        "",
        "| half | lags of onset and offset, s | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for number, half in enumerate(halves):
        ways = {
            "most models": LAGS_SECONDS,
            "the other half": fitted[1 - number],
            "the model's own": own,
        }
        for name, lags in ways.items():
            cells = (f"{value:.2f}" for value in measure(engine, half, lags).values())
            events = sum(len(recording.truth) for recording, _ in half)
            lines.append(
                f"| {number + 1}, {events} sounds | {name}: {lags[0]:g}, {lags[1]:g} "
                f"| {' | '.join(cells)} |"
            )
    command = "python benchmarks/lags.py path/to/ESC-50"
    text = "\n".join([*lines, "", *how(command)]) + "\n"
    write_text(args.out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
