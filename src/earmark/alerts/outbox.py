"""Alerts that wait for a target, in a file that survives a kill.

A line is added when an alert is put in, and another when it is out; what was put in and is not out
waits. The file is only ever added to, and written anew, whole, when most of it is over.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.io.append import AppendedLines, read_objects
from earmark.io.files import write_text

_COMPACT_BYTES = 1_000_000
_REMEMBERED = 10_000  # names of alerts that are out, so that none is put in again

Report = Callable[[str], object]


@dataclass(frozen=True)
class Entry:
    """An alert that waits.

    Attributes:
        id: its name.
        alert: what is told.
        put_at: when it was put in, in seconds since 1970.
    """

    id: str
    alert: Mapping[str, Any]
    put_at: float


class Outbox:
    """The alerts that wait for one target; threads may share it.

    Args:
        path: its file.
        name: of the target, for messages.
        most: so many may wait; then the oldest are dropped.
        report: is told in a line what goes wrong.
        clock: gives the time in seconds since 1970.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        most: int,
        report: Report,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._name, self._most = path, name, most
        self._report, self._clock = report, clock
        self._waiting: OrderedDict[str, Entry] = OrderedDict()
        self._out: OrderedDict[str, None] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = self._unwritten = False
        self._dropped = self._compacted = 0
        self._file = AppendedLines(path, sync=True)
        for line in read_objects(path):
            self._replay(line)
        self._compact_if_long()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def put(self, name: str, alert: Mapping[str, Any]) -> None:
        """Put an alert in; one of the same name that is in, or was, is left as it is.

        A disk that is full is reported, and the alert waits in memory.
        """
        with self._changed:
            if name in self._waiting or name in self._out:
                return
            entry = Entry(name, alert, self._clock())
            self._waiting[name] = entry
            self._write({"put": name, "at": entry.put_at, "alert": dict(alert)})
            while len(self._waiting) > self._most:
                oldest = next(iter(self._waiting))
                self._remove(oldest, "dropped")
                self._dropped += 1
                if self._dropped == 1:
                    self._report(f"{self._name}: {self._most} alerts wait; the oldest are dropped")
            self._changed.notify_all()

    def wait(self, seconds: float) -> Entry | None:
        """Return the oldest that waits, or None if none came within so long."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(seconds)
            return next(iter(self._waiting.values()), None)

    def take_out(self, name: str, outcome: str) -> None:
        """Take an alert out.

        Args:
            name: its name; one that was dropped meanwhile is no fault.
            outcome: what became of it, as "delivered".
        """
        with self._changed:
            if name in self._waiting:
                self._remove(name, outcome)
            if not self._waiting and self._dropped:
                self._report(f"{self._name}: {self._dropped} alert(s) were dropped")
                self._dropped = 0
            self._compact_if_long()
            self._changed.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until none waits, for so long at most; tell whether none does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Close the file."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._file.close()

    def _replay(self, line: Mapping[str, Any]) -> None:
        """Take a line that an earlier process wrote."""
        if isinstance(name := line.get("put"), str) and isinstance(line.get("alert"), dict):
            self._waiting[name] = Entry(name, line["alert"], float(line.get("at", 0.0)))
        elif isinstance(name := line.get("out"), str):
            self._waiting.pop(name, None)
            self._remember(name)

    def _remove(self, name: str, outcome: str) -> None:
        del self._waiting[name]
        self._remember(name)
        self._write({"out": name, "at": self._clock(), "outcome": outcome})

    def _remember(self, name: str) -> None:
        self._out[name] = None
        while len(self._out) > _REMEMBERED:
            self._out.popitem(last=False)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._closed:
            return
        try:
            if self._unwritten:  # what is in memory alone goes with what is on disk
                self._write_anew()
            else:
                self._file.append(line)
        except OSError as error:
            self._fail(error)
            return
        if self._unwritten:
            self._unwritten = False
            self._report(f"{self._path}: can be written to again")

    def _fail(self, error: OSError) -> None:
        if not self._unwritten:
            reason = (error.strerror or str(error)).lower()
            self._report(
                f"{self._path}: cannot be written to ({reason}); alerts wait in memory alone, "
                "and a kill would lose them or send them again"
            )
        self._unwritten = True

    def _compact_if_long(self) -> None:
        if self._file.length > 2 * self._compacted + _COMPACT_BYTES and not self._unwritten:
            try:
                self._write_anew()
            except OSError as error:
                self._fail(error)

    def _write_anew(self) -> None:
        """Write what waits to a file that takes the place of the old one."""
        lines = [
            json.dumps({"put": one.id, "at": one.put_at, "alert": dict(one.alert)})
            for one in self._waiting.values()
        ]
        self._file.close()
        try:
            write_text(self._path, "".join(f"{line}\n" for line in lines))
        finally:  # of a disk that is full the old file is left
            self._file = AppendedLines(self._path, sync=True)
        self._compacted = self._file.length
