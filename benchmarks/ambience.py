"""Measure the false alarms of the model `base` on ambience that a calibration was not fitted to.

    python -m benchmarks.ambience path/to/ESC-50 path/to/moodist/public/sounds

The model answers with the classes that a house wants to be told of, as with `--classes`. The
ambience is that of Moodist (github.com/remvze/moodist): cafés, offices, stations, streets, woods,
rain, machines; no file of it is in any training of Earmark's. Left out is what is named after one
of the classes or made by a program, and what the uncut teacher (`tools/teacher.py`) hears one of
the classes in, with more than 0.5 in some window of 5 s: wolves and a village at night (dogs), a
road (a siren).

Thresholds are fitted to three quarters, as `earmark calibrate` does, and tried on the fourth, four
times. Quarters are of each recording's time, so that the same places are heard later; or of the
recordings, so that other places are. What they cost is measured on the clips of ESC-50 that the
model was not trained on, for their licences.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earmark import Classifier, EventSettings
from earmark.bundled import BASE, FOLDERS
from earmark.data.readers import read_dataset
from earmark.decision.poisson import rate_interval
from earmark.evaluation.background import (
    MOST_OF_THE_TIME,
    Judge,
    Recording,
    measure_recall,
    raise_thresholds,
)
from earmark.io.paths import expand
from earmark.provenance import how

CLASSES = (
    *("Chainsaw", "Clock alarm", "Crying baby", "Dog", "Door knock", "Glass breaking", "Siren"),
)
HOLD_CLASSES = ("alarm", "dog-barking", "ambulance-siren", "wolf", "night-village", "urban/road")
NO_RECORDINGS = ("binaural", "noise/", "silence")  # made by programs
PARTS = 4
RATES = (1.0, 3.0, 10.0)


def choose_recordings(folder: Path) -> list[Path]:
    """Return the recordings in which none of the classes is said to sound."""
    return [
        path
        for path in expand([str(folder)]).files
        if not any(
            word in path.relative_to(folder).as_posix() for word in (*HOLD_CLASSES, *NO_RECORDINGS)
        )
    ]


def unmet_clips(esc50: Path) -> list[tuple[Path, str]]:
    """Return ESC-50's clips of the classes that the model was not trained on, for their licences.

    Its attribution names those that it was trained on.
    """
    met = (FOLDERS[BASE] / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    dataset = read_dataset(esc50, for_training=False)
    return [
        (clip.path, clip.label)
        for clip in dataset.clips
        if clip.label in CLASSES and clip.path.stem not in met
    ]


def cut_time(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Cut each recording into as many parts, one after the other."""
    cut = [np.array_split(one.rows, PARTS) for one in recordings]
    return [
        [
            Recording(rows[part], one.seconds * len(rows[part]) / len(one.rows))
            for one, rows in zip(recordings, cut, strict=True)
        ]
        for part in range(PARTS)
    ]


def deal(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Deal the recordings out to as many parts, in random order."""
    order = np.random.default_rng(0).permutation(len(recordings))
    return [[recordings[number] for number in order[part::PARTS]] for part in range(PARTS)]


def lay_out(
    name: str,
    judge: Judge,
    parts: Sequence[Sequence[Recording]],
    own: Sequence[float],
    rate: float,
    sounding: Sequence[Recording],
    labels: Sequence[str],
) -> None:
    """Fit to all parts but one, try on that one, each in turn; print the row of a table."""
    left, after, found = 0, 0, []
    hours = sum(one.seconds for part in parts for one in part) / 3600
    for part in parts:
        others = [one for other in parts if other is not part for one in other]
        length = sum(one.seconds for one in others) / 3600
        thresholds = raise_thresholds(judge, others, own, max(1.0, rate * length))
        left += sum(map(len, judge.find(part, thresholds)))
        after += sum(map(len, judge.find(others, thresholds)))
        found.append(measure_recall(judge, sounding, labels, own, thresholds))
    rows = [row for one in found for row in one.values()]
    clips = sum(row.clips for row in rows)
    before, still = (
        100 * sum(getattr(r, key) for r in rows) / clips for key in ("before", "after")
    )
    low, high = rate_interval(left, hours)
    print(
        f"| {name} | {rate:g} | {hours * (PARTS - 1) / PARTS:.2f} | {after} in {PARTS} fits "
        f"| **{left}: {left / hours:.2f} ({low:.2f} to {high:.2f})** "
        f"| {before:.0f} -> {still:.0f} % |",
        flush=True,
    )


def main() -> None:
    """Fit to three parts, try on the fourth, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("ambience", type=Path, help="folder of recordings")
    args = parser.parse_args()
    classifier = Classifier.load("base", classes=CLASSES)
    settings = EventSettings().with_lags(classifier.info.model.lags_seconds)
    judge = Judge(classifier.engine, settings)
    own = classifier.info.calibration.thresholds
    paths = choose_recordings(args.ambience)
    scored = {path: judge.score(path, allow_silence=True) for path in paths}
    clips = unmet_clips(args.esc50)
    sounding = [judge.score(path, allow_silence=True, silence_after=2.0) for path, _ in clips]
    labels = [label for _, label in clips]
    hours = sum(one.seconds for one in scored.values()) / 3600
    before = [event for events in judge.find(list(scored.values()), own) for event in events]
    low, high = rate_interval(len(before), hours)
    print(f"{len(paths)} recordings, {hours:.2f} h, {len(clips)} clips of {len(CLASSES)} classes")
    print(f"own thresholds: {len(before)}: {len(before) / hours:.1f} ({low:.1f} to {high:.1f})")
    refused = set()  # as `calibrate` refuses them
    for path, events in zip(paths, judge.find(list(scored.values()), own), strict=True):
        if events:
            print(f"  {path.name}: {sorted((e.label, round(e.score, 2)) for e in events)}")
        sounding_for = defaultdict[str, float](float)
        for event in events:
            sounding_for[event.label] += event.offset - event.onset
        if max(sounding_for.values(), default=0) > MOST_OF_THE_TIME * scored[path].seconds:
            refused.add(path)
    print(f"left out of the fits: {sorted(path.name for path in refused)}")
    print("| fourths | asked | fitted to h | left there | on the fourth part | clips found |")
    print("|---|---|---|---|---|---|")
    kept = [one for path, one in scored.items() if path not in refused]
    for name, parts in {"of time": cut_time(kept), "of recordings": deal(kept)}.items():
        for rate in RATES:
            lay_out(name, judge, parts, own, rate, sounding, labels)
    print("\n".join(how("python -m benchmarks.ambience ESC-50 moodist/public/sounds", cores=1)))


if __name__ == "__main__":
    main()
