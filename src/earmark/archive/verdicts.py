"""A table of clips with verdicts, and the precision that they come to, with its interval."""

from __future__ import annotations

import csv
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.errors import ArchiveError
from earmark.io.files import write_text
from earmark.output.writer import csv_line

TABLE = "review.csv"
COLUMNS = (
    *("path", "label", "group", "score", "onset_seconds", "start_utc"),
    *("verdict", "true_label"),
)
_NEEDED = frozenset(["path", "label", "score", "verdict"])
YES, NO = "yes", "no"
_WORDS = {
    **dict.fromkeys(("yes", "y", "1", "true", "right"), YES),
    **dict.fromkeys(("no", "n", "0", "false", "wrong"), NO),
    "": "",
}
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_Z = 1.96  # of 95 %


@dataclass(frozen=True)
class Precision:
    """How often events of a class are right.

    Attributes:
        label: the class.
        threshold: events with at least this score.
        judged: how many of them have a verdict.
        right: how many of these are right.
        low: lower end of the 95 % interval of the share that is right.
        high: upper end.
    """

    label: str
    threshold: float
    judged: int
    right: int
    low: float
    high: float


class VerdictTable:
    """The table in a folder; threads may share it, columns that others have added stay.

    Args:
        folder: of the table, and of its clips.

    Raises:
        ArchiveError: it is no CSV table in UTF-8, lacks a column, a score is no number, or a
            verdict is neither yes nor no.
        OSError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        path = folder / TABLE
        names, self.rows = _read(path)
        self._names = [*names, *(name for name in COLUMNS if name not in names)]
        for number, row in enumerate(self.rows, 2):
            word = (row["verdict"] or "").strip().lower()
            if word not in _WORDS:
                raise ArchiveError(
                    f"{path}: row {number} has the verdict {word!r}; write yes or no"
                )
            row["verdict"] = _WORDS[word]
            if not (_is_number(row["score"]) and _is_number(row.get("onset_seconds") or "0")):
                raise ArchiveError(
                    f"{path}: row {number} has a score or time that is no number; correct that row"
                )

    @property
    def waiting(self) -> int:
        """How many rows have no verdict."""
        return sum(not row["verdict"] for row in self.rows)

    @property
    def judged(self) -> int:
        """How many rows have one."""
        return len(self.rows) - self.waiting

    def judge(self, number: int, verdict: str, true_label: str = "") -> None:
        """Write a verdict into a row.

        Args:
            number: of the row, from 0.
            verdict: yes, no, or nothing, which takes it back.
            true_label: what a wrong one is, if that is known.

        Raises:
            OSError: the table cannot be written; it is then as it was.
        """
        with self._lock:
            row = self.rows[number]
            before = dict(row)
            row.update(verdict=verdict, true_label=true_label)
            try:
                self._write()
            except OSError:
                row.update(before)
                raise

    def _write(self) -> None:
        lines = [self._names, *([row.get(name) or "" for name in self._names] for row in self.rows)]
        write_text(self.folder / TABLE, "".join(csv_line(line) + "\n" for line in lines))


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a table, which a spreadsheet may have written."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            names = list(table.fieldnames or ())
            if lacking := _NEEDED - set(names):
                raise ArchiveError(
                    f"{path}: lacks the column {sorted(lacking)[0]}; save it as CSV with commas "
                    "between the columns that it had"
                )
            return names, list(table)
    except UnicodeDecodeError:
        raise ArchiveError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise ArchiveError(f"{path}: is not a CSV table ({error}); save it as CSV") from None


def _is_number(value: str | None) -> bool:
    try:
        return math.isfinite(float(value or ""))
    except ValueError:
        return False


def precisions(rows: Iterable[Mapping[str, Any]]) -> list[Precision]:
    """Return the precision of each class from some thresholds on, of the rows with a verdict."""
    classes: dict[str, list[tuple[float, bool]]] = {}
    for row in rows:
        if row["verdict"]:
            judged = (float(row["score"]), row["verdict"] == YES)
            classes.setdefault(str(row["label"]), []).append(judged)
    found = []
    for label, judged_ones in sorted(classes.items()):
        lowest = min(score for score, _ in judged_ones)
        for threshold in (0.0, *(value for value in _THRESHOLDS if value > lowest)):
            above = [right for score, right in judged_ones if score >= threshold]
            if above:
                low, high = interval(sum(above), len(above))
                found.append(Precision(label, threshold, len(above), sum(above), low, high))
    return found


def interval(right: int, judged: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    centre = right + _Z * _Z / 2
    spread = _Z * math.sqrt(right * (judged - right) / judged + _Z * _Z / 4)
    whole = judged + _Z * _Z
    return max(0.0, (centre - spread) / whole), min(1.0, (centre + spread) / whole)


def report(found: Sequence[Precision]) -> list[str]:
    """Return precisions as lines of CSV."""
    lines = [csv_line(["label", "threshold", "judged", "right", "precision", "low", "high"])]
    for one in found:
        share = one.right / one.judged
        values = [f"{share:.3f}", f"{one.low:.3f}", f"{one.high:.3f}"]
        threshold = f"{one.threshold:g}" if one.threshold else "own"
        lines.append(csv_line([one.label, threshold, str(one.judged), str(one.right), *values]))
    return lines
