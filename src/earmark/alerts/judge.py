"""Which events raise an alert: classes, score, hours, repeated hits, cooldown.

Times are those of the events, not of the moment at which they are judged, so a recording is judged
as it would have been live. Hits and cooldown are counted for each rule, class and source.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from earmark.alerts.settings import ONSET, Rule

Key = tuple[int, str, str]


@dataclass(frozen=True)
class Raised:
    """An alert that a rule raises.

    Attributes:
        number: the rule's place, from 1 on.
        rule: the rule.
        hits: events that it stands for.
    """

    number: int
    rule: Rule
    hits: int


@dataclass
class _Memory:
    """What a rule knows of a class of a source."""

    begun: deque[datetime.datetime] = field(default_factory=deque)
    alerted: datetime.datetime | None = None


class Judge:
    """Judges events by rules, in the order in which they come.

    Args:
        rules: the rules.
        zone: of their hours; None: the machine's own.
    """

    def __init__(self, rules: Sequence[Rule], zone: datetime.tzinfo | None = None) -> None:
        self._rules, self._zone = tuple(rules), zone
        self._memory: dict[Key, _Memory] = {}
        self._judged: set[tuple[int, str]] = set()  # rule and event under way

    @property
    def alerted(self) -> dict[Key, datetime.datetime]:
        """When the events began whose cooldown may last, by rule, class and source."""
        return {key: one.alerted for key, one in self._memory.items() if one.alerted is not None}

    def resume(self, alerted: Mapping[Key, datetime.datetime]) -> None:
        """Go on with the cooldowns of an earlier run."""
        for key, time in alerted.items():
            self._memory[key] = _Memory(alerted=time)

    def event(
        self,
        label: str,
        score: float,
        start: datetime.datetime,
        source: str = "",
        *,
        name: str = "",
        ended: bool = True,
    ) -> list[Raised]:
        """Judge an event, once by each rule: while it is under way, or when it has ended.

        Args:
            label: its class.
            score: its score; that so far, while it is under way.
            start: when it began, with a time zone.
            source: name of its stream.
            name: of the event, the same whenever it is judged.
            ended: whether it has ended.

        Returns:
            The alerts that it raises, one for each rule at most.
        """
        found = []
        for number, rule in enumerate(self._rules, 1):
            fits = rule.louder_than_db is None and (not rule.classes or label in rule.classes)
            soon = ended or rule.when == ONSET
            if fits and soon and score >= rule.min_score and (number, name) not in self._judged:
                self._judged.add((number, name))
                found += self._hit(number, label, start, source)
        if ended:
            self._judged = {one for one in self._judged if one[1] != name}
        return found

    def loud(self, number: int, start: datetime.datetime, source: str = "") -> list[Raised]:
        """Judge a loud sound of no class, which the rule of this number has found."""
        return self._hit(number, "", start, source)

    def _hit(self, number: int, label: str, start: datetime.datetime, source: str) -> list[Raised]:
        rule = self._rules[number - 1]
        local = start.astimezone(self._zone)
        if not rule.holds_at(60 * local.hour + local.minute):
            return []
        memory = self._memory.setdefault((number, label, source), _Memory())
        if memory.alerted is not None:
            since = (start - memory.alerted).total_seconds()
            if 0 <= since < rule.cooldown_seconds:  # a clock that was set back ends a cooldown
                return []
        memory.begun.append(start)
        while abs((start - memory.begun[0]).total_seconds()) > rule.within_seconds:
            memory.begun.popleft()
        hits = len(memory.begun)
        if hits < rule.hits:
            return []
        memory.begun.clear()
        memory.alerted = start
        return [Raised(number, rule, hits)]
