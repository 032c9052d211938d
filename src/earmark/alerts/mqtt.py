"""Alerts to an MQTT broker, for Home Assistant and whatever else subscribes.

An alert is one message. It leaves the outbox when the broker has acknowledged it; until then the
client sends it again, also after the broker was restarted. The session is persistent (a fixed
client id, no clean session). With QoS 1 a message may come twice where the connection broke between
the broker's taking it and its acknowledgement; the alert's `id` is the same then. With QoS 2 the
broker itself tells them apart, as long as it keeps its session.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

from earmark.alerts.alert import Alert
from earmark.alerts.discovery import Topics
from earmark.alerts.sender import StoppedError
from earmark.alerts.settings import MqttSettings
from earmark.errors import SettingsError

_LOOK_SECONDS = 0.2
_FAREWELL_SECONDS = 2.0
_RECONNECT_SECONDS = (1, 30)  # between two tries: the first wait, and the longest
_PORTS = {False: 1883, True: 8883}

Report = Callable[[str], object]


class Mqtt:
    """A broker.

    Args:
        settings: where it is.
        topics: what is published under.
        password: for the broker.
        report: is told in a line when the broker is away, and when it is back.
        reconnect_seconds: the first and the longest wait between two tries to connect.

    Raises:
        SettingsError: there is no paho-mqtt, or the certificates cannot be read.
    """

    tries = 0

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        *,
        password: str = "",
        report: Report,
        reconnect_seconds: tuple[int, int] = _RECONNECT_SECONDS,
    ) -> None:
        client = _paho()
        port = settings.port or _PORTS[settings.tls]
        self.name = f"{settings.name} ({settings.host}:{port})"
        self._settings, self._topics, self._report = settings, topics, report
        self._at = (settings.host, port)
        self._connected = threading.Event()
        self._changed = threading.Condition()
        self._acknowledged: set[int] = set()
        self._away = False
        self._sending = ""  # topic of the alert that is on its way
        self._last: dict[str, Alert] = {}  # by topic
        self._off: dict[str, threading.Timer] = {}
        self._client = client.Client(
            client.CallbackAPIVersion.VERSION2,
            client_id=f"earmark-{topics.node}-{settings.name}",
            clean_session=False,
            protocol=client.MQTTv311,
        )
        if settings.username:
            self._client.username_pw_set(settings.username, password or None)
        if settings.tls:
            try:
                self._client.tls_set(ca_certs=settings.ca_file or None)
            except OSError:
                raise SettingsError(
                    f"mqtt {settings.name!r}: ca_file {settings.ca_file} holds no certificate"
                ) from None
        self._client.will_set(topics.status, "offline", qos=1, retain=True)
        first, longest = reconnect_seconds
        self._client.reconnect_delay_set(first, longest)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect, as often as it takes, in a thread."""
        host, port = self._at
        self._client.connect_async(host, port, self._settings.keepalive_seconds)
        self._client.loop_start()

    def take_topics(self, topics: Topics) -> None:
        """Publish under other topics from now on, and tell Home Assistant of them."""
        self._topics = topics
        if self._connected.is_set():
            self._announce(self._client)

    def deliver(self, alert: Alert, stop: threading.Event) -> None:
        """Publish an alert; return when the broker has acknowledged it.

        Raises:
            StoppedError: `stop` was set first.
        """
        while not self._connected.wait(_LOOK_SECONDS):
            if stop.is_set():
                raise StoppedError(self.name)
        self._sending = topic = self._topics.of_alert(alert)
        self._last[topic] = alert
        self._publish({**alert, "state": "ON"}, topic, stop)
        if self._settings.send_off:
            self._turn_off_later(topic)
        self._sending = ""

    def close(self) -> None:
        """Say that nobody is here, and disconnect."""
        for timer in self._off.values():
            timer.cancel()
        if self._connected.is_set():
            for topic in {*self._off, self._sending} - {""}:
                self._turn_off(topic)
            farewell = self._client.publish(self._topics.status, "offline", 1, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):
                farewell.wait_for_publish(_FAREWELL_SECONDS)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, content: dict[str, Any], topic: str, stop: threading.Event) -> None:
        payload = json.dumps(content)
        with self._changed:
            self._acknowledged.clear()
        # The client keeps it from here on, and sends it again after the connection was lost: so it
        # is published once, and waited for.
        retain = self._settings.send_off
        sent = self._client.publish(topic, payload, self._settings.qos, retain=retain)
        with self._changed:
            while sent.mid not in self._acknowledged:
                if stop.is_set():
                    raise StoppedError(self.name)
                self._changed.wait(_LOOK_SECONDS)

    def _turn_off_later(self, topic: str) -> None:
        if topic in self._off:
            self._off[topic].cancel()
        timer = threading.Timer(self._settings.off_delay_seconds, self._turn_off, (topic,))
        self._off[topic] = timer
        timer.daemon = True
        timer.start()

    def _turn_off(self, topic: str) -> None:
        """Say OFF, with the last alert; the broker keeps it for who comes later."""
        off = json.dumps({**self._last.get(topic, {}), "state": "OFF"})
        self._client.publish(topic, off, self._settings.qos, retain=True)

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        """Run in the client's thread."""
        if reason.is_failure:
            self._say_away(f"refuses the connection ({str(reason).lower()})")
            return
        self._announce(client)
        client.publish(self._topics.status, "online", 1, retain=True)
        if self._away:
            self._report(f"{self.name}: is back")
        self._away = False
        self._connected.set()

    def _announce(self, client: Any) -> None:
        """Tell Home Assistant of the entities, and that they are off.

        It takes a state that nobody has told it for unknown, when it starts; and one that is on
        when the connection is back for a new alert. What an earlier run left on goes off too.
        """
        for topic, content in self._topics.discovery().items():
            client.publish(topic, json.dumps(content, ensure_ascii=False), 1, retain=True)
        for filter_ in self._topics.discovery_filters():
            client.subscribe(filter_)
        for topic in self._topics.alerts.values():
            stays_on = topic in self._off and self._off[topic].is_alive()
            if not stays_on and topic != self._sending:
                self._turn_off(topic)

    def _on_message(self, client: Any, _data: Any, message: Any) -> None:
        """Take away an entity that Home Assistant was told of and that is no more."""
        if self._topics.is_obsolete(message.topic, message.payload):
            client.publish(message.topic, None, 1, retain=True)

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._say_away("cannot be reached")

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any
    ) -> None:
        self._connected.clear()
        if reason.is_failure:
            self._say_away(f"is gone ({str(reason).lower()})")

    def _on_publish(self, _client: Any, _data: Any, message: int, *_: Any) -> None:
        with self._changed:  # nobody publishes while holding it, for the client holds its own lock
            self._acknowledged.add(message)
            self._changed.notify_all()

    def _say_away(self, what: str) -> None:
        if not self._away:
            self._report(f"{self.name}: {what}; alerts wait for it")
        self._away = True


def _paho() -> Any:
    try:
        import paho.mqtt.client
    except ModuleNotFoundError:
        raise SettingsError(
            "alerts to MQTT need the package paho-mqtt: pip install earmark[serve]"
        ) from None
    return paho.mqtt.client
