"""Earmark names environmental sounds with a unidirectional LSTM over mel frames.

    import earmark

    classifier = earmark.load()
    classifier.predict("dog.wav").label

Importing the package is quick and loads no torch; the names below load what they need when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.api import cross_validate, load, train
    from earmark.classifier import Classifier
    from earmark.config import Calibration, EventSettings
    from earmark.decision.prediction import Prediction
    from earmark.errors import (
        ArchiveError,
        AudioError,
        DatasetError,
        EarmarkError,
        ModelError,
        RunError,
        SettingsError,
        SplitError,
        StorageError,
    )
    from earmark.nn.classifier import LSTMClassifier
    from earmark.output.dataframe import to_dataframe
    from earmark.runtime.events import Event
    from earmark.runtime.pool import SessionPool
    from earmark.runtime.session import Session

__version__ = "0.1.0"
__all__ = [
    "ArchiveError",
    "AudioError",
    "Calibration",
    "Classifier",
    "DatasetError",
    "EarmarkError",
    "Event",
    "EventSettings",
    "LSTMClassifier",
    "ModelError",
    "Prediction",
    "RunError",
    "Session",
    "SessionPool",
    "SettingsError",
    "SplitError",
    "StorageError",
    "__version__",
    "cross_validate",
    "load",
    "to_dataframe",
    "train",
]

_HOMES = {
    "ArchiveError": "earmark.errors",
    "AudioError": "earmark.errors",
    "Calibration": "earmark.config",
    "Classifier": "earmark.classifier",
    "DatasetError": "earmark.errors",
    "EarmarkError": "earmark.errors",
    "Event": "earmark.runtime.events",
    "EventSettings": "earmark.config",
    "LSTMClassifier": "earmark.nn.classifier",
    "ModelError": "earmark.errors",
    "Prediction": "earmark.decision.prediction",
    "RunError": "earmark.errors",
    "Session": "earmark.runtime.session",
    "SessionPool": "earmark.runtime.pool",
    "SettingsError": "earmark.errors",
    "SplitError": "earmark.errors",
    "StorageError": "earmark.errors",
    "cross_validate": "earmark.api",
    "load": "earmark.api",
    "to_dataframe": "earmark.output.dataframe",
    "train": "earmark.api",
}
_RENAMED = {"Recognizer": "Classifier"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        raise AttributeError(f"earmark.{name} is called earmark.{_RENAMED[name]} now")
    if name not in _HOMES:
        raise AttributeError(f"module 'earmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
