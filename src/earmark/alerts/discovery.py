"""Topics of a broker, and what Home Assistant is told so that it shows them.

Each class of the rules has one topic. Its messages are JSON, an alert with `"state": "ON"`, so that
one message carries everything: state, score, time, address of the clip, and the id by which a
message that comes twice is known.
"""

from __future__ import annotations

import json
import re
import socket
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from earmark import __version__
from earmark.alerts.settings import MqttSettings, Rule
from earmark.decision.policy import NONE


class Topics:
    """The topics of an installation.

    Args:
        settings: of the broker.
        rules: the rules whose alerts go there.
        classes: the model's.

    Attributes:
        node: names the installation.
        status: topic of its availability.
        alerts: topic by the name of what is told of: a class, or a rule about loud sounds.
    """

    def __init__(
        self, settings: MqttSettings, rules: Sequence[Rule], classes: Sequence[str]
    ) -> None:
        self._settings = settings
        self.node = settings.node or slug(socket.gethostname()) or "earmark"
        base = f"{settings.topic.strip('/')}/{self.node}"
        self.status = f"{base}/status"
        self._device = [f"earmark_{self.node}"]
        self._prefix = settings.discovery_prefix.strip("/")
        self._slugs = _unique(told_of(rules, classes))
        self.alerts = {name: f"{base}/{word}" for name, word in self._slugs.items()}

    def of_alert(self, alert: Any) -> str:
        """Return the topic of an alert, also of an earlier run whose rules were others."""
        name = alert["rule"] if alert["label"] == NONE else alert["label"]
        topic = self.alerts.get(str(name))
        return topic or f"{self.status.rpartition('/')[0]}/{slug(str(name)) or 'other'}"

    def discovery(self) -> dict[str, dict[str, Any]]:
        """Return what Home Assistant is told, by topic; nothing without a prefix."""
        prefix = self._prefix
        if not prefix:
            return {}
        told = {}
        for name, topic in self.alerts.items():
            word = f"{self.node}_{self._slugs[name]}"
            shared = {
                "state_topic": topic,
                "availability_topic": self.status,
                "payload_available": "online",
                "payload_not_available": "offline",
                "qos": 1,
                "device": {
                    "identifiers": self._device,
                    "name": self._settings.device,
                    "manufacturer": "Earmark",
                    "model": "Sound classifier",
                    "sw_version": __version__,
                },
                "origin": {"name": "Earmark", "sw_version": __version__},
            }
            sound: dict[str, Any] = {
                "name": name,
                "unique_id": f"earmark_{word}",
                "device_class": "sound",
                "value_template": "{{ value_json.state }}",
                "payload_on": "ON",
                "payload_off": "OFF",
                "json_attributes_topic": topic,
                **shared,
            }
            if not self._settings.send_off:
                sound["off_delay"] = round(self._settings.off_delay_seconds)
            told[f"{prefix}/binary_sensor/{word}/sound/config"] = sound
            told[f"{prefix}/sensor/{word}/score/config"] = {
                "name": f"{name} score",
                "unique_id": f"earmark_{word}_score",
                "icon": "mdi:waveform",
                "state_class": "measurement",
                "value_template": "{{ value_json.score | default('') }}",  # empty: as it was
                **shared,
            }
        return told

    def discovery_filters(self) -> list[str]:
        """Return what to subscribe to, to learn what Home Assistant was told before."""
        if not self._prefix:
            return []
        kinds = ("binary_sensor/+/sound", "sensor/+/score")
        return [f"{self._prefix}/{kind}/config" for kind in kinds]

    def is_obsolete(self, topic: str, payload: bytes) -> bool:
        """Tell whether a message of discovery is of this installation, and no rule has it now."""
        if topic in self.discovery():
            return False
        try:
            return bool(json.loads(payload)["device"]["identifiers"] == self._device)
        except (ValueError, TypeError, KeyError):
            return False


def told_of(rules: Iterable[Rule], classes: Sequence[str]) -> list[str]:
    """Return what alerts of these rules may be about: classes, and rules about loud sounds."""
    names: dict[str, None] = {}
    for rule in rules:
        of_rule = rule.classes or tuple(classes)
        names.update(dict.fromkeys([rule.name] if rule.louder_than_db is not None else of_rule))
    return list(names)


def slug(name: str) -> str:
    """Return a name as letters, digits and `_`, as topics and Home Assistant's ids have it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _unique(names: Iterable[str]) -> dict[str, str]:
    """Return a word for each name; names that look alike get a number."""
    words: dict[str, str] = {}
    for name in names:
        base = slug(name) or "class"
        base = f"{base}_alerts" if base == "status" else base
        word, number = base, 2
        while word in words.values():
            word, number = f"{base}_{number}", number + 1
        words[name] = word
    return words
