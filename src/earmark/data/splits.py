"""Split files: a training and a test part, as inert pickles. Layer 3: torch only if a file has it.

What Earmark writes is a plain dict of NumPy arrays, strings and numbers that a bare `pickle.load`
reads. What it reads goes through an allow-list: the unpickler knows a dozen names that build
arrays and tensors, and refuses every other, so that a hostile file runs no code.

Clips differ in length, so a part holds all frames of all clips in one array and the number of
frames of each; nothing is padded or cut.
"""

from __future__ import annotations

import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SettingsError, SplitError
from earmark.files import write_whole
from earmark.settings import FrontEndSettings, from_json, to_json

FORMAT = "earmark-split"
VERSION = 1


@dataclass(frozen=True)
class ClipSet:
    """The features and labels of some clips.

    Attributes:
        features: all frames of all clips, one after the other, `(total frames, input_size)`.
        frames: frames of each clip, `(clips,)`, at least 1.
        labels: class numbers, `(clips,)`.
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


def split_path(folder: Path, index: int) -> Path:
    """Return where split number `index` stands in a folder of splits."""
    return folder / f"split_{index}.pkl"


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
        if isinstance(content, Mapping) and content.get("format") == FORMAT:
            return _own_split(content)
        return _foreign_split(content, index, path)
    except (SplitError, SettingsError) as error:
        raise SplitError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SplitError(
            f"{path}: is not a usable split ({type(error).__name__}: {error}); "
            "write it again with: earmark prepare DATASET"
        ) from None


def _missing(folder: Path, index: int) -> str:
    numbers = sorted(
        int(file.stem[6:]) for file in folder.glob("split_*.pkl") if file.stem[6:].isdecimal()
    )
    if numbers:
        have = ", ".join(map(str, numbers))
        return f"{folder}: has no split {index}; --split_index may be {have}"
    return (
        f"{folder}: has no split files; make them with: earmark prepare DATASET "
        "(or: earmark prepare synthetic)"
    )


def _own_split(content: Mapping[str, Any]) -> Split:
    if content["version"] != VERSION:
        raise SplitError(
            f"is split format {content['version']}, this Earmark reads {VERSION}; "
            "write it again with: earmark prepare DATASET"
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
    names: Any = None
    if isinstance(content, Mapping):
        if not {"train", "test"} <= content.keys():
            raise SplitError(
                f"is a dict with {sorted(map(str, content))[:6]}, but 'train' and 'test' are needed"
            )
        train, test = content["train"], content["test"]
        names = content.get("classes", content.get("class_names"))
    elif isinstance(content, (tuple, list)) and len(content) == 2:
        train, test = content
    else:
        raise SplitError(
            f"holds {_kind(content)}, but a dict with 'train' and 'test' or a pair of the two "
            "is needed"
        )
    train_clips, train_labels = _pairs(train, "train")
    test_clips, test_labels = _pairs(test, "test")
    classes = _classes([*train_labels, *test_labels], names)

    def clip_set(part: str, clips: list[NDArray[np.float32]], labels: list[int | str]) -> ClipSet:
        places = [f"{part}/{number}" for number in range(len(clips))]
        numbers = [classes.index(label) if isinstance(label, str) else label for label in labels]
        if len({clip.shape[1] for clip in clips}) > 1:
            raise SplitError(f"{part} has clips with different numbers of features a frame")
        return ClipSet(
            np.concatenate(clips) if clips else np.zeros((0, 1), np.float32),
            np.array([len(clip) for clip in clips], np.int64),
            np.array(numbers, np.int64),
            places,
            places,
        )

    return _checked(
        Split(
            clip_set("train", train_clips, train_labels),
            clip_set("test", test_clips, test_labels),
            classes,
            dataset=path.stem,
            index=index,
        )
    )


def _classes(labels: list[int | str], names: Any) -> tuple[str, ...]:
    """Return the class names: those the file gives, else the labels themselves."""
    words = sorted({label for label in labels if isinstance(label, str)})
    numbers = [label for label in labels if isinstance(label, int)]
    if words and numbers:
        raise SplitError("has both numbers and names as labels; use one kind")
    if words:
        classes = tuple(words) if names is None else tuple(map(str, names))
        if unknown := sorted(set(words) - set(classes)):
            raise SplitError(f"has label {unknown[0]!r}, which is not among its classes")
        return classes
    if not numbers:
        raise SplitError("has no clips")
    if min(numbers) < 0:
        raise SplitError(f"has label {min(numbers)}; labels count from 0")
    count = max(numbers) + 1
    if names is None and count > max(1000, 10 * len(numbers)):
        raise SplitError(f"has label {count - 1} for {len(numbers)} clips; number classes from 0")
    if names is not None and count > len(names):
        raise SplitError(f"has label {count - 1}, but names only {len(names)} classes")
    return tuple(str(n) for n in range(count)) if names is None else tuple(map(str, names))


def _pairs(part: Any, name: str) -> tuple[list[NDArray[np.float32]], list[int | str]]:
    """Return one `(frames, input_size)` array and one label for each clip of a part."""
    if hasattr(part, "tensors"):  # TensorDataset
        part = tuple(part.tensors)
    if isinstance(part, Mapping):
        if not {"features", "labels"} <= part.keys():
            raise SplitError(f"{name} is a dict without 'features' and 'labels'")
        part = (part["features"], part["labels"])
    if not isinstance(part, (tuple, list)):
        raise SplitError(
            f"{name} is {_kind(part)}; (features, labels), a list of (feature, label) pairs or a "
            "TensorDataset is needed"
        )
    if len(part) == 2 and _is_labels(part[1]):
        features, labels = part
    elif all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in part):
        features, labels = [pair[0] for pair in part], [pair[1] for pair in part]
    else:
        raise SplitError(f"{name} is {_kind(part)} whose items are not (feature, label) pairs")
    if len(features) != len(labels):
        raise SplitError(f"{name} has {len(features)} features but {len(labels)} labels")
    clips = []
    for position, clip in enumerate(features):
        array = _array(clip, name)
        if array.ndim != 2 or 0 in array.shape:
            raise SplitError(
                f"{name} clip {position} has shape {array.shape}; "
                "(sequence_length, input_size) is needed"
            )
        clips.append(array)
    return clips, [_label(label) for label in labels]


def _is_labels(value: Any) -> bool:
    """Tell whether something is a row of labels: one-dimensional, of numbers or strings."""
    if hasattr(value, "ndim"):
        return bool(value.ndim == 1)
    return isinstance(value, (tuple, list)) and all(
        isinstance(item, (int, float, str)) or getattr(item, "ndim", None) == 0 for item in value
    )


def _array(value: Any, name: str) -> NDArray[np.float32]:
    """Return an array, list or torch tensor as numbers."""
    array = value.detach().cpu().double().numpy() if hasattr(value, "detach") else value
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused as such
            return np.asarray(array).astype(np.float32)
    except (TypeError, ValueError):
        raise SplitError(f"{name} has features that are not numbers of one shape") from None


def _label(label: Any) -> int | str:
    if isinstance(label, str):
        return str(label)
    value = label.item() if hasattr(label, "item") and np.ndim(label) == 0 else label
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SplitError(f"has label {value!r}; a whole number or a class name is needed")


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"a {type(value).__name__}{size}"


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
        if part.labels.min() < 0 or part.labels.max() >= len(split.classes):
            raise SplitError(f"its {name} part has labels outside its {len(split.classes)} classes")
        if not np.isfinite(part.features).all():
            raise SplitError(f"its {name} part has NaN or infinite features")
    sizes = split.train.features.shape[1], split.test.features.shape[1]
    if sizes[0] != sizes[1]:
        raise SplitError(f"train has {sizes[0]} features a frame, but test has {sizes[1]}")
    return split


# --- reading a pickle without running code ------------------------------------------------------


def read_inert(path: Path) -> Any:
    """Unpickle arrays, tensors and plain values; nothing in the file can run code.

    Raises:
        SplitError: the file is unreadable, is not a pickle, or asks for any other name.
    """
    try:
        with path.open("rb") as file:
            return _resolved(_InertUnpickler(file).load())
    except SplitError as error:
        raise SplitError(f"{path}: {error}") from None
    except OSError as error:
        raise SplitError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle fails in many ways; none of them is ours
        raise SplitError(
            f"{path}: is not a readable pickle ({type(error).__name__}); it may be truncated; "
            "write it again with: earmark prepare DATASET"
        ) from None


class _Name:
    """Stands for a name in a pickle: calling it builds data, and no file can change it."""

    __slots__ = ("_build",)
    _build: Callable[..., Any]

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise SplitError(f"tries to change {name} of the program")

    def __setstate__(self, state: object) -> None:
        raise SplitError("tries to change a name of the program")


class _Dtype:
    """A NumPy dtype in a pickle, taken for its kind, size and byte order only.

    NumPy's own dtype would accept any state a file gives it, fields and object flags included,
    and then follow pointers out of the file's bytes.
    """

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufSU]\d+|O8?", code):
            raise SplitError(f"has an array of type {code!r}; numbers and strings are read")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2:5] != (None, None, None) or state[1] not in ("<", ">", "=", "|"):
            raise SplitError("has an array of a structured type; numbers and strings are read")
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        """Return the dtype it stands for, which holds no objects."""
        if self.code.startswith("O"):
            raise SplitError("has an array of objects where numbers are needed")
        order = "" if self.order == "|" else self.order
        return np.dtype(order + self.code)


class _Array:
    """A NumPy array in a pickle, rebuilt from plain bytes or, for objects, from a list."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[Any] | list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, list):  # an array of objects is read as the list it is
            self.value = data
            return
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, which old NumPy pickles use for bytes, and only for that."""
    if encoding not in ("latin1", "latin-1"):
        raise SplitError(f"asks for the codec {encoding!r}, which arrays do not need")
    return text.encode("latin1")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.real(), count=1)[0]


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> NDArray[Any]:
    flat = np.frombuffer(data, dtype.real()).copy()  # the file's bytes are not to be written to
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _torch_storage(data: bytes) -> Any:
    """Stand in for torch's storage loader, which would itself unpickle anything."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _torch_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Any:
    from torch._utils import _rebuild_tensor_v2

    return _rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())


# Every name is answered by code of ours that builds data and calls nothing it is given. NumPy
# moved numpy.core to numpy._core in version 2; files from both are read.
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    ("torch.storage", "_load_from_bytes"): _torch_storage,
    ("torch._utils", "_rebuild_tensor_v2"): _torch_tensor,
    **{
        (f"numpy.{core}.{home}", name): build
        for core in ("core", "_core")
        for home, name, build in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _InertUnpickler(pickle.Unpickler):
    """An unpickler that answers the names in `_ALLOWED` with stand-ins, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict  # built in; a file cannot change it
        if (module, name) == ("torch.utils.data.dataset", "TensorDataset"):
            return type("TensorDataset", (), {})  # a class of this file's own
        build = _ALLOWED.get((module, name))
        if build is None:
            raise SplitError(
                f"asks for {module}.{name}, which could run code; only arrays, tensors, strings "
                "and numbers are read"
            )
        return _Name(build)


def _resolved(value: Any) -> Any:
    """Replace the stand-ins in what was read by the arrays they hold."""
    if isinstance(value, _Array):
        return _resolved(value.value)
    if isinstance(value, (_Name, _Dtype)):
        raise SplitError("holds a name where data is needed")
    if isinstance(value, dict):
        return {_resolved(key): _resolved(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_resolved(item) for item in value)
    if type(value).__name__ == "TensorDataset":
        value.tensors = tuple(value.tensors)
    return value


def find_folder(given: str | None, beside: Path | None = None) -> Path:
    """Choose the folder of splits: the one given, `splits` here, or `splits` beside the scripts."""
    if given is not None:
        return Path(given)
    here = Path("splits")
    if not here.is_dir() and beside is not None and (beside / "splits").is_dir():
        return Path(os.path.relpath(beside / "splits"))
    return here
