"""Secrets come from an environment variable or a file, and never stand in a message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.errors import SettingsError

_MOST_BYTES = 1 << 16


def read_secret(
    settings: Any, name: str, folder: Path, environment: Mapping[str, str] = os.environ
) -> str:
    """Return a secret, without blanks and line ends around it; empty: none is asked for.

    Args:
        settings: has the fields `NAME_env` and `NAME_file`.
        name: what the secret is, as "password".
        folder: relative paths count from it.
        environment: the variables.

    Raises:
        SettingsError: it is asked for and not there.
    """
    if variable := getattr(settings, f"{name}_env"):
        if not (value := environment.get(variable, "").strip()):
            raise SettingsError(
                f"{name}_env names the environment variable {variable}, which is not set"
            )
    elif file := getattr(settings, f"{name}_file"):
        path = folder / file
        try:
            with path.open("rb") as opened:
                value = opened.read(_MOST_BYTES).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or "").lower() or "not UTF-8 text"
            raise SettingsError(f"{name}_file {path}: cannot be read ({reason})") from None
        if not value:
            raise SettingsError(f"{name}_file {path}: is empty")
    else:
        return ""
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        raise SettingsError(f"{name} must be one line of text; see what {name}_env or _file holds")
    return value


def secret_variables(settings: Any) -> set[str]:
    """Return the environment variables that hold secrets of a target."""
    return {
        value
        for name in vars(settings)
        if name.endswith("_env") and (value := getattr(settings, name))
    }
