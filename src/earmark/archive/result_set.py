"""What results follow from: model, calibration and settings. Those of one such set lie together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.config import EventSettings, to_json
from earmark.io.files import sha256_of_json
from earmark.runtime.engine import ModelInfo

_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class ResultSet:
    """Model, calibration and settings, by name and digest.

    Attributes:
        name: of its folder: the model's name and the begin of the set's digest.
        record: all that is known of it, as JSON.
    """

    name: str
    record: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the model."""
        return tuple(self.record["classes"])

    @property
    def columns(self) -> dict[str, str]:
        """What every row says of where it comes from."""
        names = ("model", "model_name", "calibration", "settings")
        return {name: str(self.record[name]) for name in names}


def result_set(
    info: ModelInfo, settings: EventSettings, *, name: str = "", closed_set: bool = False
) -> ResultSet:
    """Return the set of results of a model under its calibration, with these settings.

    The model is known by its identity, which a calibration does not change, or by its fingerprint
    where it has none.

    Args:
        info: what the model says of itself.
        settings: how scores become events.
        name: what to call the model, in place of its own name.
        closed_set: whether scores were divided by the sum of those of the classes asked for.
    """
    values = to_json(settings.with_lags(info.model.lags_seconds))
    parts = {
        "model": info.identity or info.fingerprint,
        "calibration": info.calibration_fingerprint,
        "settings": sha256_of_json([values, list(info.classes), closed_set]),
    }
    digest = sha256_of_json(parts)
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", name or info.name).strip("._-")[:_NAME_CHARACTERS]
    record = {
        "set": digest,
        **parts,
        "model_name": name or info.name,
        "fingerprint": info.fingerprint,
        "classes": list(info.classes),
        "thresholds": [float(value) for value in info.calibration.thresholds],
        "temperature": float(info.calibration.temperature),
        "event_settings": values,
        "closed_set": closed_set,
        "sample_rate": info.sample_rate,
        "step_seconds": info.step_seconds,
        "low_hz": info.front_end.low_hz,
        "high_hz": info.front_end.high_hz,
    }
    return ResultSet(f"{clean or 'model'}-{digest[:12]}", record)


def of_folder(folder: Path, record: Mapping[str, Any]) -> ResultSet:
    """Return the set whose results lie in a folder."""
    return ResultSet(folder.name, record)
