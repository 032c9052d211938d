"""What `predict`, `evaluate` and `stream` all print. Layer 7."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.inference.recognizer import Recognizer


def print_line(line: str) -> None:
    """Write a line at once; `print` writes its end apart, and an interrupt may come between."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def synthetic_note(recognizer: Recognizer) -> list[str]:
    """Return a line of warning when the model was trained on synthetic sounds, else none."""
    if not recognizer.info.data.get("synthetic"):
        return []
    return ["This model was trained on synthetic sounds; do not trust it on real ones."]


def model_json(recognizer: Recognizer) -> dict[str, Any]:
    """Say which model made a prediction, as plain values."""
    info = recognizer.info
    return {
        "name": info.name,
        "fingerprint": info.fingerprint,
        "trained_on": info.data.get("dataset"),
        "synthetic": info.data.get("synthetic"),
    }
