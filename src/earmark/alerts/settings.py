"""What a rules file may say: rules, and the targets that alerts are sent to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from earmark.config.codec import check, check_at_least, check_types, setting
from earmark.errors import SettingsError

_SPAN = re.compile(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?")
_DAY_MINUTES = 24 * 60
_NODE = re.compile(r"[A-Za-z0-9_-]+")
_WEB = re.compile(r"https?://[^/\s]+\S*")
ONSET, OFFSET = "onset", "offset"


@dataclass(frozen=True)
class Rule:
    """When an alert is raised."""

    name: str
    classes: tuple[str, ...] = setting((), "classes that it is about; none: all of the model")
    min_score: float = setting(
        0.0, "least score, beyond the threshold that makes a sound an event at all"
    )
    when: str = setting(
        ONSET, "as soon as an event has begun for sure (onset), or when it has ended (offset)"
    )
    hours: tuple[str, ...] = setting((), 'when it holds, as "22:00-06:00"; none: always')
    hits: int = setting(1, "so many events of a class are needed")
    within_seconds: float = setting(60.0, "all hits must begin within this long")
    cooldown_seconds: float = setting(
        60.0, "after an alert, events of the class raise none for so long"
    )
    louder_than_db: float | None = setting(
        None, "instead of classes: a sound above this level (dB of full scale) that is no class"
    )
    loud_seconds: float = setting(0.5, "such a sound is at least so long")
    send: tuple[str, ...] = setting((), "targets, by name; none: all")

    def __post_init__(self) -> None:
        check_types(self)
        check(bool(self.name.strip()), "name", "a word or more", self.name)
        check(0 <= self.min_score <= 1, "min_score", "from 0 to 1", self.min_score)
        check(self.when in (ONSET, OFFSET), "when", f"{ONSET} or {OFFSET}", self.when)
        check_at_least(self, ("hits",), 1)
        check_at_least(self, ("within_seconds", "cooldown_seconds", "loud_seconds"), 0)
        for span in self.hours:
            minutes_of(span)
        if self.louder_than_db is None:
            return
        level = self.louder_than_db
        check(-90 <= level <= 0, "louder_than_db", "from -90 to 0, where 0 is full scale", level)
        if self.classes or self.min_score:
            raise SettingsError(
                "louder_than_db looks for sounds of no class; leave out classes and min_score, or "
                "make two rules"
            )

    def holds_at(self, minute: int) -> bool:
        """Tell whether it holds at a minute of the day."""
        if not self.hours:
            return True
        for span in self.hours:
            begin, end = minutes_of(span)
            if begin <= minute < end or (begin >= end and (minute >= begin or minute < end)):
                return True
        return False


def minutes_of(span: str) -> tuple[int, int]:
    """Return begin and end of a span of hours, in minutes of the day; it may go over midnight.

    Raises:
        SettingsError: it is none.
    """
    match = _SPAN.fullmatch(span.replace(" ", ""))
    if match:
        begin, end = (60 * int(match[n]) + int(match[n + 1] or 0) for n in (1, 3))
        minutes = int(match[2] or 0), int(match[4] or 0)
        if max(begin, end) <= _DAY_MINUTES and max(minutes) < 60:
            return begin % _DAY_MINUTES, end
    raise SettingsError(f'hours must be as "22:00-06:00", got {span!r}')


@dataclass(frozen=True)
class GeneralSettings:
    """What holds for all rules and targets."""

    time_zone: str = setting("", "of hours, as Europe/Berlin; none: the machine's own")
    outbox: str = setting(
        "", "folder of alerts that wait; none: beside the rules file, as NAME.outbox"
    )
    clip_address: str = setting(
        "", "what stands before the name of a clip in an alert; none: the folder's own path"
    )
    max_waiting: int = setting(10_000, "alerts that wait for a target; then the oldest are dropped")
    max_age_hours: float = setting(72.0, "alerts that have waited for so long are dropped")

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, ("max_waiting",), 1)
        check(self.max_age_hours > 0, "max_age_hours", "above 0", self.max_age_hours)


@dataclass(frozen=True)
class MqttSettings:
    """A broker, with Home Assistant's discovery."""

    name: str = setting("mqtt", "how rules call it")
    host: str = setting("localhost", "the broker")
    port: int = setting(0, "its port; 0: 1883, or 8883 with tls")
    topic: str = setting("earmark", "what all topics begin with")
    node: str = setting("", "names this installation in topics; none: the machine's name")
    device: str = setting("Earmark", "what Home Assistant calls the device")
    discovery_prefix: str = setting("homeassistant", 'Home Assistant\'s own; "": no discovery')
    off_delay_seconds: float = setting(30.0, "a class is off again after so long")
    send_off: bool = setting(
        True, "say OFF then; else Home Assistant does it, and misses alerts of while it was away"
    )
    qos: int = setting(1, "1: at least once; 2: exactly once, between here and the broker")
    username: str = setting("", "for the broker")
    password_env: str = setting("", "environment variable that holds the password")
    password_file: str = setting("", "or a file that does")
    tls: bool = setting(False, "connect with TLS")
    ca_file: str = setting("", "certificates to trust; none: the system's")
    keepalive_seconds: int = setting(30, "a broker that is silent for longer is gone")

    def __post_init__(self) -> None:
        check_types(self)
        check(0 <= self.port <= 65_535, "port", "from 0 to 65535", self.port)
        check(self.qos in (1, 2), "qos", "1 or 2", self.qos)
        check_at_least(self, ("off_delay_seconds", "keepalive_seconds"), 1)
        if self.node:
            check(bool(_NODE.fullmatch(self.node)), "node", "letters, digits, - and _", self.node)
        for name in ("topic", "discovery_prefix"):
            value = getattr(self, name)
            bad = any(sign in value for sign in "+#\0") or value.startswith("$")
            check(not bad, name, "a topic without + # $", value)
        check(bool(self.topic.strip("/")), "topic", "a word or more", self.topic)
        _one_secret(self, "password")
        if (self.password_env or self.password_file) and not self.username:
            raise SettingsError("a password needs its username")
        if self.ca_file and not self.tls:
            raise SettingsError("ca_file needs tls = true")


@dataclass(frozen=True)
class WebhookSettings:
    """An address that alerts are posted to, as JSON."""

    name: str = setting("webhook", "how rules call it")
    url: str = setting("", "the address")
    url_env: str = setting("", "or an environment variable that holds it")
    url_file: str = setting("", "or a file that does")
    secret_env: str = setting(
        "", "environment variable with the secret that alerts are signed with"
    )
    secret_file: str = setting("", "or a file that holds it")
    authorization_env: str = setting("", "environment variable with an Authorization header")
    authorization_file: str = setting("", "or a file that holds one")
    ca_file: str = setting("", "certificates to trust; none: the system's")
    timeout_seconds: float = setting(10.0, "an answer must come within this long")

    def __post_init__(self) -> None:
        check_types(self)
        check(self.timeout_seconds > 0, "timeout_seconds", "above 0", self.timeout_seconds)
        _one_secret(self, "url", needed=True, plain=True)
        _one_secret(self, "secret")
        _one_secret(self, "authorization")
        if self.url:
            check_url(self.url)


@dataclass(frozen=True)
class CommandSettings:
    """A program that is run for each alert."""

    name: str = setting("command", "how rules call it")
    command: tuple[str, ...] = setting((), "the program and its arguments; no shell reads them")
    timeout_seconds: float = setting(30.0, "it is ended after so long")
    tries: int = setting(5, "it is run so often, when it fails")

    def __post_init__(self) -> None:
        check_types(self)
        check(bool(self.command and self.command[0]), "command", "a list of words", self.command)
        check(not any("\0" in word for word in self.command), "command", "text", self.command)
        check(self.timeout_seconds > 0, "timeout_seconds", "above 0", self.timeout_seconds)
        check_at_least(self, ("tries",), 1)


@dataclass(frozen=True)
class AlertSettings:
    """All that a rules file says.

    Attributes:
        general: what holds for all.
        rules: the rules, in their order.
        mqtt, webhooks, commands: the targets.
    """

    general: GeneralSettings
    rules: tuple[Rule, ...]
    mqtt: tuple[MqttSettings, ...] = ()
    webhooks: tuple[WebhookSettings, ...] = ()
    commands: tuple[CommandSettings, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return (
            *(one.name for one in self.mqtt),
            *(one.name for one in self.webhooks),
            *(one.name for one in self.commands),
        )

    def rules_of(self, target: str) -> tuple[Rule, ...]:
        """Return the rules whose alerts go to a target."""
        return tuple(rule for rule in self.rules if not rule.send or target in rule.send)


def check_url(url: str) -> None:
    """Refuse what is no address of the web; the message does not repeat it, for it may be secret.

    Raises:
        SettingsError: it is none.
    """
    if not _WEB.fullmatch(url) or not url.isascii():
        raise SettingsError("url must begin with http:// or https:// and a host, and be ASCII")


def _one_secret(settings: object, name: str, *, needed: bool = False, plain: bool = False) -> None:
    """Refuse a secret that is given twice, or one that is needed and missing."""
    keys = [name] * plain + [f"{name}_env", f"{name}_file"]
    given = [key for key in keys if getattr(settings, key)]
    if len(given) > 1:
        raise SettingsError(f"{given[0]} and {given[1]} say the same; leave out one")
    if needed and not given:
        raise SettingsError(f"{name} is missing; give one of {', '.join(keys)}")
