"""A split whose clips of some classes become clips of no class, for a model that is restricted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from earmark.data.negatives import NO_CLASS
from earmark.data.splits import ClipSet, Split
from earmark.errors import SplitError


def restrict_split(split: Split, classes: Sequence[str]) -> Split:
    """Return a split with these classes alone; the clips of others are of no class.

    Args:
        split: it may have classes that the model has not.
        classes: those that are left, in the order of the scores.

    Raises:
        SplitError: the split lacks a class, or its test part has no clip of any of them.
    """
    if missing := [name for name in classes if name not in split.classes]:
        raise SplitError(
            f"split {split.index} has no class {missing[0]!r}; it has {len(split.classes)}: "
            f"{', '.join(split.classes[:12])}"
        )
    numbers = np.full(len(split.classes) + 1, NO_CLASS, np.int64)  # the last is of NO_CLASS, -1
    for number, name in enumerate(classes):
        numbers[split.classes.index(name)] = number

    def renumbered(clips: ClipSet) -> ClipSet:
        return dataclasses.replace(clips, labels=numbers[clips.labels])

    test = renumbered(split.test)
    if not test.of_class.any():
        raise SplitError(
            f"split {split.index} has no test clip of {', '.join(classes)}; name other classes"
        )
    return dataclasses.replace(
        split, train=renumbered(split.train), test=test, classes=tuple(classes)
    )
