"""How often a class is right: clips to listen to; from verdicts, precision with its interval.

Of each class some events are chosen evenly from its lowest to its highest score, so that those
above any threshold stand for all events above it.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from earmark.archive import samples
from earmark.archive.query import Questions
from earmark.errors import ArchiveError
from earmark.io.files import make_folder, write_bytes, write_text
from earmark.output.writer import csv_line

TABLE = "review.csv"
COLUMNS = ("path", "label", "group", "score", "onset_seconds", "verdict")
_YES = frozenset(["yes", "y", "1", "true", "right"])
_NO = frozenset(["no", "n", "0", "false", "wrong"])
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_Z = 1.96  # of 95 %
_CHOSEN = """
SELECT label, path, path_bytes, onset_seconds, score FROM (
  SELECT *, row_number() OVER (PARTITION BY label ORDER BY score, path, onset_seconds) - 1 AS place,
         count(*) OVER (PARTITION BY label) AS n FROM events)
WHERE n <= {most} OR place * {most} // n > (place - 1) * {most} // n OR place = 0
ORDER BY label, score DESC
"""


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


def write_review(folder: Path, questions: Questions, per_class: int) -> tuple[int, int]:
    """Write clips, and a table of them that waits for verdicts.

    Args:
        folder: takes the table and the folder `clips`.
        questions: to the results.
        per_class: events of each class.

    Returns:
        How many clips were written, and how many recordings could not be read any more.

    Raises:
        OSError: the folder cannot be written.
    """
    make_folder(folder / "clips")
    lines, count, missing = [csv_line(list(COLUMNS))], 0, 0
    for label, path, raw, onset, score in questions.sql(_CHOSEN.format(most=per_class)).rows:
        file = Path(os.fsdecode(raw) if raw is not None else path)
        cut = samples.cut(file, float(onset)) if file.is_file() else None
        if cut is None:
            missing += 1
            continue
        count += 1
        name = f"clips/{re.sub(r'[^A-Za-z0-9]+', '-', label).strip('-')}-{count:04}.wav"
        data = io.BytesIO()
        soundfile.write(data, cut, samples.RATE, format="WAV", subtype="PCM_16")
        write_bytes(folder / name, data.getvalue())
        lines.append(csv_line([name, label, path, f"{score:.4f}", f"{onset:.3f}", ""]))
    write_text(folder / TABLE, "".join(line + "\n" for line in lines))
    return count, missing


def read_review(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a table with verdicts.

    Raises:
        ArchiveError: it lacks a column, or a verdict is neither yes nor no.
    """
    path = folder / TABLE
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if lacking := {"label", "score", "verdict"} - set(table.fieldnames or ()):
            raise ArchiveError(f"{path}: lacks the column {sorted(lacking)[0]}; make it anew")
        rows = list(table)
    for number, row in enumerate(rows, 2):
        word = (row["verdict"] or "").strip().lower()
        if word and word not in _YES | _NO:
            raise ArchiveError(f"{path}: row {number} has the verdict {word!r}; write yes or no")
    return rows


def precisions(rows: Iterable[Mapping[str, Any]]) -> list[Precision]:
    """Return the precision of each class from some thresholds on, of the rows with a verdict."""
    classes: dict[str, list[tuple[float, bool]]] = {}
    for row in rows:
        if word := str(row["verdict"] or "").strip().lower():
            classes.setdefault(str(row["label"]), []).append((float(row["score"]), word in _YES))
    found = []
    for label, judged in sorted(classes.items()):
        lowest = min(score for score, _ in judged)
        for threshold in (0.0, *(value for value in _THRESHOLDS if value > lowest)):
            above = [right for score, right in judged if score >= threshold]
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
