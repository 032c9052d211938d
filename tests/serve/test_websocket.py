"""Sound that goes straight to its stream, and a socket that is not read before a block is full."""

import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from earmark.serve import hub as hubs
from earmark.serve import protocol, websocket
from tests.serve.running import RATE, Client, noise, running


@pytest.fixture
def crowded(monkeypatch):
    """One stream is many."""
    monkeypatch.setattr(hubs, "_CROWD", 0)


@pytest.fixture
def reads(monkeypatch):
    """How often sockets were read, and what they waited for."""
    found: dict[str, Any] = {"reads": 0, "least": []}
    received, least = websocket.DirectSocket.data_received, websocket.DirectSocket._set_least

    def data_received(self, data):
        found["reads"] += 1
        received(self, data)

    def set_least(self, size):
        least(self, size)
        found["least"].append(self._least)

    monkeypatch.setattr(websocket.DirectSocket, "data_received", data_received)
    monkeypatch.setattr(websocket.DirectSocket, "_set_least", set_least)
    return found


def send_live(client, seconds):
    """Send noise at the speed of sound, a tenth of a second at a time."""
    for number in range(round(10 * seconds)):
        client.send(noise(0.1, seed=number))
        time.sleep(0.1)


@pytest.mark.usefixtures("crowded")
def test_in_a_crowd_a_socket_is_read_once_a_block(reads):
    with running() as (site, address), Client(address, {}) as client:
        client.until("ready")
        before = reads["reads"]
        send_live(client, 3.0)
        assert max(reads["least"]) > RATE // 2  # bytes of a quarter of a second
        assert reads["reads"] - before < 20  # of 30 messages
        client.say({"type": "end"})
        assert client.until("end")["seconds"] == 3.0
        assert site.metrics.audio_seconds._value.get() == pytest.approx(3.0)


def test_few_streams_are_read_message_by_message(reads):
    with running() as (_, address), Client(address, {}) as client:
        client.until("ready")
        send_live(client, 1.0)
        assert reads["least"] == []
        assert reads["reads"] >= 8


@pytest.mark.usefixtures("crowded")
def test_a_block_that_was_short_of_little_does_not_wait_for_the_next_one():
    """What a resampler gives for as much sound is now and then a little less than a block."""
    rate, sent = 11_025, list[float]()
    part = rate // 10

    def send(client):
        for number in range(32):
            samples = noise(1.0, seed=number)[:part]
            sent.append(time.monotonic())
            client.socket.send(protocol.pack_samples(number, number * part, samples))
            time.sleep(0.1)
        client.say({"type": "end"})

    late = []
    with running() as (_, address), Client(address, {"sample_rate": rate}) as client:
        client.until("ready")
        sending = threading.Thread(target=send, args=(client,))
        sending.start()
        while (message := client.receive())["type"] != "end":
            if message["type"] == "scores":
                last = math.ceil(message["at"] * rate / part) - 1
                late.append(time.monotonic() - sent[min(last, len(sent) - 1)])
        sending.join()
    assert len(late) > 5
    assert max(late) < 0.4  # of a block of 0.48 s


@pytest.mark.usefixtures("crowded")
def test_who_sends_no_more_sound_is_heard_all_the_same():
    with running() as (_, address), Client(address, {}) as client:
        client.until("ready")
        client.send(noise(0.7))
        client.until("scores")
        time.sleep(0.1)  # much is waited for now
        begun = time.monotonic()
        client.say({"type": "ping"})
        client.until("pong")
        assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("many", [False, True])
def test_a_message_in_pieces_and_one_between_others_come_in_their_order(monkeypatch, many):
    monkeypatch.setattr(hubs, "_CROWD", 0 if many else 100)
    samples = noise(2.0)
    with running() as (site, address), Client(address, {}) as client:
        name = client.until("ready")["classes"][0]
        first, second, third = np.array_split(samples, 3)
        whole = protocol.pack_samples(0, 0, first)
        client.socket.send([whole[:100], whole[100:7000], whole[7000:]])
        client.say({"type": "rules", "thresholds": {name: 0.25}})
        client.socket.send(protocol.pack_samples(1, len(first), second))
        client.socket.send(protocol.pack_samples(2, len(first) + len(second), third))
        client.say({"type": "end"})
        assert client.until("end")["seconds"] == 2.0
        assert client.of_type("rules")[0]["thresholds"][name] == 0.25
        assert site.metrics.missed_seconds._value.get() == 0


def test_messages_sent_before_the_session_is_open_are_taken_in_order():
    with running() as (_, address), Client(address, {}) as client:
        client.send(noise(2.0))  # without waiting for `ready`
        client.say({"type": "end"})
        assert client.until("end")["seconds"] == 2.0


def test_a_fault_in_sound_ends_the_session_and_says_why():
    with running() as (_, address), Client(address, {}) as client:
        client.until("ready")
        client.send(noise(0.2))
        client.socket.send(b"no header")
        assert client.refusal() == ("audio", 1008)
