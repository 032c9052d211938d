"""Named recipes: front end, network and training hyperparameters in a TOML file.

A recipe has four tables, `[start]`, `[front_end]`, `[network]` and `[training]`; what it leaves out
keeps its default. The ones that come with Earmark stand in `recipes/`, with every key explained.
Recipes of earlier versions, which had the network among the training, are read too.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from earmark.config.codec import check, refuse_unknown, rename_keys
from earmark.config.front_end import FrontEndSettings
from earmark.config.model import ModelSettings, NetworkSettings
from earmark.config.training import TrainingSettings
from earmark.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NETWORK_NAMES = tuple(field.name for field in dataclasses.fields(NetworkSettings))
TRAINING_NAMES = tuple(
    field.name for field in dataclasses.fields(TrainingSettings) if field.name != "network"
)
_FRONT_END_NAMES = tuple(field.name for field in dataclasses.fields(FrontEndSettings))
_START_TYPES: dict[str, type] = {"init": str, "follow_clips": bool}
_TABLES = {
    "start": tuple(_START_TYPES),
    "front_end": _FRONT_END_NAMES,
    "network": NETWORK_NAMES,
    "training": TRAINING_NAMES,
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The audio front end, the network and the training hyperparameters.

    Attributes:
        name: the name it was asked for by.
        front_end: how waveforms become frames.
        training: everything else, the network among it.
        init: model that training starts from: a model directory, or the word base or esc10. Its
            front end and network take the place of the recipe's. Empty: from nothing.
        follow_clips: sample rate, highest frequency and the length of crops are taken from the
            clips, see `fit_to_clips`.
    """

    name: str
    front_end: FrontEndSettings
    training: TrainingSettings
    init: str = ""
    follow_clips: bool = False

    def replace(self, changes: Mapping[str, Any]) -> Recipe:
        """Return the recipe with other settings of training or network, by their names.

        Raises:
            SettingsError: a value is of the wrong type or out of range.
        """
        return dataclasses.replace(self, training=replace_settings(self.training, changes))

    def check_fit(self) -> None:
        """Find out before anything is read that network and frames do not go together.

        Raises:
            SettingsError: with the setting at fault.
        """
        ModelSettings(
            input_size=self.front_end.n_mels, num_classes=2, network=self.training.network
        )


def replace_settings(training: TrainingSettings, changes: Mapping[str, Any]) -> TrainingSettings:
    """Return training settings with some changed, those of the network among them.

    Raises:
        SettingsError: a value is of the wrong type or out of range.
    """
    shape = {name: value for name, value in changes.items() if name in NETWORK_NAMES}
    rest = {name: value for name, value in changes.items() if name not in NETWORK_NAMES}
    network = dataclasses.replace(training.network, **shape)
    return dataclasses.replace(training, **{"network": network, **rest})


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
        return _build(title, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name}: is not TOML ({error})") from None
    except SettingsError as error:
        raise SettingsError(f"recipe {name}: {error}") from None


def _refuse_shape(init: str, *shapes: dict[str, Any]) -> None:
    """Refuse a front end and a network beside a model to start from, which has its own.

    Raises:
        SettingsError: with the first of the keys.
    """
    if wrong := [key for shape in shapes for key in shape if key != "dropout"]:
        raise SettingsError(
            f"init in [start] takes front end and network of {init}, so {wrong[0]} would not "
            "count; leave out [front_end], and [network] but for dropout"
        )


def _build(name: str, content: dict[str, Any]) -> Recipe:
    refuse_unknown(content, _TABLES, "table")
    tables: dict[str, dict[str, Any]] = {}
    for table in _TABLES:
        tables[table] = content.get(table, {})
        if not isinstance(tables[table], dict):
            raise SettingsError(f"{table} must be a table, [{table}]")
    front_end = FrontEndSettings.upgrade(tables["front_end"])
    training = rename_keys(tables["training"], TrainingSettings.EARLIER_NAMES)
    network = {key: training.pop(key) for key in NETWORK_NAMES if key in training}
    if both := sorted(network.keys() & tables["network"].keys()):
        raise SettingsError(f"{both[0]} stands in [network] and in [training]; keep the first")
    network |= tables["network"]
    start = tables["start"]
    kinds = {"start": start, "front_end": front_end, "network": network, "training": training}
    for table, values in kinds.items():
        refuse_unknown(values, _TABLES[table], f"key in [{table}]")
    for key, value in start.items():
        kind = _START_TYPES[key]
        check(type(value) is kind, key, f"of type {kind.__name__}", value)
    if start.get("init"):
        _refuse_shape(start["init"], tables["front_end"], network)
    recipe = Recipe(
        name,
        front_end=FrontEndSettings(**front_end),
        training=TrainingSettings(network=NetworkSettings(**network), **training),
        **start,
    )
    if "front_end" in content:
        recipe.check_fit()
    return recipe
