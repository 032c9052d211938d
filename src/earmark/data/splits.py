"""Split files: a training and a test part, as inert pickles.

What Earmark writes is a plain dict of NumPy arrays, strings and numbers that a bare `pickle.load`
reads. What it reads goes through `earmark.data.pickles.inert`, so that a hostile file runs no code.

Clips differ in length, so a part holds all frames of all clips, one after the other, and the number
of frames of each; nothing is padded or cut. A split file holds the frames themselves, or the digest
of each clip's file, by which its frames are found in the cache.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.config import FrontEndSettings, from_json, to_json
from earmark.data.cache.store import FeatureCache
from earmark.data.clip_set import ClipSet
from earmark.data.frames import ClipFrames, View
from earmark.data.negatives import NO_CLASS
from earmark.data.pickles.foreign import read_foreign
from earmark.data.pickles.inert import read_inert
from earmark.data.references import Watch, find_frames
from earmark.errors import SettingsError, SplitError
from earmark.io.files import write_whole

__all__ = [
    "ClipSet",
    "Split",
    "is_own",
    "read_split",
    "split_numbers",
    "split_path",
    "write_split",
]

FORMAT = "earmark-split"
VERSION = 1  # holds the frames
REFERRING = 2  # holds references to them


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


def write_split(folder: Path, split: Split, *, self_contained: bool = False) -> Path:
    """Write a split as `split_INDEX.pkl`, whole or not at all, and return its path.

    Args:
        folder: where.
        split: the split.
        self_contained: write the frames themselves, so that the file can be taken elsewhere, and
            not references to the cache. So it is too where not all clips are in the cache.
    """
    front_end = split.front_end
    refers = not self_contained and front_end is not None and all(map(_kept, _parts(split)))
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": REFERRING if refers else VERSION,
        "dataset": split.dataset,
        "synthetic": int(split.synthetic),
        "split_index": split.index,
        "test_fold": split.test_fold,
        "classes": np.array(split.classes),
        "front_end": to_json(front_end) if front_end else {},
        "fingerprint": split.fingerprint,
        "train": _part_content(split.train, refers=refers),
        "test": _part_content(split.test, refers=refers),
    }
    if refers:
        content["folder"] = str(Path.cwd())
    path = split_path(folder, split.index)
    write_whole(path, lambda file: pickle.dump(content, file, protocol=4))
    return path


def _parts(split: Split) -> tuple[ClipSet, ClipSet]:
    return split.train, split.test


def _kept(part: ClipSet) -> bool:
    """Tell whether all clips of a part are in the cache."""
    return isinstance(part.features, ClipFrames) and part.features.mapped


def _part_content(part: ClipSet, *, refers: bool) -> dict[str, Any]:
    frames = {"digests": np.array(part.digests, dtype=np.str_)} if refers else {}
    return {
        **(frames or {"features": part.together()}),
        "frames": part.frames,
        "labels": part.labels,
        "paths": np.array(part.paths, dtype=np.str_),
        "groups": np.array(part.groups, dtype=np.str_),
    }


def read_split(
    folder: Path,
    index: int,
    *,
    cache: FeatureCache | None = None,
    watch: Watch = lambda results, _: results,
    remark: Callable[[str], object] = lambda _: None,
) -> Split:
    """Read `split_INDEX.pkl` from a folder.

    Besides Earmark's own format it takes what users of the documented system may have: a dict
    with `train` and `test`, or a pair, of `(features, labels)` arrays or tensors, lists of
    `(feature, label)` pairs, or `TensorDataset`s.

    Args:
        folder: the folder.
        index: number of the split.
        cache: where the frames are that a split refers to; None: the user's.
        watch: wraps the iteration over clips that must be decoded again, to show a bar.
        remark: takes a line about a cache that cannot be written, or is too small.

    Raises:
        SplitError: the file is missing, damaged, would run code, or holds something else; or it
            refers to frames that are neither in the cache nor can be made again.
    """
    path = split_path(folder, index)
    if not path.is_file():
        raise SplitError(_missing(folder, index))
    content = read_inert(path)
    try:
        if is_own(content):
            return _own_split(content, index, cache=cache, watch=watch, remark=remark)
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


def _own_split(
    content: Mapping[str, Any],
    index: int,
    *,
    cache: FeatureCache | None,
    watch: Watch,
    remark: Callable[[str], object],
) -> Split:
    if content["version"] not in (VERSION, REFERRING):
        raise SplitError(
            f"is split format {content['version']}, this Earmark reads {VERSION} and {REFERRING}; "
            "write it again with: earmark prepare DATASET"
        )
    if content["split_index"] != index:
        raise SplitError(
            f"is split {content['split_index']} under another name; write the splits again with: "
            "earmark prepare DATASET"
        )
    front_end = content["front_end"]
    settings = from_json(FrontEndSettings, front_end) if front_end else None
    names = ("train", "test")
    if content["version"] == VERSION:
        parts = {name: _part(content[name]) for name in names}
    else:
        both = [content[name] for name in names]
        digests = [str(digest) for part in both for digest in part["digests"]]
        views = find_frames(
            digests,
            [str(path) for part in both for path in part["paths"]],
            from_json(FrontEndSettings, front_end),
            folder=Path(str(content["folder"])),
            cache=cache or FeatureCache(),
            watch=watch,
            remark=remark,
        )
        middle = len(both[0]["digests"])
        parts = {
            name: _referring_part(part, own)
            for name, part, own in zip(names, both, (views[:middle], views[middle:]), strict=True)
        }
    if shared := set(parts["train"].groups) & set(parts["test"].groups):
        raise SplitError(f"leaks: source {min(shared)!r} stands in its train and its test part")
    return _checked(
        Split(
            **parts,
            classes=tuple(str(name) for name in content["classes"]),
            dataset=str(content["dataset"]),
            synthetic=bool(content["synthetic"]),
            index=int(content["split_index"]),
            test_fold=str(content["test_fold"]),
            front_end=settings,
            fingerprint=str(content["fingerprint"]),
        )
    )


def _part(part: Mapping[str, Any]) -> ClipSet:
    return ClipSet(
        np.asarray(part["features"], np.float32),
        np.asarray(part["frames"], np.int64),
        np.asarray(part["labels"], np.int64),
        [str(p) for p in part["paths"]],
        [str(g) for g in part["groups"]],
    )


def _referring_part(part: Mapping[str, Any], views: Sequence[View]) -> ClipSet:
    """Return a part whose frames lie in the cache; made again, they may be more or fewer."""
    return ClipSet(
        ClipFrames(views, views[0].source.array.shape[1] if views else 0),
        np.array([len(view) for view in views], np.int64),
        np.asarray(part["labels"], np.int64),
        [str(p) for p in part["paths"]],
        [str(g) for g in part["groups"]],
        [str(digest) for digest in part["digests"]],
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
        if isinstance(part.features, np.ndarray) and not np.isfinite(part.features).all():
            raise SplitError(f"its {name} part has NaN or infinite features")
    sizes = split.train.features.shape[1], split.test.features.shape[1]
    if sizes[0] != sizes[1]:
        raise SplitError(f"train has {sizes[0]} features a frame, but test has {sizes[1]}")
    return split
