"""A real server in a thread of this process, and small clients for it."""

import contextlib
import http.client
import json
import threading
import time

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import earmark
from earmark.serve import protocol, server
from earmark.serve.app import Site
from earmark.serve.settings import Access, Limits

RATE = 16_000


@contextlib.contextmanager
def running(access=None, **options):
    """Serve; yield the site and `name:port`."""
    access = access or Access(port=0)
    options.setdefault("model", "esc10")
    site = Site(options.pop("classifier", None) or earmark.load("esc10"), access, **options)
    with server.bind(access) as listener:
        made = server.make_server(site)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not made.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield site, f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            made.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def limits(**changes):
    """Limits for tests, which have no time to wait."""
    return Limits(**changes)


def ask(address, method, path, body=None, **headers):
    """Make a request; return status, headers and body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    with contextlib.closing(connection):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=names)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def fault(answer):
    """Return the code of a refusal, which is one line."""
    value = json.loads(answer[2])
    assert len(value["error"].splitlines()) == 1
    return value["code"]


class Client:
    """A session over a WebSocket."""

    def __init__(self, address, start=None, *, path="/api/stream", scheme="ws", **options):
        self._opened = connect(f"{scheme}://{address}{path}", max_size=None, **options)
        self.socket = self._opened.__enter__()
        self.sequence = self.first = 0
        self.columns = []
        self.messages = []
        if start is not None:
            with contextlib.suppress(ConnectionClosed):  # refused already; `refusal` reads why
                self.say({"type": "start", "protocol": 1, "sample_rate": RATE, **start})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._opened.__exit__(None, None, None)

    def say(self, message):
        self.socket.send(json.dumps(message))

    def send(self, samples, *, skip=0):
        """Send samples, in messages of a tenth of a second."""
        self.first += skip
        for start in range(0, len(samples), RATE // 10):
            part = samples[start : start + RATE // 10]
            self.socket.send(protocol.pack_samples(self.sequence, self.first, part))
            self.sequence += 1
            self.first += len(part)

    def receive(self):
        message = self.socket.recv(timeout=20)
        if isinstance(message, bytes):
            self.columns.append(message)
            return {"type": "columns"}
        self.messages.append(json.loads(message))
        return self.messages[-1]

    def until(self, kind):
        """Return the next message of a type; those before it are in `messages`."""
        while (message := self.receive())["type"] != kind:
            assert message["type"] != "error", message
        return message

    def refusal(self):
        """Return the code of the refusal that ends the session, and the code of its close."""
        while (message := self.receive())["type"] != "error":
            pass
        assert len(message["text"].splitlines()) == 1
        with contextlib.suppress(Exception):
            while True:
                self.receive()
        return message["code"], self.socket.close_code

    def of_type(self, kind):
        return [message for message in self.messages if message["type"] == kind]


def noise(seconds, level=3000, seed=0):
    """16-bit noise at `RATE`."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * RATE))).clip(-32768, 32767).astype(np.int16)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)
