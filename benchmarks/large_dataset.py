"""Memory for training on many hours: made-up features in a cache, one epoch, no audio.

    python benchmarks/large_dataset.py --hours 100

Clips of 5 s, 250 frames of 40 mels, in ten classes; ten clips have one source recording. The cache
is a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import accelerate
import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.config.recipes import read_recipe
from earmark.data.cache.packs import Entry
from earmark.data.cache.store import FeatureCache, Shelf
from earmark.data.frames import ClipFrames
from earmark.data.splits import ClipSet, Split
from earmark.training.run import train_model

_CLASSES = tuple("abcdefghij")
_FRAMES = 250
_AT_A_TIME = 3_000  # clips in a pack
_CLIPS_AN_HOUR = 720


def main() -> None:
    """Fill a cache, train one epoch, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=100.0, metavar="FLOAT")
    args = parser.parse_args()
    changes = {"num_epochs": 1, "crops_per_clip": 1, "batch_size": 64}
    recipe = read_recipe("documented").replace({**changes, "num_layers": 1})
    with tempfile.TemporaryDirectory() as folder:
        shelf = FeatureCache(Path(folder) / "cache").shelf(recipe.front_end)
        split = _make_split(shelf, recipe.front_end, round(args.hours * _CLIPS_AN_HOUR))
        _say("features kept")
        accelerator = accelerate.Accelerator(cpu=True)
        train_model(split, recipe.training, accelerator, Path(folder) / "run", show_progress=False)
        _say("trained for one epoch")


def _make_split(shelf: Shelf, front_end: FrontEndSettings, count: int) -> Split:
    """Keep noise that is louder in a class's own bands, and divide it, a fifth for the test."""
    rng = np.random.default_rng(0)
    noise = rng.normal(-6, 2, (20_000, front_end.n_mels)).astype(np.float32)
    labels = np.arange(count) % len(_CLASSES)
    digests = [f"{number:064x}" for number in range(count)]
    for first in range(0, count, _AT_A_TIME):
        entries = []
        for number in range(first, min(count, first + _AT_A_TIME)):
            start = int(rng.integers(0, len(noise) - _FRAMES))
            frames = noise[start : start + _FRAMES].copy()
            frames[:, 4 * labels[number] : 4 * labels[number] + 4] += 2
            entries.append(Entry(digests[number], frames, 5.0))
        shelf.add(entries)
    views = [stored.frames for digest in digests if (stored := shelf.find(digest))]

    def part(mask: NDArray[np.bool_]) -> ClipSet:
        chosen = np.flatnonzero(mask).tolist()
        names = [digests[number] for number in chosen]
        sources = [str(number // 10) for number in chosen]
        frames = ClipFrames([views[number] for number in chosen], front_end.n_mels)
        return ClipSet(frames, np.full(len(chosen), _FRAMES), labels[mask], names, sources, names)

    tested = (np.arange(count) // 100) % 5 == 0
    return Split(part(~tested), part(tested), _CLASSES, front_end=front_end, fingerprint="made up")


def _say(what: str) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{what}: at most {used.ru_maxrss / 1024:.0f} MB, "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
