"""Alerts, rules and ends of the line that the tests of alerts share."""

import contextlib
import datetime
import getpass
import http.server
import json
import random
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.live.recorder import RecordedEvent
from earmark.runtime.events import Event

START = datetime.datetime(2026, 5, 1, 4, 30, tzinfo=datetime.timezone.utc)
CLASSES = ("Dog bark", "Rooster", "Türklingel")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed; on Debian: apt install mosquitto"
)


def alert(number=0, **changes):
    """An alert as it stands in an outbox."""
    values = {
        "id": f"ab-{number}.1",
        "event": f"ab-{number}",
        "rule": "dogs",
        "label": "Dog bark",
        "score": 0.91,
        "level_db": None,
        "time": "2026-05-01T04:30:00.000+00:00",
        "clip": f"clips/{number}.flac",
    }
    return {**values, **changes}


def recorded(number=0, label="Dog bark", score=0.9, after=0.0, **changes):
    """An event that began so many seconds after `START`."""
    event = Event(label, after, after + 1.0, score, {label: score}, "yard", "m")
    begun = START + datetime.timedelta(seconds=after)
    values = {"threshold": 0.5, "samples": np.zeros(0, np.int16), **changes}
    return RecordedEvent(event, f"ab-{number}", begun, **values)


def until(true, seconds=15.0):
    """Wait until something is true; return what it is."""
    end = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


def free_port():
    """A port that nobody listens on, of those that no system gives to who asks for any port."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Hook:
    """A web server that keeps what is posted to it, and answers what it is told to."""

    def __init__(self, port=0, answers=(), reason=None):
        self.requests = list[tuple[str, dict[str, str], bytes, int]]()
        self.answers, self.reason = list(answers), reason
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code, headers = hook.answers.pop(0) if hook.answers else (200, {})
                hook.requests.append((self.path, dict(self.headers.items()), body, code))
                if code == 0:  # it took it, and the answer is lost
                    self.connection.close()
                    return
                self.send_response(code, hook.reason)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook/secret-path"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def taken(self):
        """Ids of the alerts that were answered with 200, in order."""
        return [json.loads(body)["id"] for _, _, body, code in self.requests if code == 200]

    def stop(self):
        """Stop, and let go of the port."""
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def hook(**options):
    """Within, a web server runs."""
    made = Hook(**options)
    try:
        yield made
    finally:
        made.stop()


class Broker:
    """A real mosquitto, which keeps its sessions on disk as Debian's does."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nlog_type none\nuser {getpass.getuser()}\n",
            encoding="utf-8",
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self):
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: _answers(self.port))

    def stop(self):
        """Stop as a service is stopped."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def _answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Listener:
    """Subscribes to everything, with a session that outlives the broker."""

    def __init__(self, port, topic="#", name="listener"):
        from paho.mqtt import client, enums

        self.messages = list[Any]()
        self._topic, self.subscribed = topic, threading.Event()
        self.client: Any = client.Client(
            enums.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False
        )
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.on_connect = self._subscribe
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async("127.0.0.1", port, 10)
        self.client.loop_start()
        self.subscribed.wait(15)

    def _subscribe(self, *_: Any) -> None:
        self.client.subscribe(self._topic, 2)

    def on(self, topic):
        """What came under a topic, as objects, or as text."""
        payloads = [one.payload.decode() for one in self.messages if one.topic == topic]
        return [json.loads(text) if text.startswith("{") else text for text in payloads]

    @property
    def alerts(self):
        """The alerts that came, in order, without those that the broker had kept."""
        found = [
            json.loads(one.payload)
            for one in self.messages
            if one.topic.startswith("earmark/") and one.payload[:1] == b"{" and not one.retain
        ]
        return [content for content in found if content["state"] == "ON"]

    @property
    def ids(self):
        """Ids of the alerts."""
        return [one["id"] for one in self.alerts]

    def settle(self):
        """Wait until the broker knows that each message in `messages` was taken.

        A message is acknowledged after it was put there. What answers the first of two messages of
        our own is read after that; what answers the second, sent after the acknowledgement.
        """
        for _ in range(2):
            self.client.publish("listener", qos=1).wait_for_publish(15)

    def stop(self):
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
