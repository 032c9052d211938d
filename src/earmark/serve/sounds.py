"""The folder of a person's own sounds: clips, and a table of verdicts, `path,label,group`.

    SOUNDS/labels.csv       a row for each verdict; `earmark train SOUNDS/labels.csv` reads it
    SOUNDS/clips/ID.wav     the clips; none is moved when its label changes
    SOUNDS/models/N/        a model that was trained here: model.onnx, report.json
    SOUNDS/model.json       which of them is used, and which was used before
    SOUNDS/rooms/           thresholds that were fitted to a room, see `earmark.serve.rooms`

Nothing is made before the first verdict. One server at a time writes to it.
"""

from __future__ import annotations

import csv
import io
import secrets
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.decision.policy import NONE
from earmark.errors import DatasetError
from earmark.io.files import read_json, write_bytes, write_json, write_text
from earmark.io.lock import FolderLock
from earmark.serve.clips import to_wav

TABLE, CLIPS, MODELS, CHOICE = "labels.csv", "clips", "models", "model.json"
ONNX, REPORT = "model.onnx", "report.json"
BACKGROUND = "background"  # which tables take for clips of no class
PIECE_SECONDS = 5.0  # longer recordings are cut, in one group
SHORTEST_SECONDS = 0.3
_COLUMNS = ("path", "label", "group")


@dataclass(frozen=True)
class Verdict:
    """A row of the table.

    Attributes:
        path: of the clip, relative to the folder.
        label: its class.
        group: the recording that it was cut from.
    """

    path: str
    label: str
    group: str


@dataclass(frozen=True)
class Step:
    """What one verdict or recording added.

    Attributes:
        verdicts: its rows, one for each clip.
        event_clip: id of the clip of the event that was judged; empty: a recording was sent.
        recording: names a recording that was sent in pieces, which are one step; empty: it was not.
    """

    verdicts: tuple[Verdict, ...]
    event_clip: str = ""
    recording: str = ""


class SoundsFolder:
    """Keeps verdicts; threads may share it.

    Args:
        folder: where.

    Raises:
        DatasetError: its table is of another form.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.RLock()
        self._held: FolderLock | None = None
        self._rows = self._read()
        self._steps: list[Step] = []  # of this run

    def hold(self) -> None:
        """Keep other servers from the folder until `release`; it is made where there is none.

        Raises:
            StorageError: another server holds it.
            OSError: it cannot be made.
        """
        with self._lock:
            if self._held is None:
                self._held = FolderLock(self.folder, "give another --sounds")
                self._rows = self._read()  # whoever held it before may have added some

    def release(self) -> None:
        """Let go of the folder."""
        with self._lock:
            if self._held is not None:
                self._held.release()
                self._held = None

    @property
    def table(self) -> Path:
        """The table."""
        return self.folder / TABLE

    @property
    def rows(self) -> list[Verdict]:
        """All verdicts."""
        with self._lock:
            return list(self._rows)

    @property
    def counts(self) -> dict[str, int]:
        """Clips by label."""
        return dict(sorted(Counter(row.label for row in self.rows).items()))

    @property
    def undoable(self) -> int:
        """Verdicts that can be taken back."""
        return len(self._steps)

    def add(
        self,
        samples: NDArray[np.int16],
        sample_rate: int,
        label: str,
        group: str,
        *,
        event_clip: str = "",
        recording: str = "",
    ) -> int:
        """Keep a recording `(samples,)` as clips of a class; return how many it made.

        Args:
            samples: the recording.
            sample_rate: of it.
            label: the class.
            group: the recording that it was cut from.
            event_clip: see `Step`.
            recording: see `Step`; the piece joins those that came before, to be taken back at once.

        Raises:
            StorageError: another server writes to the folder.
            OSError: they cannot be written; nothing of them is kept then.
        """
        self.hold()
        piece = round(PIECE_SECONDS * sample_rate)
        parts = [samples[at : at + piece] for at in range(0, max(1, len(samples)), piece)]
        least = SHORTEST_SECONDS * sample_rate
        parts = [part for part in parts if len(part) >= least] or parts[:1]
        added = [Verdict(f"{CLIPS}/{secrets.token_hex(8)}.wav", label, group) for _ in parts]
        try:
            for row, part in zip(added, parts, strict=True):
                write_bytes(self.folder / row.path, to_wav(part, sample_rate))
            with self._lock:
                self._write([*self._rows, *added])
                self._note(Step(tuple(added), event_clip, recording))
        except OSError:
            self._remove(added)
            raise
        return len(added)

    def _note(self, step: Step) -> None:
        """Keep what can be taken back; a piece makes the recording that it belongs to the last."""
        before = [one for one in self._steps if one.recording and one.recording == step.recording]
        for one in before:
            self._steps.remove(one)
            step = replace(step, verdicts=(*one.verdicts, *step.verdicts))
        self._steps.append(step)

    def undo(self) -> Step | None:
        """Take the last step back, with the clips that were made for it; return it.

        Raises:
            OSError: the table cannot be written; the verdict stays then.
        """
        with self._lock:
            if not self._steps:
                return None
            gone = self._steps[-1]
            rows = set(gone.verdicts)  # of a room, thousands
            self._write([row for row in self._rows if row not in rows])
            self._steps.pop()
        self._remove(gone.verdicts)
        return gone

    def of_label(self, label: str) -> list[Path]:
        """Return the clips of a label."""
        return [self.folder / row.path for row in self.rows if row.label == label]

    @property
    def chosen(self) -> dict[str, Any]:
        """Which model is used: `used`, `before` (names in `models`, or empty), and calibration."""
        record = self._record(self.folder / CHOICE) or {}
        return {name: self._kept(str(record.get(name, ""))) for name in ("used", "before")}

    @property
    def choice_fault(self) -> str:
        """What is wrong with the record of which model is used, in one line; empty: nothing."""
        path = self.folder / CHOICE
        if not path.exists() or self._record(path) is not None:
            return ""
        return f"{path}: cannot be read, or was cut or edited; no model of the page is used"

    def choose(self, used: str, before: str) -> None:
        """Note which model is used from now on."""
        write_json(self.folder / CHOICE, {"used": used, "before": before})

    def model_path(self, name: str) -> Path:
        """Return the file of a model that was trained here."""
        return self.folder / MODELS / name / ONNX

    def new_model(self) -> str:
        """Return a name for the next model."""
        taken = [int(p.name) for p in (self.folder / MODELS).glob("*") if p.name.isdigit()]
        return str(max(taken, default=0) + 1)

    def report(self, name: str) -> dict[str, Any] | None:
        """Return what was said of a model when it was trained."""
        return self._record(self.folder / MODELS / name / REPORT)

    def _record(self, path: Path) -> dict[str, Any] | None:
        """Return the object in a file of JSON; None: there is none."""
        try:
            value = read_json(path)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _kept(self, name: str) -> str:
        return name if name.isdigit() and self.model_path(name).is_file() else ""

    def _remove(self, rows: Iterable[Verdict]) -> None:
        for row in rows:
            (self.folder / row.path).unlink(missing_ok=True)

    def _write(self, rows: list[Verdict]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((row.path, row.label, row.group) for row in rows)
        write_text(self.table, text.getvalue())
        self._rows = rows

    def _read(self) -> list[Verdict]:
        if not self.table.is_file():
            return []
        with self.table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise DatasetError(
                    f"{self.table}: lacks one of the columns {', '.join(_COLUMNS)}; "
                    "choose another folder with --sounds"
                )
            if more := [name for name in reader.fieldnames or () if name not in _COLUMNS]:
                raise DatasetError(
                    f"{self.table}: has a column {more[0]}, which the first verdict would remove; "
                    "choose another folder with --sounds"
                )
            return [Verdict(row["path"], row["label"], row["group"]) for row in reader]


def clean_label(value: Any) -> str:
    """Return the name of a class as a person typed it; empty where there is none."""
    if not isinstance(value, str):
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in value).split())[:60]
    return BACKGROUND if text.casefold() in (NONE, BACKGROUND) else text
