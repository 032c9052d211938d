"""The thread of all streams: when it waits, and when not."""

import threading

import pytest

import earmark
from earmark.live.chunk import Chunk
from earmark.runtime.pool import SessionPool
from earmark.serve.clips import ClipStore
from earmark.serve.hub import Hub
from earmark.serve.protocol import Start
from tests.alerts.builders import until
from tests.serve.running import RATE, noise


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

    def while_it_scores(pool):
        if parts and stream.session.ready:
            hub.put(stream, Chunk(parts.pop(), RATE))
        return advance(pool)

    monkeypatch.setattr(SessionPool, "advance", while_it_scores)
    hub.put(stream, Chunk(parts.pop(), RATE))
    hub.start(lambda deliver: deliver())
    assert until(lambda: stream.session.seconds > 5.9 and not stream.full)
    slept = wake.slept
    hub.stop()
    assert slept == 0
