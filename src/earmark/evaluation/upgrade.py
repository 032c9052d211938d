"""Results that earlier versions wrote -> the content of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earmark.config import FrontEndSettings, TrainingSettings, from_json, to_json
from earmark.config.codec import rename_keys
from earmark.errors import SettingsError

_REJECTION = {
    "test_clips_named": "coverage",
    "accuracy_of_named": "accuracy_of_accepted",
    "backgrounds": "negatives",
    "backgrounds_named": "negatives_accepted",
    "auroc_backgrounds": "auroc_negatives",
}
_UNKNOWN = {"known_named": "known_accepted", "unknown_named": "unknown_accepted"}


def upgrade_results(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `results.json` or `unknown.json` under the names of now.

    What earlier versions did not measure is None, or 0 where it is a count.
    """
    upgraded = rename_keys(content, _UNKNOWN)
    if "clips" not in upgraded:
        return upgraded
    rejection = upgraded.get("none_of_these")
    training = upgraded.get("training")
    if isinstance(rejection, Mapping):
        upgraded["none_of_these"] = rename_keys(rejection, _REJECTION)
    if isinstance(training, Mapping):
        upgraded["training"] = {
            **training,
            "recipe": upgrade_settings(TrainingSettings, training.get("recipe")),
        }
    return {"recorded_negatives": None, "test_negatives": 0, **upgraded}


def upgrade_settings(kind: type[FrontEndSettings] | type[TrainingSettings], values: Any) -> Any:
    """Return settings that a file holds under the names of now; what is none, as it stands."""
    try:
        return to_json(from_json(kind, values))
    except SettingsError:
        return values
