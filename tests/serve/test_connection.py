"""A slow reader misses pictures, never events, and is let go in the end."""

import asyncio
import json
from typing import cast

from fastapi import WebSocket

import earmark
from earmark.serve.clips import ClipStore
from earmark.serve.connection import Connection, Outbox
from earmark.serve.hub import Hub
from earmark.serve.visitors import Visitors
from tests.serve.running import limits


def test_a_slow_reader_misses_pictures_and_no_event():
    missed = []
    box = Outbox(3, lambda: missed.append(1))
    box.put([(f"scores {number}", True) for number in range(5)])
    box.put([("event", False)])
    box.ended()

    async def read():
        messages = []
        while (message := await box.take()) is not None:
            messages.append(message)
        return messages

    assert asyncio.run(read()) == ["scores 0", "scores 1", "scores 2", "event"]
    assert len(missed) == 2


def test_not_even_events_are_kept_without_bound():
    missed = []
    box = Outbox(2, lambda: missed.append(1))
    box.put([("event", False)] * 1000)
    assert len(box._waiting) == 8
    assert len(missed) == 992


class Stuck:
    """A WebSocket whose client reads nothing after the first message."""

    client = None

    def __init__(self):
        self.scope = {}
        self.sent, self.closed = [], []
        self._first = True

    async def accept(self, subprotocol=None):
        pass

    async def receive(self):
        if not self._first:
            await asyncio.sleep(60)
        self._first = False
        start = {"type": "start", "protocol": 1, "sample_rate": 16_000}
        return {"type": "websocket.receive", "text": json.dumps(start)}

    async def send_text(self, text):
        self.sent.append(json.loads(text)["type"])
        if len(self.sent) == 1:
            await asyncio.sleep(60)

    async def close(self, code, reason=""):
        self.closed.append(code)


def test_who_reads_nothing_is_let_go(tmp_path):
    hub = Hub(
        earmark.load("esc10"),
        clips=ClipStore(tmp_path, most_bytes=1, age_seconds=1),
        limits=limits(slow_seconds=0.2),
    )
    socket = Stuck()
    connection = Connection(
        cast(WebSocket, socket), hub, lambda start, box: hub.open(start, 16_000, box), Visitors(1)
    )
    asyncio.run(asyncio.wait_for(connection.serve(), 10))
    assert socket.sent == ["ready", "error"]
    assert socket.closed == [1008]
