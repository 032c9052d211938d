"""Sessions over real WebSockets: events, gaps, rules, limits; and bad clients beside good ones."""

import contextlib
import io
import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed

import earmark
from earmark.serve import hub, shedding
from earmark.serve.settings import Access
from earmark.serve.visitors import network_of
from tests.serve.running import RATE, Client, ask, fault, limits, noise, running, silence

LOW = {"thresholds": dict.fromkeys(earmark.load("esc10").classes, 0.001)}  # any sound is an event
QUICK = limits(
    sessions=4,
    message_bytes=100_000,
    control_bytes=1000,
    messages_per_second=50,
    ahead_seconds=5.0,
    gap_seconds=3.0,
    linger_seconds=1.5,
    slow_seconds=0.5,
    unread_messages=20,
)


@pytest.fixture(scope="module")
def strict():
    with running(Access(port=0, limits=QUICK)) as (site, address):
        yield site, address


def finish(client):
    client.say({"type": "end"})
    return client.until("end")


def test_the_events_are_those_of_the_same_samples_elsewhere(address):
    samples = noise(5.0)
    with Client(address, {"spectrogram": True}) as client:
        ready = client.until("ready")
        client.send(samples)
        end = finish(client)
    classifier = earmark.load("esc10")
    session = classifier.stream(RATE, source="live")
    expected = [*session.push(samples), *session.finish()]
    events = client.of_type("event")
    assert [(one["label"], one["onset"]) for one in events] == [
        (one.label, round(one.onset, 3)) for one in expected
    ]
    assert end["events"] == len(expected)
    assert end["seconds"] == pytest.approx(5.0, abs=0.1)
    assert ready["classes"] == list(classifier.classes)
    scores = client.of_type("scores")
    assert len(scores) == 11  # the last block is a short one
    assert len(scores[0]["scores"]) == len(classifier.classes)
    header = np.frombuffer(client.columns[-1][:16], "<u2")
    assert header[1] == ready["bands"]
    columns = sum((len(one) - 16) // ready["bands"] for one in client.columns)
    whole = 5.0 - 5.0 % classifier.info.step_seconds  # what fills no step is not scored
    assert columns == pytest.approx(whole * ready["columns_per_second"], abs=3)


def test_an_event_has_its_reason_and_a_clip_with_two_seconds_before_it(address):
    samples = np.concatenate([silence(6.0), noise(2.0), silence(3.5)])
    with Client(address, LOW) as client:
        client.send(samples)
        finish(client)
    event = max(client.of_type("event"), key=lambda one: one["score"])
    assert "threshold is 0.00" in event["why"]
    status, headers, body = ask(address, "GET", f"/{event['clip']}")
    assert (status, headers["content-type"]) == (200, "audio/wav")
    clip, rate = soundfile.read(io.BytesIO(body))
    assert event["clip_from"] == pytest.approx(max(0.0, event["onset"] - 2), abs=0.01)
    expected = event["offset"] + 0.5 - event["clip_from"]
    assert len(clip) / rate == pytest.approx(expected, abs=0.1)


def test_missing_samples_are_said_and_times_stay_right(address):
    with Client(address, {}) as client:
        client.send(noise(1.0))
        client.send(noise(1.0), skip=2 * RATE)
        end = finish(client)
    (gap,) = client.of_type("gap")
    assert gap["seconds"] == 2.0
    assert gap["at"] == pytest.approx(1.0, abs=0.05)
    assert end["seconds"] == pytest.approx(4.0, abs=0.1)


def test_rules_act_at_once(address):
    with Client(address, LOW) as client:
        client.send(noise(2.0))
        while not any(one["active"] for one in client.of_type("scores")):
            client.receive()
        client.say({"type": "rules", "classes": []})
        assert set(client.until("rules")["thresholds"]) == set(earmark.load("esc10").classes)
        client.messages.clear()
        client.send(noise(3.0))
        finish(client)
    late = [one for one in client.of_type("scores") if one["at"] > 3.0]
    assert late
    assert not any(one["active"] for one in late)
    with Client(address, {**LOW, "classes": []}) as client:
        client.send(noise(1.0))
        assert finish(client)["events"] == 0
    assert {one["rule"] for one in client.of_type("near")} == {"filter"}


def test_samples_that_are_no_numbers_are_silence_and_said_once(address):
    bad = np.full(RATE, np.nan, "<f4")
    with Client(address, {"encoding": "f32le"}) as client:
        for number in range(3):
            header = struct.pack("<BBHIQ", 1, 1, 0, number, number * RATE)
            client.socket.send(header + bad.tobytes())
        finish(client)
    assert len([one for one in client.of_type("notice") if "no numbers" in one["text"]]) == 1


def test_samples_at_another_scale_end_the_stream_with_a_remedy(address):
    loud = np.full(RATE, 30_000.0, "<f4")
    with Client(address, {"encoding": "f32le"}) as client:
        client.socket.send(struct.pack("<BBHIQ", 1, 1, 0, 0, 0) + loud.tobytes())
        assert client.refusal()[0] == "stream"


def test_a_lost_connection_is_gone_on_with(address):
    with Client(address, {}) as client:
        session = client.until("ready")["session"]
        client.send(noise(2.0))
        client.until("scores")
        client.socket.socket.close()  # no goodbye
    again = Client(address, {"resume": session})
    with again:
        ready = again.until("ready")
        assert ready["session"] == session
        assert ready["expected"] == 2 * RATE
        again.first, again.sequence = ready["expected"], 20
        again.send(noise(1.0), skip=RATE)
        end = finish(again)
    assert again.of_type("gap")[0]["seconds"] == 1.0
    assert end["seconds"] == pytest.approx(4.0, abs=0.1)


def test_a_session_that_is_not_kept_begins_anew(address):
    with Client(address, {"resume": "0" * 24}) as client:
        ready = client.until("ready")
    assert ready["session"] != "0" * 24
    assert ready["expected"] == 0


# What is refused, each with a word, a line and a close code.


def test_who_says_nothing_is_closed():
    hasty = Access(port=0, limits=limits(start_seconds=0.3))
    with running(hasty) as (_, address), Client(address) as client:
        assert client.refusal() == ("start", 1008)


def test_who_sends_no_sound_is_closed():
    hasty = Access(port=0, limits=limits(idle_seconds=0.3))
    with running(hasty) as (_, address), Client(address, {}) as client:
        assert client.refusal() == ("idle", 1008)


@pytest.mark.parametrize(
    ("first", "code"),
    [("garbage", "message"), (b"\0" * 40, "start"), ('{"type":"end"}', "start"), ("", "message")],
)
def test_garbage_is_refused(strict, first, code):
    with Client(strict[1]) as client:
        client.socket.send(first)
        assert client.refusal() == (code, 1008)


def test_messages_that_are_too_large_are_refused(strict):
    with Client(strict[1], {}) as client:
        client.until("ready")
        client.say({"type": "rules", "classes": ["x" * 2000]})
        assert client.refusal()[0] == "size"
    with Client(strict[1], {}) as client:
        client.until("ready")
        client.socket.send(bytes(200_000))
        with pytest.raises(Exception, match="1009"):
            while True:
                client.receive()


def test_a_flood_is_refused(strict):
    with Client(strict[1], {}) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                client.say({"type": "ping"})
        assert client.refusal()[0] == "rate"
    with Client(strict[1], {}) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(4):
                client.send(noise(2.0))
        assert client.refusal()[0] == "rate"


def test_gaps_and_repeats_are_bounded(strict):
    with Client(strict[1], {}) as client:
        client.send(noise(0.1), skip=2**60)
        assert client.refusal()[0] == "gap"
    with Client(strict[1], {}) as client:
        client.send(noise(0.2))
        client.first = 0
        client.send(noise(0.1))
        assert client.refusal()[0] == "order"


def test_there_is_room_for_so_many_sessions(strict):
    site, address = strict
    wait_for(lambda: not site.hub.streams())
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(Client(address, {}))
            client.until("ready")
        with Client(address, {}) as one_more:
            assert one_more.refusal() == ("sessions", 1013)
    text = ask(address, "GET", "/metrics")[2].decode()
    assert 'earmark_refused_total{rule="sessions"}' in text


def test_more_than_can_be_scored_is_shed_and_the_first_goes_on(monkeypatch):
    monkeypatch.setattr(hub, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(shedding, "_LOOK_SECONDS", 1.0)
    bounds = limits(behind_seconds=2.0)
    with running(Access(port=0, limits=bounds)) as (site, address), contextlib.ExitStack() as stack:
        first, newest = (stack.enter_context(Client(address, {})) for _ in range(2))
        advance = site.hub._advance
        slow = threading.Event()
        slow.set()

        def stall(key, pool):
            if slow.is_set():
                time.sleep(0.1)
            else:
                advance(key, pool)

        monkeypatch.setattr(site.hub, "_advance", stall)
        for client in (first, newest):
            client.until("ready")
            client.send(noise(12.0))
        assert newest.refusal()[0] == "behind"
        monkeypatch.setattr(shedding, "_LOOK_SECONDS", 60.0)  # or the first would be the next
        with Client(address, {}) as another:
            assert another.refusal() == ("behind", 1013)
        slow.clear()
        assert finish(first)["seconds"] == pytest.approx(12.0, abs=0.1)


def test_one_address_has_so_many_sessions_and_others_have_theirs():
    def come(host):  # as behind a proxy on this machine
        return Client(address, {}, additional_headers={"X-Forwarded-For": host})

    few = Access(port=0, limits=limits(address_sessions=2))
    with running(few) as (_, address), contextlib.ExitStack() as stack:
        for host in ("2001:db8::1", "2001:db8::2"):
            stack.enter_context(come(host)).until("ready")
        with come("2001:db8::3") as one_more:
            assert one_more.refusal() == ("address", 1013)
        stack.enter_context(come("2001:db8:0:1::1")).until("ready")
        for _ in range(4):  # this machine's own, and a proxy that says nothing
            stack.enter_context(Client(address, {})).until("ready")
        stack.pop_all().close()

        def has_room():  # once the server has noticed that the others have gone
            with come("2001:db8::3") as later:
                return later.receive()["type"] == "ready"

        wait_for(has_room)


def test_sessions_are_counted_by_network():
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db9::1")
    link = [network_of(host) for host in ("fe80::1", "fe80::2", "fe80::2%eth0", "febf::1")]
    assert len(set(link)) == 4
    assert [network_of(host) for host in ("127.0.0.2", "::1", "")] == ["", "", ""]


def test_lost_sessions_take_nobody_s_place(strict):
    site, address = strict
    wait_for(lambda: not site.hub.streams())
    for _ in range(6):
        with Client(address, {}) as client:
            client.until("ready")
            client.send(noise(0.1))
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Client(address, {})).until("ready")


def test_a_lost_session_ends_in_the_end(strict):
    site, address = strict
    wait_for(lambda: not site.hub.streams())
    with Client(address, {}) as client:
        client.until("ready")
        client.send(noise(0.5))
    assert site.hub.streams()
    wait_for(lambda: not site.hub.streams())


def test_bad_clients_cost_a_good_one_nothing(address):
    samples = noise(6.0, seed=5)
    with contextlib.ExitStack() as stack:
        name, port = address.split(":")
        for _ in range(20):  # half open: they say nothing, or half a request
            half = stack.enter_context(socket.create_connection((name, int(port))))
            half.sendall(b"GET / HT")
        good = stack.enter_context(Client(address, LOW))
        good.until("ready")
        bad = [stack.enter_context(Client(address, {"encoding": "f32le"})) for _ in range(3)]
        for number in range(60):
            part = samples[number * RATE // 10 : (number + 1) * RATE // 10]
            good.send(part)
            for client in bad:
                with contextlib.suppress(Exception):
                    client.socket.send(bytes([1, 1, 0, 0]) + b"\xff" * (12 + number))
            if number % 10 == 0:
                with contextlib.suppress(Exception):
                    stack.enter_context(Client(address)).socket.send("{" * 1000)
        finish(good)
    session = earmark.load("esc10").stream(RATE, source="live")
    low = tuple(0.001 for _ in session.classes)
    finder = session.finder
    session.finder = type(finder)(
        session.classes, low, finder.step_seconds, session.settings, finder.model
    )
    expected = [*session.push(samples), *session.finish()]
    assert [(one["label"], one["onset"]) for one in good.of_type("event")] == [
        (one.label, round(one.onset, 3)) for one in expected
    ]


def test_labels_come_as_other_programs_read_them(address):
    events = [
        {"label": "Rain", "onset": 3.0, "offset": 4.5, "score": 0.9},
        {"label": "Dog", "onset": 1.0, "offset": 1.5, "score": 0.8, "source": "live"},
    ]
    for format, first in (
        ("jsonl", '{"label": "Dog"'),
        ("audacity", "1.000000\t1.500000\tDog"),
        ("raven", "Selection\tView"),
    ):
        status, headers, body = ask(
            address, "POST", f"/api/labels?format={format}", json.dumps(events)
        )
        assert status == 200
        assert headers["content-disposition"].startswith("attachment")
        assert body.decode().startswith(first)
    for body in ("[1]", "{", '[{"label": 1, "onset": "x"}]', "[" * 99_999, '{"a": 1}'):
        assert ask(address, "POST", "/api/labels", body)[0] in (400, 422)
    for name in ("onset", "offset", "score"):
        for value in (float("nan"), float("inf"), 1e999):
            answer = ask(address, "POST", "/api/labels", json.dumps([{**events[0], name: value}]))
            assert (answer[0], fault(answer)) == (422, "events")
    assert ask(address, "POST", "/api/labels?format=exe", "[]")[0] == 422
    assert ask(address, "POST", "/api/labels", b"[" + b" " * 17_000_000)[0] == 413


def test_a_day_of_events_is_downloaded_with_what_the_stream_said_of_each(address):
    event = {
        "label": "Rooster",
        "onset": 1.0,
        "offset": 2.0,
        "score": 0.9,
        "top": {"Rooster": 0.9},
        "source": "x" * 80,
        "model": "b" * 64,
        "threshold": 0.4,
        "time": "2026-01-02T03:04:05.678+00:00",
        "clip": f"clips/{'c' * 24}.wav",
    }
    rest = {"id": "a" * 24, "why": "y" * 100, "clip_from": 0.0, "session": "d" * 24, "live": True}
    sent = json.dumps([{**event, **rest, "onset": number / 8} for number in range(5000)])
    status, _, body = ask(address, "POST", "/api/labels?format=jsonl", sent)
    rows = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert len(rows) == 5000
    assert rows[8] == event
    for fault_of in ({"threshold": "x"}, {"threshold": float("nan")}):
        body = json.dumps([{**event, **fault_of}])
        assert ask(address, "POST", "/api/labels", body)[0] == 422


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
