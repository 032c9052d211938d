"""What the commands all print."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from earmark.errors import AudioWarning

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.io.paths import Found

_SHOWN = 5  # warnings of one kind; the others are counted


def print_line(line: str) -> None:
    """Write a line at once; `print` writes its end apart, and an interrupt may come between."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def synthetic_note(classifier: Classifier) -> list[str]:
    """Return a line of warning when the model was trained on synthetic sounds, else none."""
    if not classifier.info.data.get("synthetic"):
        return []
    return ["This model was trained on synthetic sounds; do not trust it on real ones."]


def model_json(classifier: Classifier) -> dict[str, Any]:
    """Say which model made a prediction, as plain values."""
    info = classifier.info
    return {
        "name": info.name,
        "fingerprint": info.fingerprint,
        "identity": info.identity,
        "calibration": info.calibration_fingerprint,
        "trained_on": info.data.get("dataset"),
        "synthetic": info.data.get("synthetic"),
    }


def print_found(found: Found) -> None:
    """Say on standard error what a search left out, and which names look alike."""
    for line in found.twins:
        print(f"warning: {line}", file=sys.stderr)
    if left_out := found.summary():
        print(left_out, file=sys.stderr)


@contextlib.contextmanager
def show_audio_warnings() -> Iterator[list[str]]:
    """Print warnings about audio as lines on standard error: five of each kind, then a count.

    Yields:
        All such lines, as they come.
    """
    lines: list[str] = []
    kinds: Counter[str] = Counter()
    before = warnings.showwarning

    def show(message: Any, category: Any, *rest: Any, **options: Any) -> None:
        if not isinstance(message, AudioWarning):
            before(message, category, *rest, **options)
            return
        lines.append(str(message))
        kind = re.sub(r"[-\d.]+", "#", message.note)
        kinds[kind] += 1
        if kinds[kind] <= _SHOWN:
            sys.stderr.write(f"warning: {message}\n")  # at once: `print` writes the end apart

    with warnings.catch_warnings():
        warnings.simplefilter("always", AudioWarning)
        warnings.showwarning = show
        try:
            yield lines
        finally:
            for kind, count in kinds.items():
                if count > _SHOWN:
                    print(f"warning: {count - _SHOWN} more like this: {kind}", file=sys.stderr)
