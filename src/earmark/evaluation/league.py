"""Which league a figure belongs to: from the dataset alone, or with a base that knows more.

The two never compare, so every report says which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_ALONE = "dataset alone"
_WITH_BASE = "with a base"
_ESC = ("ESC-10", "ESC-50")
_ESC_FILE = re.compile(r"[1-5]-\d+-[A-Z]\d*(-\d+)?\.\w+")  # fold-source-take, as all of ESC-50


def lineage(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a model was trained on, then the same of the model it started from, and so on."""
    learnt: Any = data
    while isinstance(learnt, Mapping):
        yield learnt
        learnt = learnt.get("started_from")


def find_league(data: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the league of a model's figures.

    Args:
        data: what the model was trained on.
        paths: files of the clips that it is tested on.

    Returns:
        `name`, the datasets that the model it started from `knows`, and whether the test is
        `clean`: false where that model has heard clips of ESC-50, with labels or without, and the
        test has some too.
    """
    knows = [str(learnt.get("dataset", "unknown")) for learnt in lineage(data)][1:]
    heard = any(name.startswith(_ESC) for name in knows)
    tested = any(_ESC_FILE.fullmatch(Path(path).name) for path in paths)
    return {
        "name": _WITH_BASE if knows else _ALONE,
        "knows": knows,
        "clean": not (heard and tested),
    }


def describe_league(league: Mapping[str, Any]) -> list[str]:
    """Say which league a figure belongs to, and in a line of its own that it is not clean."""
    if league["name"] == _ALONE:
        return ["League: from the dataset alone."]
    lines = [f"League: with a base, whose knowledge is from {'; '.join(league['knows'])}."]
    if not league["clean"]:
        lines.append(
            "Not clean: the base has heard clips of ESC-50, and these are some; "
            "docs/results/distillation.md has figures of bases that had not heard the test fold."
        )
    return lines
