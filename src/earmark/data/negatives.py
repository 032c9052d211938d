"""What a clip of no class is: a negative.

Recorded negatives come with a dataset, in folders or under labels that mean no class, or from
elsewhere. They are kept as themselves: their label is `NO_CLASS`, never a class, and what is asked
of them is that no class answers to them. Generated ones are made in `data/synthetic/negatives.py`.
"""

from __future__ import annotations

import re

from earmark.decision.policy import NO_CLASS, NONE

__all__ = ["NONE", "NO_CLASS", "means_no_class"]

_NAMES = frozenset(["none", NONE, "background", "noise", "background noise"])


def means_no_class(name: str) -> bool:
    """Tell whether a folder or label so named holds clips of no class.

    `none`, `none of these`, `background`, `noise` and `background noise` do, in any case, with
    spaces, hyphens or underscores between and around the words.
    """
    return " ".join(re.sub(r"[\s_-]+", " ", name.casefold()).split()) in _NAMES
