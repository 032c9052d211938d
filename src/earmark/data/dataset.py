"""Dataset -> split files: decode, make features, divide into folds.

One bad file never stops the others: it is recorded with its reason and left out. What would make
every result wrong stops the whole: folds that leak, a class that vanished, nothing readable.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.data.cache.store import FeatureCache
from earmark.data.extract import FeatureClip, Progress, extract_clips
from earmark.data.folds import assign_folds, check_table, find_leaks, merged_groups, natural_order
from earmark.data.frames import ClipFrames, as_view
from earmark.data.negatives import NO_CLASS, NONE
from earmark.data.pickles.inert import read_inert
from earmark.data.readers import Dataset
from earmark.data.splits import ClipSet, Split, is_own, split_numbers, split_path, write_split
from earmark.data.synthetic.negatives import make_negatives
from earmark.errors import DatasetError, SplitError
from earmark.io.files import sha256_of_json
from earmark.nn.features import LogMel


@dataclass(frozen=True)
class FeatureDataset:
    """A dataset: features, folds, and what could not be read.

    Attributes:
        name: name of the dataset.
        synthetic: the clips are generated, not recorded.
        classes: class names.
        clips: readable clips, those of no class among them.
        groups: their source recordings; clips of one source, or of equal content, share one.
        folds: the fold of each readable clip.
        failures: one line for each unreadable file.
        front_end: how the features were made.
        fingerprint: SHA-256 over contents, labels and folds.
        left_out: what the search for clips passed over, with numbers and reasons; may be empty.
    """

    name: str
    synthetic: bool
    classes: tuple[str, ...]
    clips: Sequence[FeatureClip]
    groups: Sequence[str]
    folds: Sequence[str]
    failures: Sequence[str]
    front_end: FrontEndSettings
    fingerprint: str
    left_out: str = ""

    @property
    def fold_names(self) -> list[str]:
        """The folds in natural order; split N tests on the one at place N."""
        return natural_order(self.folds)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class number of each readable clip, `NO_CLASS` for negatives, `(clips,)`."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        found = [
            NO_CLASS if item.clip.label is None else numbers[item.clip.label] for item in self.clips
        ]
        return np.array(found, np.int64)

    @property
    def negatives(self) -> int:
        """Number of readable clips of no class."""
        return int((self.labels == NO_CLASS).sum())

    def split(self, index: int) -> Split:
        """Return the split that tests on fold number `index` and trains on the others."""
        name = self.fold_names[index]
        inside = [fold == name for fold in self.folds]
        return Split(
            self._clip_set([not i for i in inside]),
            self._clip_set(inside),
            self.classes,
            dataset=self.name,
            synthetic=self.synthetic,
            index=index,
            test_fold=name,
            front_end=self.front_end,
            fingerprint=self.fingerprint,
        )

    def whole(self) -> Split:
        """Return all clips as a training part, with nothing to test on; its index is -1."""
        return Split(
            self._clip_set([True] * len(self.clips)),
            self._clip_set([False] * len(self.clips)),
            self.classes,
            dataset=self.name,
            synthetic=self.synthetic,
            index=-1,
            front_end=self.front_end,
            fingerprint=self.fingerprint,
        )

    def without(self, classes: Sequence[str]) -> tuple[FeatureDataset, ClipSet]:
        """Return the dataset without some classes, and all clips of these as clips of no class."""
        kept = [item.clip.label not in classes for item in self.clips]

        def those(values: Sequence[Any]) -> list[Any]:
            return [value for value, k in zip(values, kept, strict=True) if k]

        rest = dataclasses.replace(
            self,
            classes=tuple(name for name in self.classes if name not in classes),
            clips=those(self.clips),
            groups=those(self.groups),
            folds=those(self.folds),
        )
        unknown = self._clip_set([not k for k in kept])
        return rest, dataclasses.replace(unknown, labels=np.full_like(unknown.labels, NO_CLASS))

    def _clip_set(self, wanted: Sequence[bool]) -> ClipSet:
        chosen = [place for place, i in enumerate(wanted) if i]
        items = [self.clips[place] for place in chosen]
        return ClipSet(
            ClipFrames([as_view(item.frames) for item in items], self.front_end.n_mels),
            np.array([len(item.frames) for item in items], np.int64),
            self.labels[chosen],
            [str(item.clip.path) for item in items],
            [self.groups[place] for place in chosen],
            [item.digest for item in items],
        )


def generate_negatives(settings: FrontEndSettings, count: int, seed: int) -> ClipSet:
    """Return generated clips of no class."""
    extracted = generate_negative_frames(settings, count, seed)
    names = [f"negative {number}" for number in range(count)]
    labels, frames = (
        np.full(count, NO_CLASS, np.int64),
        np.full(count, extracted.shape[1], np.int64),
    )
    return ClipSet(extracted.reshape(-1, settings.n_mels), frames, labels, names, names)


@lru_cache(maxsize=4)
def generate_negative_frames(
    settings: FrontEndSettings, count: int, seed: int, seconds: float = 5.0
) -> NDArray[np.float32]:
    """Return generated clips of no class as log-mel frames, `(count, frames, mels)`.

    The last few answers are kept, for the many runs of a cross-validation; do not write to them.
    """
    front_end = LogMel(settings)
    clips = make_negatives(count, seed, settings.sample_rate, seconds)
    with torch.inference_mode():
        frames = [front_end(torch.from_numpy(samples)[None])[0] for _, samples in clips]
    return torch.stack(frames).numpy()


def build_dataset(
    dataset: Dataset,
    settings: FrontEndSettings,
    *,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = iter,
    tell_fault: Callable[[str], object] = lambda _: None,
    remark: Callable[[str], object] = lambda _: None,
    cache: FeatureCache | None = None,
) -> FeatureDataset:
    """Make the features of a dataset and divide it into folds.

    Args:
        dataset: the clips.
        settings: the front end.
        folds: how many folds to make where the dataset has none; 1: nothing will be tested, so
            that folds may be missing or leak.
        seed: seed of the folds that are made.
        progress: wraps the iteration over clips, to show a bar.
        tell_fault: takes a line about each unreadable file, before any error.
        remark: takes a line about a cache that cannot be written, or is too small.
        cache: where features are looked for and kept; None: they are kept in memory.

    Raises:
        DatasetError: nothing is readable, a class lost all its clips, or the folds leak.
    """
    try:
        check_table(dataset.clips, folds=folds, seed=seed, known_leaks=dataset.known_leaks)
    except DatasetError as error:
        raise DatasetError(f"{dataset.name}: {error}") from None
    readable, failures = extract_clips(
        dataset.clips, settings, progress, cache=cache, remark=remark
    )
    for failure in failures:
        tell_fault(failure)
    if not readable:
        raise DatasetError(
            f"{dataset.name}: none of its {len(failures)} files can be read; "
            f"the first: {failures[0]}"
        )
    clips, classes = [item.clip for item in readable], dataset.classes
    if lost := set(classes) - {clip.label for clip in clips}:
        raise DatasetError(
            f"{dataset.name}: no file of class {min(lost)!r} can be read "
            f"({len(failures)} unreadable files; the first: {failures[0]})"
        )
    digests = [item.digest for item in readable]
    try:
        assigned = assign_folds(
            clips, digests, folds=folds, seed=seed, known_leaks=dataset.known_leaks
        )
    except DatasetError as error:
        raise DatasetError(f"{dataset.name}: {error}") from None
    fingerprint = sha256_of_json(
        sorted([d, c.label or "", f] for d, c, f in zip(digests, clips, assigned, strict=True))
    )
    return FeatureDataset(
        dataset.name,
        dataset.synthetic,
        classes,
        readable,
        merged_groups(clips, digests),
        assigned,
        failures,
        settings,
        fingerprint,
        dataset.left_out,
    )


def describe_leaks(dataset: Dataset) -> list[str]:
    """Say which source recordings stand in two of a published dataset's folds, with their clips."""
    folds = [str(clip.fold) for clip in dataset.clips]
    found = find_leaks(dataset.clips, [clip.group for clip in dataset.clips], folds)
    leaks = {group: clips for group, clips in found.items() if group in dataset.known_leaks}
    if not leaks:
        return []
    named = [
        f"{group} ({', '.join(f'{clip.path.name} in fold {f}' for f, clip in found.items())})"
        for group, found in leaks.items()
    ]
    return [
        f"{dataset.name}: the published folds leak: {len(leaks)} source recordings stand in two "
        f"folds: {'; '.join(named)}; results say what they are without these clips"
    ]


def replaceable_splits(out: Path) -> list[Path]:
    """Return the split files of an earlier dataset that new ones may take the place of.

    Raises:
        DatasetError: the folder holds split files that Earmark did not write, or damaged ones.
    """
    found = [split_path(out, number) for number in split_numbers(out)]
    for path in found:
        try:
            own = is_own(read_inert(path))
        except SplitError:
            own = False
        if not own:
            raise DatasetError(
                f"{path}: is damaged or was not written by Earmark, and would be lost; remove it, "
                "move it, or use --out"
            )
    return found


def write_splits(dataset: FeatureDataset, out: Path, *, self_contained: bool = False) -> list[Path]:
    """Write one split file for each fold, in place of those of an earlier dataset.

    Args:
        dataset: the dataset.
        out: folder of the split files.
        self_contained: see `write_split`.

    Raises:
        DatasetError: see `replaceable_splits`.
    """
    # Backwards: a kill leaves splits missing, never two datasets mixed.
    for path in reversed(replaceable_splits(out)):
        path.unlink()
    return [
        write_split(out, dataset.split(index), self_contained=self_contained)
        for index in range(len(dataset.fold_names))
    ]


def report(dataset: FeatureDataset) -> str:
    """Describe a prepared dataset: clips of each class in each fold, durations, faults."""
    names = dataset.fold_names
    counts = Counter(
        (item.clip.label, fold) for item, fold in zip(dataset.clips, dataset.folds, strict=True)
    )
    rows: list[tuple[str, str | None]] = [(label, label) for label in dataset.classes]
    clips = f"{len(dataset.clips)} clips"
    if dataset.negatives:
        rows.append((NONE, None))
        clips += f", {dataset.negatives} of them of no class (negatives)"
    width = max(len(shown) for shown, _ in (*rows, ("class", None)))
    lines = [
        f"{dataset.name}: {len(dataset.classes)} classes, {clips}, {len(names)} folds",
        f"{'class':<{width}}  clips" + "".join(f"{'fold ' + name:>8}" for name in names),
    ]
    for shown, label in rows:
        row = [counts[label, name] for name in names]
        lines.append(f"{shown:<{width}}  {sum(row):5d}" + "".join(f"{n:8d}" for n in row))
    seconds = np.array([item.seconds for item in dataset.clips])
    lines.append(
        f"durations: {seconds.min():.2f} to {seconds.max():.2f} s, median "
        f"{np.median(seconds):.2f} s, together {seconds.sum() / 60:.1f} min"
    )
    lines.append(f"unreadable files: {len(dataset.failures)}")
    if dataset.left_out:
        lines.append(dataset.left_out)
    return "\n".join(lines)
