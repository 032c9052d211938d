"""Split files: a training and a test part, as inert pickles.

What Earmark writes is a plain dict of NumPy arrays, strings and numbers that a bare `pickle.load`
reads. What it reads goes through `earmark.data.pickles.inert`, so that a hostile file runs no code.

Clips differ in length, so a part holds all frames of all clips in one array and the number of
frames of each; nothing is padded or cut.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings, from_json, to_json
from earmark.data.negatives import NO_CLASS
from earmark.data.pickles.foreign import read_foreign
from earmark.data.pickles.inert import read_inert
from earmark.errors import SettingsError, SplitError
from earmark.io.files import write_whole

FORMAT = "earmark-split"
VERSION = 1


@dataclass(frozen=True)
class ClipSet:
    """The features and labels of some clips.

    Attributes:
        features: all frames of all clips, one after the other, `(total frames, input_size)`.
        frames: frames of each clip, `(clips,)`, at least 1.
        labels: class numbers, `(clips,)`; `NO_CLASS`, -1, for clips of no class.
        paths: each clip's file, or a name where it has none.
        groups: each clip's source recording.
    """

    features: NDArray[np.float32]
    frames: NDArray[np.int64]
    labels: NDArray[np.int64]
    paths: Sequence[str]
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def of_class(self) -> NDArray[np.bool_]:
        """True for the clips that have a class, `(clips,)`; False for negatives."""
        return self.labels != NO_CLASS

    @property
    def starts(self) -> NDArray[np.int64]:
        """The first frame of each clip in `features`, `(clips,)`."""
        return np.cumsum(self.frames) - self.frames

    def clip(self, index: int) -> NDArray[np.float32]:
        """Return the frames of one clip, `(frames, input_size)`."""
        start = int(self.starts[index])
        return self.features[start : start + int(self.frames[index])]

    def select(self, mask: NDArray[np.bool_]) -> ClipSet:
        """Return the clips where `mask` is True."""
        chosen = np.flatnonzero(mask).tolist()
        return ClipSet(
            self.features[np.repeat(mask, self.frames)],
            self.frames[chosen],
            self.labels[chosen],
            [self.paths[i] for i in chosen],
            [self.groups[i] for i in chosen],
        )


@dataclass(frozen=True)
class Split:
    """One division of a dataset into a training and a test part.

    Attributes:
        train: clips to train on; validation comes out of these.
        test: clips scored once, at the end.
        classes: class names; a label is an index into them.
        dataset: name of the dataset.
        synthetic: the clips are generated, not recorded.
        index: number of the split.
        test_fold: name of the fold that is the test part.
        front_end: how the features were made, or None when someone else made them.
        fingerprint: SHA-256 over the clips' contents, labels and folds; empty when unknown.
    """

    train: ClipSet
    test: ClipSet
    classes: tuple[str, ...]
    dataset: str = "unnamed"
    synthetic: bool = False
    index: int = 0
    test_fold: str = ""
    front_end: FrontEndSettings | None = None
    fingerprint: str = ""

    @property
    def title(self) -> str:
        """The dataset's name, and the split's number where something is tested."""
        return f"{self.dataset}, split {self.index}" if self.index >= 0 else self.dataset


def split_path(folder: Path, index: int) -> Path:
    """Return where split number `index` stands in a folder of splits."""
    return folder / f"split_{index}.pkl"


def split_numbers(folder: Path) -> list[int]:
    """Return the numbers of the split files in a folder, in order."""
    numbers = (file.stem[6:] for file in folder.glob("split_*.pkl") if file.is_file())
    return sorted(int(text) for text in numbers if text.isdecimal() and text == str(int(text)))


def write_split(folder: Path, split: Split) -> Path:
    """Write a split as `split_INDEX.pkl`, whole or not at all, and return its path."""
    front_end = split.front_end
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": split.dataset,
        "synthetic": int(split.synthetic),
        "split_index": split.index,
        "test_fold": split.test_fold,
        "classes": np.array(split.classes),
        "front_end": to_json(front_end) if front_end else {},
        "fingerprint": split.fingerprint,
        "train": _part_content(split.train),
        "test": _part_content(split.test),
    }
    path = split_path(folder, split.index)
    write_whole(path, lambda file: pickle.dump(content, file, protocol=4))
    return path


def _part_content(part: ClipSet) -> dict[str, Any]:
    return {
        "features": part.features,
        "frames": part.frames,
        "labels": part.labels,
        "paths": np.array(part.paths, dtype=np.str_),
        "groups": np.array(part.groups, dtype=np.str_),
    }


def read_split(folder: Path, index: int) -> Split:
    """Read `split_INDEX.pkl` from a folder.

    Besides Earmark's own format it takes what users of the documented system may have: a dict
    with `train` and `test`, or a pair, of `(features, labels)` arrays or tensors, lists of
    `(feature, label)` pairs, or `TensorDataset`s.

    Raises:
        SplitError: the file is missing, damaged, would run code, or holds something else.
    """
    path = split_path(folder, index)
    if not path.is_file():
        raise SplitError(_missing(folder, index))
    content = read_inert(path)
    try:
        if is_own(content):
            return _own_split(content, index)
        return _foreign_split(content, index, path)
    except (SplitError, SettingsError) as error:
        raise SplitError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SplitError(
            f"{path}: is not a usable split ({type(error).__name__}: {error}); "
            "write it again with: earmark prepare DATASET"
        ) from None


def _missing(folder: Path, index: int) -> str:
    if numbers := split_numbers(folder):
        have = ", ".join(map(str, numbers))
        return f"{folder}: has no split {index}; --split_index may be {have}"
    return (
        f"{folder}: has no split files; make them with: earmark prepare DATASET "
        "(or: earmark prepare synthetic)"
    )


def is_own(content: Any) -> bool:
    """Tell whether what a split file holds was written by Earmark."""
    return isinstance(content, Mapping) and content.get("format") == FORMAT


def _own_split(content: Mapping[str, Any], index: int) -> Split:
    if content["version"] != VERSION:
        raise SplitError(
            f"is split format {content['version']}, this Earmark reads {VERSION}; "
            "write it again with: earmark prepare DATASET"
        )
    if content["split_index"] != index:
        raise SplitError(
            f"is split {content['split_index']} under another name; write the splits again with: "
            "earmark prepare DATASET"
        )
    parts = {}
    for name in ("train", "test"):
        part = content[name]
        parts[name] = ClipSet(
            np.asarray(part["features"], np.float32),
            np.asarray(part["frames"], np.int64),
            np.asarray(part["labels"], np.int64),
            [str(p) for p in part["paths"]],
            [str(g) for g in part["groups"]],
        )
    if shared := set(parts["train"].groups) & set(parts["test"].groups):
        raise SplitError(f"leaks: source {min(shared)!r} stands in its train and its test part")
    front_end = content["front_end"]
    return _checked(
        Split(
            **parts,
            classes=tuple(str(name) for name in content["classes"]),
            dataset=str(content["dataset"]),
            synthetic=bool(content["synthetic"]),
            index=int(content["split_index"]),
            test_fold=str(content["test_fold"]),
            front_end=from_json(FrontEndSettings, front_end) if front_end else None,
            fingerprint=str(content["fingerprint"]),
        )
    )


def _foreign_split(content: Any, index: int, path: Path) -> Split:
    """Build a split from one of the documented system's forms."""
    train, test, classes = read_foreign(content)
    sets = []
    digest = hashlib.sha256()
    for name, (clips, labels) in (("train", train), ("test", test)):
        places = [f"{name}/{number}" for number in range(len(clips))]
        features = np.concatenate(clips) if clips else np.zeros((0, 1), np.float32)
        frames = np.array([len(clip) for clip in clips], np.int64)
        numbers = np.array(labels, np.int64)
        for array in (features, frames, numbers):
            digest.update(array.tobytes())
        sets.append(ClipSet(features, frames, numbers, places, places))
    split = Split(
        sets[0], sets[1], classes, dataset=path.stem, index=index, fingerprint=digest.hexdigest()
    )
    return _checked(split)


def _checked(split: Split) -> Split:
    """Refuse parts that are empty, inconsistent, of two sizes, or not finite."""
    for name, part in (("train", split.train), ("test", split.test)):
        clips = len(part.labels)
        if clips == 0:
            raise SplitError(f"its {name} part has no clips")
        same = len(part.frames) == len(part.paths) == len(part.groups) == clips
        if not same or part.features.ndim != 2 or part.frames.sum() != len(part.features):
            raise SplitError(f"its {name} part is inconsistent: counts and frames do not add up")
        if part.frames.min() < 1:
            raise SplitError(f"its {name} part has a clip without frames")
        if not part.of_class.any():
            raise SplitError(f"its {name} part has clips of no class only")
        if part.labels.min() < NO_CLASS or part.labels.max() >= len(split.classes):
            raise SplitError(f"its {name} part has labels outside its {len(split.classes)} classes")
        if not np.isfinite(part.features).all():
            raise SplitError(f"its {name} part has NaN or infinite features")
    sizes = split.train.features.shape[1], split.test.features.shape[1]
    if sizes[0] != sizes[1]:
        raise SplitError(f"train has {sizes[0]} features a frame, but test has {sizes[1]}")
    return split
