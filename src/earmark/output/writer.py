"""What every output format is: something that is given results and writes them as lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Emit = Callable[[str], object]  # takes a line without its end

Result = TypeVar("Result", contravariant=True)


class Writer(Protocol[Result]):
    """Writes results of one kind: opened, then given results file by file, then closed."""

    def open(self) -> None:
        """Write what belongs at the start, such as the names of columns."""

    def write(self, result: Result) -> None:
        """Write the next result."""

    def next_file(self, seconds: float) -> None:
        """Take note that a file of so many seconds has ended."""

    def close(self, failures: Sequence[str] = ()) -> None:
        """Write what belongs at the end.

        Args:
            failures: a line for each file that could not be read.
        """


class LineWriter:
    """A writer that only needs to say what it writes; the base of those in this package.

    Args:
        emit: takes each line.
    """

    def __init__(self, emit: Emit) -> None:
        self.emit = emit

    def open(self) -> None:
        """Write nothing."""

    def next_file(self, seconds: float) -> None:
        """Nothing depends on the lengths of files."""

    def close(self, failures: Sequence[str] = ()) -> None:
        """Write nothing."""


def csv_line(values: Sequence[Any]) -> str:
    """Return values as a line of CSV, quoted where they must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def tab_line(values: Sequence[str]) -> str:
    """Return values as a line with tabs between them; none is left inside a value."""
    return "\t".join(" ".join(value.split()) for value in values)
