"""A model restricted to some of its classes: which, and what becomes of its scores.

Open set, which is what is meant where nothing is said: any other sound may come, so what the model
gives to the classes left out is given to none of these. The scores of the chosen ones stay as they
are; with none of these they sum to 1. Temperature and thresholds stay valid: a class counts exactly
when it counted in the whole model, so there are no more false alarms than before.

Closed set: nothing but the chosen classes sounds. The scores are divided by their sum, which is the
softmax over the chosen classes alone, at the same temperature. The thresholds no longer say how
many other sounds pass: in a cross-validation on ESC-50, of the forty classes left out 86 % passed,
for 0.9 % with an open set (docs/results/classes.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SettingsError

Scores = NDArray[np.float32]

_SIMILAR = 3  # classes that are named for one that there is not
_LISTED = 12
_TINY = np.float32(1e-30)


def choose_classes(asked: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Find the classes that were asked for.

    Args:
        asked: names, in any order. Case, and blanks for `_` and `-`, matter only where a model has
            classes that differ by nothing else.
        classes: those of the model.

    Returns:
        The classes, each once, in the order of the model.

    Raises:
        SettingsError: none was asked for, or the model does not have one.
    """
    if isinstance(asked, str):
        raise SettingsError(f"classes must be a list of names, got the text {asked!r}")
    folded: dict[str, list[str]] = {}
    for name in classes:
        folded.setdefault(_fold(name), []).append(name)
    chosen = set()
    for name in asked:
        alike = [name] if name in classes else folded.get(_fold(str(name)), [])
        if len(alike) != 1:
            raise SettingsError(say_unknown(str(name), classes, alike))
        chosen.update(alike)
    if not chosen:
        raise SettingsError("classes must name at least one class of the model")
    return tuple(name for name in classes if name in chosen)


def restrict_scores(scores: Scores, places: Sequence[int], *, closed_set: bool = False) -> Scores:
    """Return the scores of some classes.

    Args:
        scores: probabilities of all classes, `(..., classes)`.
        places: which to keep.
        closed_set: no other class sounds, so that the scores of these are divided by their sum.

    Returns:
        `(..., len(places))`.
    """
    kept = scores[..., list(places)]
    if closed_set:
        total = kept.sum(axis=-1, keepdims=True)
        kept = np.where(total > 0, kept / np.maximum(total, _TINY), 1 / len(places))
    return kept.astype(np.float32, copy=False)


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def say_unknown(name: str, classes: Sequence[str], alike: Sequence[str] = ()) -> str:
    """Say that a model has no such class, and which it has that are called nearly so.

    Args:
        name: what was asked for.
        classes: those of the model.
        alike: those that differ from it by case, blanks, `_` and `-` alone, if they are several.
    """
    if alike:
        return f"{name!r} may be {' or '.join(map(repr, alike))}; give the name as the model has it"
    folded = {_fold(own): own for own in classes}
    mine = _fold(name)
    near = [own for key, own in folded.items() if mine and (mine in key or key in mine)]
    near += [folded[key] for key in difflib.get_close_matches(mine, folded, _SIMILAR, 0.6)]
    near = list(dict.fromkeys(near))[:_SIMILAR]
    if near:
        return f"the model has no class {name!r}; did you mean {', '.join(map(repr, near))}?"
    shown = ", ".join(map(repr, classes[:_LISTED])) + ", ..." * (len(classes) > _LISTED)
    return f"the model has no class {name!r}; it has {len(classes)}: {shown}"
