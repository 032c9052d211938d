"""Earmark names environmental sounds with a unidirectional LSTM over mel frames.

Importing the package is quick and loads no torch; the names below load what they need when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.inference.events import Event
    from earmark.inference.recognizer import Prediction, Recognizer
    from earmark.inference.session import Session
    from earmark.model import LSTMClassifier
    from earmark.settings import EventSettings

__version__ = "0.1.0"
__all__ = [
    "Event",
    "EventSettings",
    "LSTMClassifier",
    "Prediction",
    "Recognizer",
    "Session",
    "__version__",
]

_HOMES = {
    "Event": "earmark.inference.events",
    "EventSettings": "earmark.settings",
    "LSTMClassifier": "earmark.model",
    "Prediction": "earmark.inference.recognizer",
    "Recognizer": "earmark.inference.recognizer",
    "Session": "earmark.inference.session",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
