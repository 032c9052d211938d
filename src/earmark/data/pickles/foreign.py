"""The split forms users of the documented system have.

A dict with `train` and `test`, or a pair, of `(features, labels)`, lists of `(feature, label)`
pairs, or `TensorDataset`s, as `earmark.data.pickles.inert` reads them from a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SplitError

Part = tuple[list[NDArray[np.float32]], list[int]]  # one array `(frames, size)` and label a clip


def read_foreign(content: Any) -> tuple[Part, Part, tuple[str, ...]]:
    """Find training part, test part and class names in one of the documented system's forms.

    Raises:
        SplitError: the content is something else, with the reason.
    """
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
    parts = (_pairs(train, "train"), _pairs(test, "test"))
    for name, (clips, _) in zip(("train", "test"), parts, strict=True):
        if len({clip.shape[1] for clip in clips}) > 1:
            raise SplitError(f"{name} has clips with different numbers of features a frame")
    classes = _classes([*parts[0][1], *parts[1][1]], names)
    train_part, test_part = (
        (clips, [classes.index(label) if isinstance(label, str) else label for label in labels])
        for clips, labels in parts
    )
    return train_part, test_part, classes


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
