"""Events as text that other programs open.

jsonl     one JSON object a line, as the events come
raven     selection table of Raven (Cornell Lab of Ornithology), tab separated
audacity  label track of Audacity (File > Import > Labels): start, end, text
csv       source, onset, offset, label, score
dcase     filename, onset, offset, event_label, tab separated, as sed_eval and sed_scores_eval read
text      for people

Names of files and classes may hold anything. In tables they are quoted where a reader would take a
character for more than itself. Audacity takes quotes for a part of a label, and Raven may do so
too: a label track never has them, and a selection table only around a name that holds one.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from earmark.output.writer import Emit, LineWriter, Writer, csv_line, one_line, tab_line
from earmark.runtime.events import Event

FORMATS = ("jsonl", "raven", "audacity", "csv", "dcase")
TEXT = "text"


def event_writer(
    format: str,
    emit: Emit,
    *,
    low_hz: float = 0.0,
    high_hz: float = 0.0,
) -> Writer[Event]:
    """Return a writer of events.

    Args:
        format: one of `FORMATS`, or `TEXT`.
        emit: takes each line.
        low_hz: lowest frequency that the model takes in, for Raven.
        high_hz: highest frequency that it takes in.
    """
    if format == "raven":
        return RavenEvents(emit, low_hz, high_hz)
    kinds: dict[str, Callable[[Emit], Writer[Event]]] = {
        "jsonl": JsonEvents,
        "audacity": AudacityEvents,
        "csv": CsvEvents,
        "dcase": DcaseEvents,
        TEXT: TextEvents,
    }
    return kinds[format](emit)


class JsonEvents(LineWriter):
    """Writes one JSON object a line."""

    def write(self, result: Event) -> None:
        """Write the next event."""
        self.emit(json.dumps(result.to_dict(), ensure_ascii=False))


class AudacityEvents(LineWriter):
    """Writes a label track of Audacity."""

    def write(self, result: Event) -> None:
        """Write the next event."""
        self.emit(f"{result.onset:.6f}\t{result.offset:.6f}\t{one_line(result.label)}")


class CsvEvents(LineWriter):
    """Writes a table with commas."""

    def open(self) -> None:
        """Write the names of the columns."""
        self.emit(csv_line(["source", "onset", "offset", "label", "score"]))

    def write(self, result: Event) -> None:
        """Write the next event."""
        self.emit(csv_line([result.source, *_times(result), result.label, f"{result.score:.4f}"]))


class DcaseEvents(LineWriter):
    """Writes the table that evaluation tools of the DCASE challenges read."""

    def open(self) -> None:
        """Write the names of the columns."""
        self.emit(tab_line(["filename", "onset", "offset", "event_label"]))

    def write(self, result: Event) -> None:
        """Write the next event."""
        self.emit(tab_line([result.source, *_times(result), result.label]))


class RavenEvents(LineWriter):
    """Writes a selection table of Raven, which counts time on from file to file.

    Args:
        emit: takes each line.
        low_hz: lowest frequency that the model takes in.
        high_hz: highest frequency that it takes in.
    """

    COLUMNS = (
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
        "Label",
        "Score",
        "Begin Path",
        "File Offset (s)",
    )

    def __init__(self, emit: Emit, low_hz: float, high_hz: float) -> None:
        super().__init__(emit)
        self.low_hz, self.high_hz = low_hz, high_hz
        self._selection, self._before = 0, 0.0

    def open(self) -> None:
        """Write the names of the columns."""
        self.emit("\t".join(self.COLUMNS))

    def write(self, result: Event) -> None:
        """Write the next event."""
        self._selection += 1
        onset, _ = _times(result)
        values = [
            str(self._selection),
            "Spectrogram 1",
            "1",
            f"{self._before + result.onset:.3f}",
            f"{self._before + result.offset:.3f}",
            f"{self.low_hz:.1f}",
            f"{self.high_hz:.1f}",
            result.label,
            f"{result.score:.4f}",
            result.source,
            onset,
        ]
        self.emit(tab_line(values, special='"'))

    def next_file(self, seconds: float) -> None:
        """Count the next file from the end of this one."""
        self._before += seconds


class TextEvents(LineWriter):
    """Writes a line for people."""

    def write(self, result: Event) -> None:
        """Write the next event."""
        span = f"{result.onset:9.2f} to {result.offset:9.2f} s"
        self.emit(f"{span}  {one_line(result.label)}  {result.score:.2f}")


def _times(event: Event) -> tuple[str, str]:
    return f"{event.onset:.3f}", f"{event.offset:.3f}"
