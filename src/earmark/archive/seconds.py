"""Scores of a stream's steps -> one row for each second: the highest score of each class in it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earmark.runtime.session import Session


class SecondScores:
    """Takes rows of scores as they come.

    A step belongs to the second that its middle lies in, and one in the silence after a short file
    to the file's last second. A day of 50 classes takes 17 MB.

    Args:
        session: the stream, before its first row or where `before` left it.
        before: seconds that are there already, the last of which may go on.
    """

    def __init__(self, session: Session, before: NDArray[np.float32] | None = None) -> None:
        self._session, self._step = session, session.scorer.step_seconds
        self._steps = session.steps
        self._rows = [] if before is None else [before]
        self._classes = len(session.classes)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take the next rows `(steps, classes)`."""
        if not len(rows):
            return
        numbers = ((self._steps + np.arange(len(rows)) + 0.5) * self._step).astype(np.int64)
        numbers = np.minimum(numbers, math.ceil(self._session.seconds) - 1)
        self._steps += len(rows)
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        highest = np.maximum.reduceat(rows, starts, axis=0)
        have = sum(map(len, self._rows))
        if self._rows and int(numbers[0]) < have:
            last = self._rows[-1]
            self._rows[-1] = np.concatenate([last[:-1], np.maximum(last[-1:], highest[:1])])
            highest = highest[1:]
        if len(highest):
            self._rows.append(highest)
        if len(self._rows) > 1000:
            self._rows = [np.concatenate(self._rows)]

    @property
    def rows(self) -> NDArray[np.float32]:
        """The seconds so far, `(seconds, classes)`."""
        return np.concatenate([np.zeros((0, self._classes), np.float32), *self._rows])
