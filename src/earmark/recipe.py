"""Named recipes: how to hear and how to train, in a TOML file. Layer 0: no torch.

A recipe has two tables, `[front_end]` and `[training]`; what it leaves out keeps its default. The
ones that come with Earmark stand in `recipes/`, with every key explained.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from earmark.errors import SettingsError
from earmark.settings import SHAPE, FrontEndSettings, ModelSettings, TrainingSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES = {"front_end": FrontEndSettings, "training": TrainingSettings}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to hear and how to train.

    Attributes:
        name: the name it was asked for by.
        front_end: how waveforms become frames.
        training: everything else.
    """

    name: str
    front_end: FrontEndSettings
    training: TrainingSettings


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with Earmark."""
    files = resources.files("earmark.recipes").iterdir()
    return sorted(file.name[:-5] for file in files if file.name.endswith(".toml"))


def read_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or from a file whose name ends in `.toml`.

    Raises:
        SettingsError: there is no such recipe, it is not TOML, or a key or value is wrong.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SettingsError(f"{name}: cannot be read ({reason.lower()})") from None
        title = path.stem
    elif name in recipe_names():
        text = (resources.files("earmark.recipes") / f"{name}.toml").read_text(encoding="utf-8")
        title = name
    else:
        raise SettingsError(
            f"no recipe is named {name!r}; there are {', '.join(recipe_names())}, "
            "or give a file that ends in .toml"
        )
    try:
        return _recipe(title, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: is not TOML ({error})") from None
    except SettingsError as error:
        raise SettingsError(f"recipe {name}: {error}") from None


def _recipe(name: str, content: dict[str, Any]) -> Recipe:
    _refuse_unknown(content, list(_TABLES), "table")
    built = {}
    for table, kind in _TABLES.items():
        values = content.get(table, {})
        if not isinstance(values, dict):
            raise SettingsError(f"{table} must be a table, [{table}]")
        names = [field.name for field in dataclasses.fields(kind)]
        _refuse_unknown(values, names, f"key in [{table}]")
        built[table] = kind(**values)
    recipe = Recipe(name, **built)
    if "front_end" in content:
        refuse_misfit(recipe)
    return recipe


def refuse_misfit(recipe: Recipe) -> None:
    """Find out before anything is heard that network and frames do not go together.

    Raises:
        SettingsError: with the setting at fault.
    """
    shape = {flag: getattr(recipe.training, flag) for flag in SHAPE}
    ModelSettings(input_size=recipe.front_end.mels, num_classes=2, **shape)


def _refuse_unknown(given: dict[str, Any], known: list[str], what: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise SettingsError(f"unknown {what}: {key}{hint}")
