"""The thread of all streams: when it waits, and when not."""

import json
import threading
import time

import numpy as np
import pytest

import earmark
from earmark.config import EventSettings
from earmark.live.chunk import Chunk
from earmark.runtime.pool import SessionPool
from earmark.serve.clips import ClipStore
from earmark.serve.hub import Hub
from earmark.serve.protocol import Start
from earmark.serve.settings import Limits
from earmark.serve.stream import AFTER_SECONDS, BEFORE_SECONDS, StreamEvent
from tests.alerts.builders import until
from tests.serve.running import RATE, noise, silence


class Wake(threading.Event):
    """Counts the waits that nothing ended."""

    slept = 0

    def wait(self, timeout=None):
        woken = super().wait(timeout)
        self.slept += not woken
        return woken


@pytest.mark.parametrize("kind", ["file", "client"])
def test_sound_that_comes_while_blocks_are_scored_is_not_slept_over(tmp_path, monkeypatch, kind):
    hub = Hub(earmark.load("esc10"), clips=ClipStore(tmp_path, most_bytes=1 << 20, age_seconds=60))
    hub._wake = wake = Wake()
    stream = hub.open(Start(kind=kind), RATE)
    parts = [noise(2.0)[:, None] for _ in range(3)]
    advance = SessionPool.advance

    def while_it_scores(pool, sessions):
        if parts and stream.session.ready:
            hub.put(stream, Chunk(parts.pop(), RATE))
        return advance(pool, sessions)

    monkeypatch.setattr(SessionPool, "advance", while_it_scores)
    hub.put(stream, Chunk(parts.pop(), RATE))
    hub.start(lambda deliver: deliver())
    assert until(lambda: stream.session.seconds > 5.9 and not stream.full)
    slept = wake.slept
    hub.stop()
    assert slept == 0


def test_a_hub_that_cannot_score_what_came_stops_in_time_and_ends_its_events(tmp_path, monkeypatch):
    advance = SessionPool.advance

    def slowly(pool, sessions):
        time.sleep(0.1)
        return advance(pool, sessions)

    monkeypatch.setattr(SessionPool, "advance", slowly)
    classifier = earmark.load("esc10")
    hub = Hub(classifier, clips=ClipStore(tmp_path, most_bytes=1 << 20, age_seconds=60))
    events: list[StreamEvent] = []
    hub.subscribe(events.append)
    always = dict.fromkeys(classifier.classes, 1e-6)
    stream = hub.open(Start(kind="client", thresholds=always), RATE)
    hub.put(stream, Chunk(noise(120.0)[:, None], RATE))  # 24 s of scoring
    hub.start(lambda deliver: deliver())
    assert until(lambda: stream.session.seconds > 1.0)
    begun = time.monotonic()
    hub.stop()
    took = time.monotonic() - begun
    assert not hub._thread.is_alive()
    assert took < 12.0  # of the 24, on a machine with much else to do
    assert not hub.streams()
    assert events
    assert all(event.ended and event.event.offset < 20.0 for event in events)


class Kept:
    """Keeps the messages of a stream."""

    def __init__(self):
        self.messages: list[str | bytes] = []

    def put(self, messages):
        self.messages += [message for message, _ in messages]

    def short(self):
        pass

    def ended(self):
        pass


def test_a_stream_shorter_than_the_least_clip_is_shown_as_long_as_it_is(tmp_path):
    classifier = earmark.load("base")  # which fills clips up to 1.6 s
    hub = Hub(classifier, clips=ClipStore(tmp_path, most_bytes=1 << 20, age_seconds=60))
    sink, always = Kept(), dict.fromkeys(classifier.classes, 1e-6)
    start = Start(kind="file", spectrogram=True, thresholds=always)
    stream = hub.open(start, classifier.info.sample_rate, sink)
    samples = noise(0.7 * classifier.info.sample_rate / RATE)[:, None]
    hub.put(stream, Chunk(samples, classifier.info.sample_rate))
    hub.finish(stream)
    hub.start(lambda deliver: deliver())
    assert until(lambda: not hub.streams())
    hub.stop()
    said = [json.loads(one) for one in sink.messages if isinstance(one, str)]
    times = [one["at"] for one in said if one["type"] == "scores"]
    assert times[-1] == max(times) == said[-1]["seconds"] == 0.7
    assert all(one["offset"] <= 0.7 for one in said if one["type"] in ("event", "near"))
    columns = sum(len(one) - 16 for one in sink.messages if isinstance(one, bytes))
    assert 0.5 < columns / stream.view.bands / stream.view.per_second <= 0.7


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_blocks_of_any_length_give_the_same_events_with_their_sound(tmp_path, seconds):
    classifier = earmark.load("esc10")
    rate = classifier.info.sample_rate
    hub = Hub(
        classifier,
        clips=ClipStore(tmp_path, most_bytes=1 << 22, age_seconds=60),
        settings=EventSettings(threshold=0.05),
        limits=Limits(block_seconds=seconds),
    )
    raised = list[StreamEvent]()
    hub.subscribe(raised.append)
    stream = hub.open(Start(kind="file"), rate, Kept())
    samples = np.concatenate([silence(4.0), noise(3.0), silence(4.0)])[:, None]
    hub.put(stream, Chunk(samples, rate))
    hub.finish(stream)
    hub.start(lambda deliver: deliver())
    assert until(lambda: not hub.streams())
    hub.stop()
    alone = classifier.stream(settings=hub.settings, source=stream.name, block_seconds=0.5)
    events = [*alone.push(samples), *alone.finish()]
    assert sorted(one.event.label for one in raised) == sorted(one.label for one in events) != []
    for one in raised:
        begin = max(0.0, one.event.onset - BEFORE_SECONDS)
        end = min(one.event.offset + AFTER_SECONDS, 11.0)
        assert len(one.samples) == pytest.approx((end - begin) * rate, abs=0.1 * rate)


def test_what_a_stream_waits_for_is_known_while_it_is_fed(tmp_path, monkeypatch):
    hub = Hub(earmark.load("base"), clips=ClipStore(tmp_path, most_bytes=1 << 20, age_seconds=60))
    stream = hub.open(Start(), 44_100, Kept())
    block = stream.samples_missing
    stream.put(Chunk(np.zeros(block + 4_000, np.int16), 44_100, 0))
    seen = []
    feed = stream.session.feed_mono

    def feed_mono(samples, rate):
        seen.append(stream.samples_missing)
        return feed(samples, rate)

    monkeypatch.setattr(stream.session, "feed_mono", feed_mono)
    stream.feed()
    assert seen == [block - 4_000]
    late = stream.samples_missing - seen[0]
    assert 0 < late < 0.03 * 44_100  # the resampler's
