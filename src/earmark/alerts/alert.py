"""What is told: one alert, as plain values that survive a restart."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from earmark.alerts.settings import OFFSET, ONSET, Rule
from earmark.decision.policy import NONE
from earmark.live.recorder import RecordedEvent
from earmark.output.event_log import stamp

SCHEMA = 2  # 1 had no `when`, and always an end
Alert = Mapping[str, Any]


def make_alert(
    rule: Rule,
    number: int,
    recorded: RecordedEvent,
    *,
    clip: str,
    hits: int,
    now: datetime.datetime,
) -> dict[str, Any]:
    """Return the alert of a rule about an event.

    Args:
        rule: the rule.
        number: its place in the file, from 1 on.
        recorded: the event; one under way is told of without its end, with the score so far.
        clip: address of its clip; empty: none.
        hits: events that it stands for.
        now: when it was raised.

    Returns:
        Plain values. `id` names the alert wherever it comes to; one that comes twice is the same.
    """
    event = recorded.event
    return {
        "schema": SCHEMA,
        "id": f"{recorded.id}.{number}",
        "event": recorded.id,
        "rule": rule.name,
        "label": event.label,
        "score": round(event.score, 4),
        "threshold": None if recorded.threshold is None else round(recorded.threshold, 4),
        "level_db": None if recorded.level_db is None else round(recorded.level_db, 1),
        "hits": hits,
        "time": stamp(recorded.start),
        "end": stamp(recorded.end) if recorded.ended else None,
        "raised": stamp(now),
        "when": OFFSET if recorded.ended else ONSET,
        "onset": round(event.onset, 3),
        "offset": round(event.offset, 3) if recorded.ended else None,
        "top": {name: round(score, 4) for name, score in event.top.items()},
        "clip": clip or None,
        "source": event.source,
        "model": event.model,
    }


def title_of(alert: Alert) -> str:
    """Return an alert in a few words, for people."""
    if alert["label"] == NONE:
        return f"{alert['rule']}: loud, and {NONE} ({alert['level_db']:g} dB)"
    return f"{alert['rule']}: {alert['label']} ({alert['score']:.2f})"
