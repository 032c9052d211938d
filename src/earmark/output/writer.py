"""What every output format is: something that is given results and writes them as lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Emit = Callable[[str], object]  # takes a line without its end

# What a program may take for the end of a value or a line: tabs, and what `str.splitlines` knows.
_BREAK = re.compile("\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_SPECIAL = "\"'#"  # a value begins and ends with the first; R's `read.table` knows the others too

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


def one_line(value: str) -> str:
    """Return a value with a blank for each tab and line break; all else stays as it is."""
    return _BREAK.sub(" ", value)


def csv_line(values: Sequence[str]) -> str:
    """Return values as a line of CSV, quoted by RFC 4180 where a reader needs it."""
    return ",".join(_quote(value, f",\r\n{_SPECIAL}") for value in values)


def tab_line(values: Sequence[str], special: str = _SPECIAL) -> str:
    """Return values as a line with tabs between them; none is left inside a value.

    Args:
        values: the values.
        special: characters for which a value is quoted. A quote must be among them: one that is
            left alone, also in the middle of a value, takes the next rows into the value.
    """
    return "\t".join(_quote(one_line(value), special) for value in values)


def _quote(value: str, special: str) -> str:
    if not any(character in value for character in special):
        return value
    return '"' + value.replace('"', '""') + '"'
