"""Frozen settings, saved with every model and rebuilt from it; recipes that name them.

A setting that changes a shape, a feature or a score stands in one of these classes and nowhere
else. Values are checked where they enter, so a wrong flag or an edited file is one clear line.
"""

from earmark.config.calibration import Calibration
from earmark.config.codec import from_json, to_json
from earmark.config.events import EventSettings
from earmark.config.front_end import FrontEndSettings
from earmark.config.model import (
    LAGS_SECONDS,
    POOLINGS,
    Convolutions,
    FrequencyLSTM,
    ModelSettings,
    NetworkSettings,
    frames_per_step,
)
from earmark.config.training import TrainingSettings

__all__ = [
    "LAGS_SECONDS",
    "POOLINGS",
    "Calibration",
    "Convolutions",
    "EventSettings",
    "FrequencyLSTM",
    "FrontEndSettings",
    "ModelSettings",
    "NetworkSettings",
    "TrainingSettings",
    "frames_per_step",
    "from_json",
    "to_json",
]
