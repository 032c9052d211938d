"""What `predict`, `evaluate` and `stream` all print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.classifier import Classifier


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
