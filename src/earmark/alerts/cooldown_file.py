"""Cooldowns on disk: a sound that goes on while Earmark is started again raises no second alert."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from earmark.alerts.judge import Key
from earmark.alerts.settings import Rule
from earmark.io.files import read_json, write_json
from earmark.live.recorder import utc_now

_NAME = "cooldowns.json"


class CooldownFile:
    """A small file in the folder of the outboxes, written anew with each alert.

    Rules are known by their names, so a file of rules may change between two runs.

    Args:
        folder: of the outboxes.
        rules: the rules.
        report: is told in a line where the file cannot be read.
    """

    def __init__(
        self, folder: Path, rules: Sequence[Rule], report: Callable[[str], object]
    ) -> None:
        self._path, self._rules, self._report = folder / _NAME, tuple(rules), report

    def read(self) -> dict[Key, datetime.datetime]:
        """Return what an earlier run wrote; of a file that cannot be read, what can."""
        numbers = {rule.name: number for number, rule in enumerate(self._rules, 1)}
        found = {}
        try:
            for rule, label, source, time in read_json(self._path):
                if rule in numbers:
                    began = datetime.datetime.fromisoformat(time).astimezone(datetime.timezone.utc)
                    found[numbers[rule], str(label), str(source)] = began
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError):
            self._report(f"{self._path}: cannot be read; cooldowns of the run before do not last")
        return found

    def write(self, alerted: Mapping[Key, datetime.datetime]) -> None:
        """Write the cooldowns that last; a disk that is full is the outbox's to tell of."""
        now = utc_now()
        rows = [
            [self._rules[number - 1].name, label, source, time.isoformat()]
            for (number, label, source), time in alerted.items()
            if (now - time).total_seconds() < self._rules[number - 1].cooldown_seconds
        ]
        with contextlib.suppress(OSError):
            write_json(self._path, rows)
