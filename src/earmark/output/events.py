"""Events as text that other programs open.

jsonl     one JSON object a line, as the events come
raven     selection table of Raven (Cornell Lab of Ornithology), tab separated
audacity  label track of Audacity (File > Import > Labels): start, end, text
csv       source, onset, offset, label, score
dcase     filename, onset, offset, event_label, tab separated, as sed_eval and sed_scores_eval read
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from earmark.runtime.events import Event

FORMATS = ("jsonl", "raven", "audacity", "csv", "dcase")

_HEADERS: dict[str, Sequence[str]] = {
    "raven": (
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)"),
        *("High Freq (Hz)", "Label", "Score", "Begin Path", "File Offset (s)"),
    ),
    "csv": ("source", "onset", "offset", "label", "score"),
    "dcase": ("filename", "onset", "offset", "event_label"),
}


class EventTable:
    """Turns events into the lines of one file.

    Args:
        format: one of `FORMATS`.
        low_hz: lowest frequency that the model hears, for Raven.
        high_hz: highest frequency that it hears.
    """

    def __init__(self, format: str, low_hz: float = 0.0, high_hz: float = 0.0) -> None:
        self.format, self.low_hz, self.high_hz = format, low_hz, high_hz
        self._selection, self._before = 0, 0.0

    def header(self) -> list[str]:
        """Return the first line, where the format has one."""
        names = _HEADERS.get(self.format)
        return [self._joined(names)] if names else []

    def line(self, event: Event) -> str:
        """Return the line of the next event."""
        onset, offset = f"{event.onset:.3f}", f"{event.offset:.3f}"
        if self.format == "jsonl":
            return json.dumps(event.to_dict(), ensure_ascii=False)
        if self.format == "audacity":
            return self._joined([f"{event.onset:.6f}", f"{event.offset:.6f}", event.label])
        if self.format == "dcase":
            return self._joined([event.source, onset, offset, event.label])
        score = f"{event.score:.4f}"
        if self.format == "csv":
            return self._joined([event.source, onset, offset, event.label, score])
        self._selection += 1
        begin, end = (f"{self._before + at:.3f}" for at in (event.onset, event.offset))
        band = [f"{self.low_hz:.1f}", f"{self.high_hz:.1f}"]
        start = [str(self._selection), "Spectrogram 1", "1", begin, end]
        return self._joined([*start, *band, event.label, score, event.source, onset])

    def next_file(self, seconds: float) -> None:
        """Say that a file of so many seconds has ended; Raven counts the next one from there."""
        self._before += seconds

    def _joined(self, values: Sequence[str]) -> str:
        if self.format == "csv":
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow(values)
            return line.getvalue()
        return "\t".join(" ".join(value.split()) for value in values)  # no tab or break inside one
