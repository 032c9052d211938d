"""What schedules workers: units go out, rows come back, or word that a worker died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from earmark.archive.labelled import Labelled
from earmark.archive.plan import Unit


@dataclass(frozen=True)
class Report:
    """What became of units that were given to a worker.

    Attributes:
        units: the units.
        done: their rows, in the same order; empty: the worker died.
        cause: what it died of, if it is known.
        began: whether it had begun with them, when it died.
        blame: whether one of them may be the reason of its death.
        killed: whether something else may have ended it, rather than a fault in the decoder.
        fault: why no worker can work; then the run stops.
    """

    units: tuple[Unit, ...]
    done: tuple[Labelled, ...] = ()
    cause: str = ""
    began: bool = True
    killed: bool = False
    blame: bool = True
    fault: str = ""


class Engine(Protocol):
    """Schedules workers. Each labels the units it is given, one after another.

    Of units that were given together, some may come back in other reports than the others.
    """

    @property
    def workers(self) -> int:
        """How many there are."""

    @property
    def idle(self) -> int:
        """Lists of units that it can take now."""

    @property
    def bundle(self) -> int:
        """Small files that are given to a worker at a time, because giving costs time."""

    def start(self, units: Sequence[Unit]) -> None:
        """Give units to an idle worker."""

    def wait(self, seconds: float) -> list[Report]:
        """Return what has come back, after waiting for it no longer than this."""

    def stop(self) -> None:
        """End all workers at once."""
