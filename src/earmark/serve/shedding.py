"""How many live streams a server lets go that cannot keep up with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

_LOOK_SECONDS = 3.0  # that are compared: a stretch of sound that came late is no load
_CATCHES_UP = 0.05  # of a second in each second: then those that are left can stay
_LEAST, _MOST = 0.1, 0.5  # of the streams, at a time


class Shedding:
    """Looks at how late streams are; it is used in one thread.

    By how much most of them are later than a while before says how many are too many, however long
    a round of the server takes by then.

    Args:
        behind_seconds: a server that keeps up is no later than this.

    Attributes:
        full: whether no other stream may begin.
    """

    def __init__(self, behind_seconds: float) -> None:
        self._behind_seconds = behind_seconds
        self._looked: tuple[float, float] | None = None  # when, and how late most were
        self.full = False

    def look(self, now: float, late: Sequence[float]) -> int:
        """Return how many streams have to go.

        Args:
            now: the time, in seconds.
            late: seconds of sound of each stream that came and were not scored.
        """
        middle = median(late) if late else 0.0
        if middle <= self._behind_seconds:
            self._looked, self.full = None, False
            return 0
        if self._looked is None:
            self._looked = now, middle
            return 0
        since, was = self._looked
        if now - since < _LOOK_SECONDS:
            return 0
        self._looked, self.full = (now, middle), True
        grown = (middle - was) / (now - since)
        if grown < -_CATCHES_UP:
            return 0
        return max(1, round(len(late) * min(max(grown, _LEAST), _MOST)))
