"""What a worker hands back for one file: plain values that any process can be sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.archive.origin import Origin, origin_columns
from earmark.archive.plan import Unit, as_row
from earmark.archive.schema import FAILED
from earmark.provenance import now_datetime

OTHER_CAUSE = "other"
HANG, MEMORY, DIED, MISSING = "hang", "memory", "worker died", "missing"
INTERNAL = "internal error"
# What our own messages say, the more particular first.
_CAUSES = (
    (MISSING, r"no such file|is a link to|cannot be reached"),
    ("empty", r"is empty \("),
    ("no samples", r"holds no samples"),
    ("truncated", r"truncated"),
    ("damaged", r"damaged|could not be decoded|are in no format that is known"),
    ("needs a decoder", r"pip install"),
    ("not audio", r"is not audio|is an? .* where|not a regular file|is no |without an audio track"),
    ("not finite", r"NaN or infinite"),
    ("sample rate", r"sample rate of"),
    ("scale", r"where full scale is 1"),
    ("too short", r"is too short"),
    ("unreadable", r"cannot be read|is a folder"),
    ("not audio", r": is "),
)


@dataclass(frozen=True)
class Labelled:
    """One finished file.

    Attributes:
        unit: the file.
        row: its row of `files`, but for entry, run and set.
        events: its rows of `events`, but for what they say of the file.
        scores: highest scores of each second, `(seconds, classes)`, if they are asked for.
        embeddings: of each second, `(seconds, size)`, if they are asked for.
    """

    unit: Unit
    row: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    scores: NDArray[np.float32] | None = None
    embeddings: NDArray[np.float32] | None = None

    @property
    def failed(self) -> bool:
        """Whether nothing could be made of it."""
        return bool(self.row["status"] == FAILED)


def failure(
    unit: Unit, cause: str, error: str, *, origin: Origin, took_seconds: float = 0.0
) -> Labelled:
    """Return the row of a file that gave nothing.

    Args:
        unit: the file.
        cause: what is wrong with it, in a word.
        error: the same as a line.
        origin: when, where and by what it was recorded.
        took_seconds: for how long it was tried.
    """
    row = {
        **as_row(unit),
        **origin_columns(origin),
        "seconds": 0.0,
        "sample_rate": None,
        "channels": None,
        "status": FAILED,
        "cause": cause,
        "error": error,
        "notes": [],
        "events": 0,
        "outputs": [],
        "labelled_utc": now_datetime(),
        "took_seconds": took_seconds,
    }
    return Labelled(unit, row)


def cause_of(error: str, address: str = "") -> str:
    """Return a word for what a message says is wrong with a file."""
    said = error.replace(address, "")
    return next((cause for cause, words in _CAUSES if re.search(words, said)), OTHER_CAUSE)
