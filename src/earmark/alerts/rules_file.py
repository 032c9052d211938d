"""Reading the rules file: TOML, with one line for whatever is wrong in it."""

from __future__ import annotations

import dataclasses
import sys
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from earmark.alerts.settings import (
    AlertSettings,
    CommandSettings,
    GeneralSettings,
    MqttSettings,
    Rule,
    WebhookSettings,
)
from earmark.config.codec import refuse_unknown
from earmark.decision.restriction import say_unknown
from earmark.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_GENERAL = tuple(field.name for field in dataclasses.fields(GeneralSettings))
_TABLES: dict[str, type[Any]] = {
    "rule": Rule,
    "mqtt": MqttSettings,
    "webhook": WebhookSettings,
    "command": CommandSettings,
}

Kind = TypeVar("Kind")


def read_rules(path: Path) -> AlertSettings:
    """Read a rules file.

    Raises:
        SettingsError: it cannot be read, is not TOML, or says something that cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "").lower() or "not UTF-8 text"
        raise SettingsError(f"{path}: cannot be read ({reason})") from None
    try:
        return _build(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: is not TOML ({error})") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def check_classes(settings: AlertSettings, classes: Sequence[str]) -> None:
    """Refuse rules about classes that a model does not have.

    Raises:
        SettingsError: with the rule, the class and the one that may be meant.
    """
    for rule in settings.rules:
        for name in rule.classes:
            if name not in classes:
                raise SettingsError(f"rule {rule.name!r}: {say_unknown(name, classes)}")


def zone_of(settings: AlertSettings) -> zoneinfo.ZoneInfo | None:
    """Return the time zone of the rules' hours; None: the machine's own.

    Raises:
        SettingsError: there is none of that name.
    """
    if not (name := settings.general.time_zone):
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            f"time_zone {name!r} is not known; give a name such as Europe/Berlin (on Windows, "
            "names need pip install tzdata)"
        ) from None


def _build(content: dict[str, Any]) -> AlertSettings:
    refuse_unknown(content, (*_GENERAL, *_TABLES), "key")
    general = GeneralSettings(**{key: content[key] for key in _GENERAL if key in content})
    made = {name: _tables(content.get(name, []), name, kind) for name, kind in _TABLES.items()}
    settings = AlertSettings(general, made["rule"], made["mqtt"], made["webhook"], made["command"])
    if not settings.rules:
        raise SettingsError("has no rule; write one under [[rule]]")
    if not settings.targets:
        raise SettingsError("has no target; write one under [mqtt], [[webhook]] or [[command]]")
    _refuse_twice([rule.name for rule in settings.rules], "rules")
    _refuse_twice(settings.targets, "targets")
    for rule in settings.rules:
        for target in rule.send:
            if target not in settings.targets:
                raise SettingsError(
                    f"rule {rule.name!r}: sends to {target!r}, but the targets are "
                    f"{', '.join(settings.targets)}"
                )
    zone_of(settings)
    return settings


def _tables(content: Any, name: str, kind: type[Kind]) -> tuple[Kind, ...]:
    """Return what stands in the tables of one name; a single one may be written without a list."""
    tables = [content] if isinstance(content, dict) else content
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{name} must be a table, [[{name}]]")
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    made = []
    for number, table in enumerate(tables, 1):
        where = (
            f"{name} {table.get('name', number)!r}" if len(tables) > 1 or "name" in table else name
        )
        refuse_unknown(table, known, f"key in [[{name}]]")
        if kind is Rule and "name" not in table:
            raise SettingsError(f"rule {number}: has no name; give it one, for alerts and messages")
        try:
            made.append(kind(**table))
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
    return tuple(made)


def _refuse_twice(names: Sequence[str], what: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise SettingsError(f"two {what} are called {name!r}; give each a name of its own")
