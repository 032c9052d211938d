"""A pool: the scores and events of each session alone, whoever joins and leaves meanwhile."""

import numpy as np
import pytest

from earmark.config import EventSettings
from earmark.errors import SettingsError
from earmark.runtime.pool import SessionPool, most_together
from earmark.runtime.scorer import StreamScorer
from tests.runtime.builders import KINDS, SETTINGS, SHAPES, classifier, scored, sound, times


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


class Listener:
    """Feeds one sound to a session in chunks of its own length, and keeps what comes back."""

    def __init__(self, made, number, **options):
        self.session = made.stream(settings=SETTINGS, source=str(number), **options)
        self.samples = sound(1.5 + 0.5 * (number % 3), seed=number)
        self.chunk = 300 + 97 * (number % 7)
        self.at, self.rows, self.events = 0, [], []

    @property
    def over(self):
        return self.at >= len(self.samples)

    def feed(self):
        self.session.feed(self.samples[self.at : self.at + self.chunk])
        self.at += self.chunk

    def finish(self):
        self.events += self.session.finish()
        self.rows.append(self.session.rows)


def advance(pool, listeners):
    """Advance until nothing waits; keep scores and events."""
    by_session = {listener.session: listener for listener in listeners}
    while pool.ready:
        for session, events in pool.advance():
            by_session[session].rows.append(session._rows[-1])
            by_session[session].events += events


def assert_as_alone(made, listener, **options):
    alone = made.stream(settings=SETTINGS, source=listener.session.source, **options)
    rows, events = scored(alone, listener.samples, [len(listener.samples)])
    # batched sums in another order; measured below 5e-6
    np.testing.assert_allclose(np.concatenate(listener.rows), rows, atol=1e-5)
    assert times(listener.events) == times(events)
    assert {event.source for event in listener.events} <= {alone.source}


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_sessions_that_come_and_go_have_the_scores_and_events_of_each_alone(kind, options):
    made, pool = classifier(kind, **options), SessionPool()
    waiting = [Listener(made, number, block_seconds=0.1) for number in range(24)]
    everyone, present = list(waiting), list[Listener]()
    while waiting or present:
        for listener in waiting[:5]:  # five join at a time, others are far on by then
            pool.add(listener.session)
        present += waiting[:5]
        waiting = waiting[5:]
        for listener in present:
            listener.feed()
        advance(pool, present)
        for listener in [one for one in present if one.over]:
            present.remove(listener)
            listener.finish()
        assert len(pool) == len(present)
    for listener in everyone:
        assert_as_alone(made, listener, block_seconds=0.1)
    assert sum(len(listener.events) for listener in everyone) > 24


def test_64_sessions_advance_in_calls_of_twelve(kind, monkeypatch):
    made, pool = classifier(kind, **SHAPES[2]), SessionPool()
    listeners = [Listener(made, number, block_seconds=0.2) for number in range(64)]
    for listener in listeners:
        pool.add(listener.session)
        listener.session.feed(listener.samples[:4_000])
        listener.at = 4_000
    calls, advance_engine = [], made.engine.advance

    def noted(samples, state):
        calls.append(len(samples))
        return advance_engine(samples, state)

    monkeypatch.setattr(made.engine, "advance", noted)
    chosen = [listener.session for listener in listeners[:3]]
    advanced = pool.advance(chosen)
    assert [session for session, _ in advanced] == chosen
    advanced += pool.advance()
    assert calls == [3, *[12] * 5, 4]  # the three have a second block
    assert {session for session, _ in advanced} == {one.session for one in listeners}
    assert all(session.rows.shape[1] == 3 for session, _ in advanced)


def test_fewer_streams_of_longer_blocks_are_scored_in_a_call():
    engine = classifier("onnx", **SHAPES[2]).engine
    counts = []
    for seconds in (0.0, 0.5, 1.0, 2.0, 20.0):
        scorer = StreamScorer(engine, SETTINGS, block_seconds=seconds)
        counts.append(most_together(scorer))
    assert counts[:2] == [12, 12]
    assert counts[2] in (7, 8)  # of 8 s; blocks are whole steps
    assert counts[3] in (3, 4)
    assert counts[4] == 1


def test_a_session_that_left_goes_on_alone_and_may_come_back(kind, tmp_path):
    made, pool = classifier(kind, **SHAPES[2]), SessionPool()
    listeners = [Listener(made, number) for number in range(3)]
    for listener in listeners:
        listener.chunk = 2_000
        pool.add(listener.session)
    for turn in range(3):
        for listener in listeners:
            listener.feed()
        advance(pool, listeners)
        if turn == 0:
            pool.remove(listeners[0].session)
            some = listeners[0].samples[listeners[0].at : listeners[0].at + 1_000]
            listeners[0].events += listeners[0].session.push(some)
            listeners[0].rows.append(listeners[0].session.rows)
            listeners[0].at += 1_000
            pool.add(listeners[0].session)
    listeners[1].session.save(tmp_path / "pooled")  # where it stands, while it is pooled
    again = made.stream(settings=SETTINGS, source="1")
    again.restore(tmp_path / "pooled")
    rest = listeners[1].samples[listeners[1].at :]
    _, from_file = scored(again, rest, [1_000])
    for listener in listeners:
        pool.remove(listener.session)
        listener.events += listener.session.push(listener.samples[listener.at :])
        listener.rows.append(listener.session.rows)
        before = len(listener.events)
        listener.finish()
        assert_as_alone(made, listener)
        if listener is listeners[1]:
            assert times(from_file)[-1:] == times(listener.events[before:])[-1:]


def test_what_does_not_belong_together_is_refused(kind):
    made, pool = classifier(kind), SessionPool()
    session = made.stream(settings=SETTINGS)
    pool.add(session)
    with pytest.raises(SettingsError, match="is in a pool already"):
        pool.add(session)
    with pytest.raises(SettingsError, match="is advanced by a pool"):
        session.push(sound(0.5))
    for other in (
        made.stream(settings=SETTINGS, block_seconds=2.0),
        made.stream(settings=EventSettings(window_seconds=0.25)),
        classifier(kind).stream(settings=SETTINGS),
    ):
        with pytest.raises(SettingsError, match="another model, window or block length"):
            pool.add(other)
    with pytest.raises(SettingsError, match="is not in this pool"):
        pool.remove(made.stream(settings=SETTINGS))
    pool.remove(session)
    assert (len(pool), pool.advance()) == (0, [])
    other = classifier(kind, **SHAPES[1]).stream(settings=SETTINGS)
    pool.add(other)  # an empty pool takes any
    other.feed(sound(1.0))
    assert [session for session, _ in pool.advance()] == [other]
