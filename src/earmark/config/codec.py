"""Settings <-> plain values: types are checked, names of earlier versions are understood.

A settings class is a frozen dataclass of numbers, strings, tuples and other settings classes. It
calls `check_types` when it is made, and may have a method `upgrade` that turns what earlier
versions wrote into what it takes now.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from earmark.errors import SettingsError

Settings = TypeVar("Settings")


def setting(default: Any, text: str) -> Any:
    """Return a dataclass field whose meaning `--help` and the recipes read from it."""
    return dataclasses.field(default=default, metadata={"help": text})


def check(ok: bool, name: str, rule: str, value: object) -> None:
    """Refuse a value that breaks a rule.

    Raises:
        SettingsError: `ok` is false; the message has the name, the rule and the value.
    """
    if not ok:
        raise SettingsError(f"{name} must be {rule}, got {value!r}")


def check_at_least(settings: Any, names: Iterable[str], least: float) -> None:
    """Refuse settings below `least`."""
    for name in names:
        value = getattr(settings, name)
        check(value >= least, name, f"at least {least}", value)


def check_types(settings: Any) -> None:
    """Refuse a value whose type is not its field's; a whole number where a float is meant becomes
    one, a list where a tuple is meant too."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = _converted(getattr(settings, field.name), hints[field.name], field.name)
        object.__setattr__(settings, field.name, value)


def to_json(settings: Any) -> dict[str, Any]:
    """Return a settings object as a dict of plain values, in the order of its fields."""
    return dataclasses.asdict(settings)


def from_json(kind: type[Settings], values: object) -> Settings:
    """Rebuild settings of class `kind` from a dict that holds every field and no other.

    Names of earlier versions are taken for those of now.

    Raises:
        SettingsError: a key is missing or unknown, or a value has the wrong type or range.
    """
    values = _upgraded(kind, values)
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if missing := sorted(names - values.keys()):
        raise SettingsError(f"{kind.__name__} lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in values.keys() - names):
        raise SettingsError(f"{kind.__name__} has unknown {', '.join(unknown)}")
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: from_json(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
            for name, value in values.items()
        }
    )


def rename_keys(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return `values` with old keys under their new names; a new one that is there stands."""
    renamed = {names[key]: value for key, value in values.items() if key in names}
    return {**renamed, **{key: value for key, value in values.items() if key not in names}}


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse a key that is not known, with the one that may be meant.

    Args:
        given: the keys that stand there.
        known: those that may.
        what: what they are, for the message.

    Raises:
        SettingsError: one of them is not known.
    """
    names = list(known)
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
            raise SettingsError(f"unknown {what}: {key}{hint}")


def _upgraded(kind: type[Any], values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise SettingsError(f"{kind.__name__} must be an object, got {type(values).__name__}")
    upgrade = getattr(kind, "upgrade", None)
    return dict(upgrade(values) if upgrade else values)


def _converted(value: Any, hint: Any, name: str) -> Any:
    """Return a value as its field's type, or refuse it."""
    if typing.get_origin(hint) is tuple:
        return _converted_tuple(value, hint, name)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, typing.cast(type, hint)):
            raise SettingsError(f"{name} must be of type {_names([hint])}, got {value!r}")
        return value
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):  # one of its numbers
        value = value.item()
    if float in allowed and type(value) is int:
        check(abs(value) < 2**1000, name, "a finite number", "a huge whole number")
        value = float(value)
    if type(value) not in allowed:
        raise SettingsError(f"{name} must be of type {_names(allowed)}, got {value!r}")
    if isinstance(value, float):
        check(math.isfinite(value), name, "a finite number", value)
    if type(value) is int:
        check(abs(value) < 2**63, name, "below 2^63", value)
    return value


def _converted_tuple(value: Any, hint: Any, name: str) -> tuple[Any, ...]:
    """Return a list or tuple, as JSON and TOML give them, as a tuple of the right items."""
    inner = typing.get_args(hint)[0]
    if typing.get_origin(inner) is tuple:
        check(isinstance(value, (list, tuple)), name, "a list of lists of whole numbers", value)
        return tuple(_converted_tuple(item, inner, name) for item in value)
    what = {int: "whole numbers", str: "strings"}.get(inner, "numbers")
    fits = isinstance(value, (list, tuple)) and all(type(item) is inner for item in value)
    check(fits, name, f"a list of {what}", value)
    return tuple(value)


def _names(kinds: Iterable[Any]) -> str:
    return " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
