"""A calibration as a file of its own, to be laid over a model without touching its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earmark.config import Calibration, from_json, to_json
from earmark.errors import ModelError, SettingsError
from earmark.io.files import read_json, write_json

_SCHEMA = 1
_KIND = "earmark-calibration"


def write_calibration(
    path: Path,
    calibration: Calibration,
    identity: str = "",
    *,
    classes: Sequence[str] = (),
    fitted: Mapping[str, Any] | None = None,
) -> None:
    """Write a calibration as JSON, whole or not at all.

    Args:
        path: the file.
        calibration: what to write.
        identity: of the weights that it was fitted for.
        classes: those that it has thresholds for, in their order.
        fitted: what it was fitted on and how well, for those who read the file.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(
        path,
        {
            "schema": _SCHEMA,
            "kind": _KIND,
            "identity": identity,
            "classes": list(classes),
            "calibration": to_json(calibration),
            "fitted": dict(fitted or {}),
        },
    )


def read_calibration(path: Path, identity: str = "", *, classes: Sequence[str] = ()) -> Calibration:
    """Read what `write_calibration` wrote.

    Args:
        path: the file.
        identity: of the weights it is to be laid over; empty: not known.
        classes: those it is to be used for, in the order of the model; none: those it has.

    Returns:
        The calibration, with the thresholds of these classes.

    Raises:
        ModelError: there is no such file, it is no calibration, that of other weights, or has no
            thresholds for one of the classes.
    """
    try:
        content = read_json(path)
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
        raise ModelError(
            f"{path}: was fitted for other weights; "
            "give the model it was fitted for, or calibrate this one"
        )
    return _of_classes(path, calibration, content.get("classes"), classes)


def _of_classes(
    path: Path, calibration: Calibration, its: object, wanted: Sequence[str]
) -> Calibration:
    """Return the calibration with the thresholds of the classes wanted.

    Raises:
        ModelError: it lacks one of them.
    """
    names = list(map(str, its)) if isinstance(its, list) else []
    if not names or not wanted or not calibration.thresholds:
        return calibration
    if len(names) != len(calibration.thresholds):
        raise ModelError(f"{path}: names other classes than it has thresholds for; calibrate again")
    if missing := [name for name in wanted if name not in names]:
        raise ModelError(
            f"{path}: was fitted for {', '.join(names)} and has no threshold for {missing[0]}; "
            "restrict the model to the same classes, or calibrate again"
        )
    thresholds = tuple(calibration.thresholds[names.index(name)] for name in wanted)
    return dataclasses.replace(calibration, thresholds=thresholds)
