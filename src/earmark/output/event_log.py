"""The append-only file of events: a JSON object a line, under the names that archives use.

Each line says all that is needed to read it alone: when the sound was (UTC), what was found, by
which model under which calibration and settings, and where its clip lies.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from earmark.config import EventSettings, to_json
from earmark.io.files import sha256_of_json
from earmark.runtime.engine import ModelInfo
from earmark.runtime.events import Event

SCHEMA = 1


def stamp(time: datetime.datetime) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")


def provenance_columns(info: ModelInfo, settings: EventSettings) -> dict[str, str]:
    """Return what each row says of what found it: digests, and the model's name."""
    return {
        "model": info.identity or info.fingerprint,
        "model_name": info.name,
        "calibration": info.calibration_fingerprint,
        "settings": sha256_of_json(_chosen(info, settings)),
    }


def run_record(info: ModelInfo, settings: EventSettings) -> dict[str, Any]:
    """Return all that the digests of `provenance_columns` stand for."""
    return {
        **provenance_columns(info, settings),
        "fingerprint": info.fingerprint,
        "classes": list(info.classes),
        "calibration_values": to_json(info.calibration),
        "event_settings": _chosen(info, settings),
        "sample_rate": info.sample_rate,
        "step_seconds": info.step_seconds,
        "low_hz": info.front_end.low_hz,
        "high_hz": info.front_end.high_hz,
    }


def _chosen(info: ModelInfo, settings: EventSettings) -> dict[str, Any]:
    """Return the settings of events as they hold for a model."""
    return to_json(settings.with_lags(info.model.lags_seconds))


def event_row(
    event: Event,
    *,
    name: str,
    start: datetime.datetime,
    end: datetime.datetime,
    threshold: float | None,
    level_db: float | None,
    clip: str,
    clip_from: float,
    run: str,
    provenance: Mapping[str, str],
) -> dict[str, Any]:
    """Return an event as a line of the file.

    Args:
        event: the event.
        name: its id.
        start: when it began.
        end: when it ended.
        threshold: the score that counts for its class.
        level_db: its level, where that was looked for.
        clip: path of its clip within the folder; empty: none.
        clip_from: where the clip begins, in seconds of the stream.
        run: names the run that found it.
        provenance: see `provenance_columns`.
    """
    return {
        "schema": SCHEMA,
        "id": name,
        "start_utc": stamp(start),
        "end_utc": stamp(end),
        **event.to_dict(),
        "threshold": None if threshold is None else round(threshold, 4),
        "level_db": None if level_db is None else round(level_db, 1),
        "clip": clip or None,
        "clip_from": round(clip_from, 3),
        "run": run,
        "fingerprint": event.model,
        **provenance,
    }
