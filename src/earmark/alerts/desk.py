"""All of the alerts together: events go in, are judged, wait in outboxes and are delivered."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from earmark.alerts.alert import make_alert
from earmark.alerts.command_line import CommandLine
from earmark.alerts.cooldown_file import CooldownFile
from earmark.alerts.discovery import Topics
from earmark.alerts.judge import Judge, Raised
from earmark.alerts.loud import LoudFinder, LoudSound
from earmark.alerts.mqtt import Mqtt
from earmark.alerts.outbox import Outbox
from earmark.alerts.rules_file import check_classes, zone_of
from earmark.alerts.secrets import read_secret, secret_variables
from earmark.alerts.sender import Sender, Target
from earmark.alerts.settings import AlertSettings, MqttSettings
from earmark.alerts.webhook import Webhook
from earmark.errors import SettingsError
from earmark.io.files import sha256_of_json
from earmark.io.lock import FolderLock
from earmark.live.recorder import HeardBlock, RecordedEvent, utc_now

_HOUR = 3600.0

Report = Callable[[str], object]


class Desk:
    """Judges events by the rules of a file and tells the targets.

    One lock guards the judging, so streams in several threads may share a desk. Nothing here waits
    for a target: an alert is put on disk, and threads of their own deliver it.

    Args:
        settings: what the rules file says.
        path: the file, which names of files in it count from.
        classes: the model's.
        clip_folder: where clips lie, for their addresses; empty: their names are whole addresses.
        live: whether the sound is of now; then cooldowns outlast the process, so that a sound that
            goes on while it is started again is not told of twice.
        report: is told in a line what goes wrong, and when it is over.

    Raises:
        SettingsError: a rule is about a class that the model does not have, or a secret is missing.
        StorageError: another process uses the outbox.
        OSError: the outbox cannot be read or written.
    """

    def __init__(
        self,
        settings: AlertSettings,
        path: Path,
        classes: Sequence[str],
        *,
        clip_folder: str = "",
        live: bool = True,
        report: Report,
    ) -> None:
        check_classes(settings, classes)
        self._settings, self._clip_folder, self._report = settings, clip_folder, report
        self._brokers = list[tuple[MqttSettings, Mqtt]]()
        self._judge = Judge(settings.rules, zone_of(settings))
        self._loud: dict[tuple[int, str], LoudFinder] = {}
        self._lock = threading.Lock()
        self._targets = self._build_targets(path.parent, classes)
        general = settings.general
        self.folder = path.parent / (general.outbox or f"{path.stem}.outbox")
        self._folder_lock = FolderLock(self.folder, "set another outbox in the rules file")
        self._senders: dict[str, Sender] = {}
        for name, target in self._targets.items():
            file = self.folder / f"{file_name(name)}.jsonl"
            outbox = Outbox(file, name, most=general.max_waiting, report=report)
            self._senders[name] = Sender(
                outbox, target, report=report, max_age=general.max_age_hours * _HOUR
            )
        self._cooldowns = CooldownFile(self.folder, settings.rules, report) if live else None
        if self._cooldowns is not None:
            self._judge.resume(self._cooldowns.read())

    def start(self) -> None:
        """Begin to deliver, what an earlier run left first."""
        for sender in self._senders.values():
            sender.start()

    def event(self, recorded: RecordedEvent, clip: str = "") -> int:
        """Judge an event, under way or ended; return how many alerts it raises.

        Args:
            recorded: the event.
            clip: path of its clip within the folder of clips, or an address; empty: none.
        """
        event = recorded.event
        with self._lock:
            raised = self._judge.event(
                event.label,
                event.score,
                recorded.start,
                event.source,
                name=recorded.id,
                ended=recorded.ended,
            )
        return self._tell(raised, recorded, clip)

    def loud_sounds(self, block: HeardBlock) -> list[tuple[int, LoudSound]]:
        """Take a block; return the loud sounds of no class, each with the number of its rule."""
        found = []
        with self._lock:
            for number, rule in enumerate(self._settings.rules, 1):
                if rule.louder_than_db is None:
                    continue
                key = number, block.source
                if key not in self._loud:
                    self._loud[key] = LoudFinder(rule.louder_than_db, rule.loud_seconds)
                if sound := self._loud[key].step(block):
                    found.append((number, sound))
        return found

    def loud_event(self, number: int, recorded: RecordedEvent, clip: str = "") -> int:
        """Judge a loud sound that the rule of this number has found; see `event`."""
        with self._lock:
            raised = self._judge.loud(number, recorded.start, recorded.event.source)
        return self._tell(raised, recorded, clip)

    def take_classes(self, classes: Sequence[str]) -> None:
        """Go on with a model of other classes; say which rules are about none of them now."""
        try:
            check_classes(self._settings, classes)
        except SettingsError as error:
            self._report(f"{error}; no alert of it will come while this model is used")
        for settings, broker in self._brokers:
            rules = self._settings.rules_of(settings.name)
            broker.take_topics(Topics(settings, rules, classes))

    def close(self, seconds: float = 5.0) -> None:
        """End. What cannot be delivered within so long waits on disk for the next start."""
        until = time.monotonic() + seconds
        for name, sender in self._senders.items():
            if left := sender.close(max(0.0, until - time.monotonic())):
                self._report(
                    f"{name}: {left} alert(s) wait in {self.folder} and are delivered at the next "
                    "start"
                )
        self._folder_lock.release()

    def _tell(self, raised: Sequence[Raised], recorded: RecordedEvent, clip: str) -> int:
        for one in raised:
            alert = make_alert(
                one.rule,
                one.number,
                recorded,
                clip=self._address(clip),
                hits=one.hits,
                now=utc_now(),
            )
            for name, sender in self._senders.items():
                if not one.rule.send or name in one.rule.send:
                    sender.outbox.put(alert["id"], alert)
        if raised and self._cooldowns is not None:
            with self._lock:
                self._cooldowns.write(self._judge.alerted)
        return len(raised)

    def _address(self, clip: str) -> str:
        if not clip:
            return ""
        if base := self._settings.general.clip_address:
            return f"{base.rstrip('/')}/{clip}"
        return str(Path(self._clip_folder).absolute() / clip) if self._clip_folder else clip

    def _build_targets(self, folder: Path, classes: Sequence[str]) -> dict[str, Target]:
        settings, targets = self._settings, dict[str, Target]()
        secrets: set[str] = set()
        for one in (*settings.mqtt, *settings.webhooks):
            secrets |= secret_variables(one)
        for mqtt in settings.mqtt:
            topics = Topics(mqtt, settings.rules_of(mqtt.name), classes)
            password = read_secret(mqtt, "password", folder)
            broker = Mqtt(mqtt, topics, password=password, report=self._report)
            self._brokers.append((mqtt, broker))
            targets[mqtt.name] = broker
        for hook in settings.webhooks:
            targets[hook.name] = Webhook(
                hook,
                url=read_secret(hook, "url", folder),
                secret=read_secret(hook, "secret", folder),
                authorization=read_secret(hook, "authorization", folder),
            )
        for command in settings.commands:
            targets[command.name] = CommandLine(command, secrets)
        return targets


def file_name(target: str) -> str:
    """Return the name of a target as that of a file; those that look alike get different ones."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", target)
    return plain if plain == target.lower() else f"{plain}-{sha256_of_json(target)[:8]}"
