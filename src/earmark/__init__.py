"""Earmark names environmental sounds with a unidirectional LSTM over mel frames.

Importing the package is quick and loads no torch; the names below load what they need when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.config import EventSettings
    from earmark.decision.prediction import Prediction
    from earmark.nn.classifier import LSTMClassifier
    from earmark.runtime.events import Event
    from earmark.runtime.session import Session

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Event",
    "EventSettings",
    "LSTMClassifier",
    "Prediction",
    "Session",
    "__version__",
]

_HOMES = {
    "Event": "earmark.runtime.events",
    "EventSettings": "earmark.config",
    "LSTMClassifier": "earmark.nn.classifier",
    "Prediction": "earmark.decision.prediction",
    "Classifier": "earmark.classifier",
    "Session": "earmark.runtime.session",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
