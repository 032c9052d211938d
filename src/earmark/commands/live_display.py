"""What `earmark stream` shows: events on standard output, bars below them, remarks beside."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

from earmark.commands.printing import print_line
from earmark.live.capture import Capture, Notice
from earmark.output.events import TEXT, event_writer
from earmark.runtime.events import Event

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.runtime.session import Session

_BARS = 3
_BAR_SECONDS = 0.1  # between two pictures of the bars


class LiveDisplay:
    """Writes events to standard output and, in a terminal, bars of the likeliest classes below.

    Attributes:
        events: events so far.
        capture: counts lost samples, where a source can lose any.
    """

    def __init__(self, format: str, classifier: Classifier) -> None:
        front_end = classifier.info.front_end
        self.events = 0
        self.capture: Capture | None = None
        self._writer = event_writer(
            format, print_line, low_hz=front_end.low_hz, high_hz=front_end.high_hz
        )
        self._live = format == TEXT and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn, self._next = 0, 0.0
        self._lock = threading.RLock()  # alerts are reported from threads of their own
        self._writer.open()

    @property
    def dropped(self) -> int:
        """Samples that were lost."""
        return self.capture.dropped if self.capture else 0

    @property
    def silenced(self) -> int:
        """Samples that were no numbers."""
        return self.capture.silenced if self.capture else 0

    def show(self, event: Event) -> None:
        """Write an event."""
        self.events += 1
        with self._lock:
            self._clear()
            self._writer.write(event)

    def report(self, notice: Notice) -> None:
        """Say what happened to the source."""
        self.note(notice.text)

    def note(self, line: str) -> None:
        """Say something about the source, or about alerts; any thread may."""
        with self._lock:
            self._clear()
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def bars(self, session: Session) -> None:
        """Draw the bars, now and then."""
        if not self._live or time.monotonic() < self._next or not session.scores:
            return
        self._next = time.monotonic() + _BAR_SECONDS
        with self._lock:
            self._draw(session)

    def _draw(self, session: Session) -> None:
        self._clear()
        width = shutil.get_terminal_size().columns
        longest = max(len(name) for name in session.classes)
        room = max(5, min(40, width - longest - 12))
        now = set(session.active_now)
        lines = [f"{session.seconds:9.1f} s" + (f"  {self.dropped} dropped" * bool(self.dropped))]
        for name, score in list(session.scores.items())[:_BARS]:
            bar = "█" * round(score * room)
            mark = "●" if name in now else " "
            lines.append(f" {mark} {name:{longest}} {score:4.2f} {bar}"[:width])
        print("\n".join(lines), flush=True)
        self._drawn = len(lines)

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            sys.stdout.flush()
        self._drawn = 0
