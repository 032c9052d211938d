"""Lines about what is suspicious, and where they go.

A reader that takes a function `warn` calls it with each line. Without one, the lines are Python
warnings of the class `AudioWarning`: a program shows, counts or silences them as any others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from earmark.errors import AudioWarning

Warn: TypeAlias = "Callable[[str], object]"


class Notes:
    """Passes on each line about a recording once, with its name in front.

    Args:
        name: of the recording.
        warn: takes the lines; None: they are warnings of Python.
    """

    def __init__(self, name: Path | str, warn: Warn | None) -> None:
        self._name, self._warn = name, warn
        self._said: set[str] = set()

    def one(self, note: str) -> None:
        """Pass on a line, where there is one."""
        if not note or note in self._said:
            return
        self._said.add(note)
        if self._warn is None:
            warnings.warn(AudioWarning(str(self._name), note), stacklevel=4)
        else:
            self._warn(f"{self._name}: {note}")

    def all(self, notes: Iterable[str]) -> None:
        """Pass on several lines."""
        for note in notes:
            self.one(note)
