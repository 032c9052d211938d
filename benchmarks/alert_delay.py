"""How soon an alert comes: from the begin of a sound, and from its end, to when it is told of.

    python benchmarks/alert_delay.py path/to/ESC-10 --model base

Recordings are cut where they are loud and follow six seconds of silence. They come in parts of a
tenth of a second and are scored in blocks of half a second, as in `earmark serve`; only an event of
the right class counts. Times are those of the stream: what the machine needs comes on top.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import earmark
from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.io import decode
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session

SILENCE_SECONDS, BLOCK_SECONDS, PART_SECONDS = 6.0, 0.5, 0.1
LOUD = 0.02  # of the peak
# Classes of ESC-10 as the base calls them.
BASE_NAMES = {
    "Dog bark": "Dog",
    "Baby cry": "Crying baby",
    "Person sneeze": "Sneezing",
    "Fire crackling": "Crackling fire",
}


def delays(
    path: Path, label: str, classifier: Classifier, settings: EventSettings
) -> tuple[float, float]:
    """Return seconds from begin and end of a sound to its onset and offset; NaN: not found."""
    rate = classifier.info.sample_rate
    sound = decode.read(path, rate)
    loud = np.flatnonzero(np.abs(sound) > LOUD * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1]
    silence = np.zeros(round(SILENCE_SECONDS * rate), np.float32)
    scorer = StreamScorer(classifier.engine, settings, block_seconds=BLOCK_SECONDS)
    session = Session(scorer, rate, settings)
    part = round(PART_SECONDS * rate)
    samples = np.concatenate([silence, sound, silence])
    begun = ended = float("nan")
    for start in range(0, len(samples), part):
        events = session.push(samples[start : start + part])
        now = (start + part) / rate - SILENCE_SECONDS
        if np.isnan(begun) and any(one.label == label for one in session.under_way):
            begun = now
        if np.isnan(ended) and any(one.label == label for one in events):
            ended = now - len(sound) / rate
    return begun, ended


def clips(folder: Path, of_class: int) -> Iterator[tuple[Path, str]]:
    """Return some recordings of each class, with its name."""
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(one.glob("*.ogg"))[:of_class]:
            yield path, one.name.split(" - ", 1)[-1]


def main() -> None:
    """Measure, and print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of ESC-10, a folder for each class")
    parser.add_argument("--model", default="base")
    parser.add_argument("--smoothing_seconds", type=float, default=1.2)
    parser.add_argument("--clips", type=int, default=5, help="of each class")
    args = parser.parse_args()
    classifier = earmark.load(args.model)
    settings = EventSettings(smoothing_seconds=args.smoothing_seconds)
    found = []
    for path, name in clips(args.dataset, args.clips):
        label = name if name in classifier.classes else BASE_NAMES[name]
        found.append(delays(path, label, classifier, settings))
    begun, ended = np.array(found).T
    middle, late = np.nanpercentile(begun, (50, 90))
    print(
        f"| {args.model} | {args.smoothing_seconds:g} | {np.isfinite(begun).sum()} of {len(begun)} "
        f"| {middle:.1f} s | {late:.1f} s | {np.nanmedian(ended):.1f} s |"
    )


if __name__ == "__main__":
    main()
