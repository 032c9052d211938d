"""Earmark names environmental sounds with a unidirectional LSTM over mel frames.

Importing the package is quick and loads no torch; the names below load what they need when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.inference.recognizer import Prediction, Recognizer
    from earmark.model import LSTMClassifier

__version__ = "0.1.0"
__all__ = ["LSTMClassifier", "Prediction", "Recognizer", "__version__"]

_HOMES = {
    "LSTMClassifier": "earmark.model",
    "Prediction": "earmark.inference.recognizer",
    "Recognizer": "earmark.inference.recognizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
