"""A calibration as a file of its own, to be laid over a model without touching its weights."""

from __future__ import annotations

import json
from pathlib import Path

from earmark.config import Calibration, from_json, to_json
from earmark.errors import ModelError, SettingsError
from earmark.io.files import write_json

_SCHEMA = 1
_KIND = "earmark-calibration"


def write_calibration(path: Path, calibration: Calibration, identity: str = "") -> None:
    """Write a calibration as JSON, whole or not at all.

    Args:
        path: the file.
        calibration: what to write.
        identity: of the weights that it was fitted for.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(
        path,
        {
            "schema": _SCHEMA,
            "kind": _KIND,
            "identity": identity,
            "calibration": to_json(calibration),
        },
    )


def read_calibration(path: Path, identity: str = "") -> Calibration:
    """Read what `write_calibration` wrote.

    Args:
        path: the file.
        identity: of the weights it is to be laid over; empty: not known.

    Raises:
        ModelError: there is no such file, it is no calibration, or that of other weights.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ModelError(f"{path}: is not JSON, it was cut or edited; calibrate again") from None
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise ModelError(f"{path}: is no calibration; give one that Earmark wrote")
    if content.get("schema") != _SCHEMA:
        raise ModelError(
            f"{path}: has schema {content.get('schema')}, this Earmark reads {_SCHEMA}; "
            "upgrade earmark, or calibrate again"
        )
    try:
        calibration = from_json(Calibration, content["calibration"])
    except (SettingsError, KeyError) as error:
        raise ModelError(f"{path}: is not valid ({error}); calibrate again") from None
    its = content.get("identity")
    if identity and its and identity != its:
        raise ModelError(f"{path}: was fitted for other weights; calibrate this model itself")
    return calibration
