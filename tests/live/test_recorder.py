"""Events with their sound: pre-roll, what follows, long ones, and the time of day."""

import datetime

import numpy as np
import pytest

from earmark.live.followed import FollowedBlock, FollowedSession
from earmark.live.recent import RecentSound, StreamClock
from earmark.live.recorder import LONGEST_SECONDS, HeardBlock, RecordedEvent, Recorder, level_of
from earmark.runtime.events import Event
from tests.runtime.builders import SETTINGS, classifier, sound, times

RATE = 1_000
BEGUN = datetime.datetime(2026, 5, 1, 4, 30, tzinfo=datetime.timezone.utc)


def seconds(number):
    return datetime.timedelta(seconds=number)


class Fed:
    """A recorder that is given blocks of half a second, whose samples count milliseconds."""

    def __init__(self, **options):
        self.recorder = Recorder("yard", RATE, {"dog": 0.5}, **{"start": BEGUN, **options})
        self.events = list[RecordedEvent]()
        self.blocks = list[HeardBlock]()
        self.begun = list[RecordedEvent]()
        self.recorder.on_begun = self.begun.append
        self.recorder.on_event = self.events.append
        self.recorder.on_block = self.blocks.append
        self.end = 0.0

    def feed(self, until, *, ongoing=None, events=(), under_way=(), ended=False):
        while self.end < until:
            self.end += 0.5
            count = np.arange(round((self.end - 0.5) * RATE), round(self.end * RATE))
            samples = (count % 10_000 / 32_767).astype(np.float32)
            last = events if self.end >= until else ()
            self.recorder.follow(
                FollowedBlock(
                    samples, self.end, {"dog": 0.4}, tuple(last), ongoing or {}, tuple(under_way)
                )
            )
        if ended:
            none = np.zeros(0, np.float32)
            self.recorder.follow(FollowedBlock(none, self.end, {}, (), {}, ended=True))


def event(onset, offset, label="dog", score=0.9):
    return Event(label, onset, offset, score, {label: 0.8}, "yard", "m")


def heard(recorded):
    """The milliseconds of the stream that a clip holds, begin and end."""
    return recorded.samples[0], recorded.samples[-1] + 1, len(recorded.samples)


def test_a_clip_holds_the_seconds_before_and_after():
    fed = Fed()
    fed.feed(8.0, ongoing={"dog": 4.0})
    fed.feed(8.5, events=[event(4.0, 6.0)])
    (one,) = fed.events
    assert heard(one) == (2_000, 8_000, 6_000)
    assert (one.clip_from, one.threshold, one.sample_rate) == (2.0, 0.5, RATE)
    assert (one.start, one.end) == (BEGUN + seconds(4), BEGUN + seconds(6))


def test_an_event_under_way_has_the_id_and_the_time_that_it_ends_with():
    now = [BEGUN]
    fed = Fed(start=None, clock=lambda: now[0], after=0.0)
    fed.feed(5.0, ongoing={"dog": 4.0}, under_way=[event(4.0, 5.0, score=0.6)])
    fed.feed(5.5, ongoing={"dog": 4.0}, under_way=[event(4.0, 5.5, score=0.6)])
    now[0] += seconds(100)  # whatever the clock says meanwhile
    fed.feed(6.0, ongoing={"dog": 4.0}, under_way=[event(4.0, 6.0, score=0.8)])
    assert [one.event.score for one in fed.begun] == [0.6, 0.8]
    assert not any(one.ended or len(one.samples) for one in fed.begun)
    later = event(6.2, 6.5)
    fed.feed(6.5, ongoing={"dog": 6.2}, events=[event(4.0, 6.0)], under_way=[later])
    fed.feed(8.5, events=[later])
    first, second = fed.events
    assert first.ended
    assert {one.id for one in fed.begun[:2]} == {first.id}
    assert {one.start for one in fed.begun[:2]} == {first.start}
    assert heard(first) == (2_000, 6_000, 4_000)
    assert fed.begun[2].id == second.id != first.id


def test_an_event_waits_for_what_follows_it_or_for_the_end():
    fed = Fed(before=1.0, after=3.0)
    fed.feed(3.0, events=[event(1.0, 2.5), event(1.5, 2.0)])
    assert fed.events == []
    fed.feed(5.0)
    assert fed.events == []
    fed.feed(5.5)
    assert [one.event.offset for one in fed.events] == [2.5, 2.0]
    fed.feed(6.0, events=[event(5.0, 6.0)])
    fed.feed(6.5, ended=True)
    assert heard(fed.events[2]) == (4_000, 6_500, 2_500)
    assert len({one.id for one in fed.events}) == 3


def test_a_clip_at_the_start_is_as_long_as_there_is_sound():
    fed = Fed()
    fed.feed(3.5, events=[event(0.5, 1.0)])
    assert heard(fed.events[0]) == (0, 3_000, 3_000)
    assert fed.events[0].clip_from == 0.0


def test_a_long_event_keeps_its_begin_and_memory_stays_bounded():
    fed = Fed()
    fed.feed(10.0)
    fed.feed(400.0, ongoing={"dog": 10.0})
    kept = sum(map(len, fed.recorder._sound._kept)) / RATE
    assert kept <= LONGEST_SECONDS
    fed.feed(400.5, events=[event(10.0, 399.0)])
    first, _, length = heard(fed.events[0])
    assert (first, length) == (8_000, round((LONGEST_SECONDS + 2) * RATE))
    assert fed.recorder._early == {}
    fed.feed(500.0)
    assert sum(map(len, fed.recorder._sound._kept)) / RATE <= 21


def test_a_long_sound_that_was_no_event_is_forgotten():
    fed = Fed()
    fed.feed(100.0, ongoing={"dog": 10.0})
    assert fed.recorder._early
    fed.feed(101.0)
    assert not fed.recorder._early


def test_without_clips_nothing_is_kept_and_nothing_waited_for():
    fed = Fed(clips=False)
    fed.feed(6.0, ongoing={"dog": 4.0})
    fed.feed(6.5, events=[event(4.0, 6.5)])
    assert len(fed.events) == 1
    assert len(fed.events[0].samples) == 0
    assert len(fed.recorder._sound._kept) == 0


def test_blocks_say_level_time_and_whether_a_class_was_accepted():
    fed = Fed()
    fed.feed(0.5)
    fed.feed(1.0, ongoing={"dog": 0.6})
    fed.feed(1.5, events=[event(0.6, 1.2)])
    assert [block.active for block in fed.blocks] == [False, True, True]
    assert [(block.start, block.end) for block in fed.blocks] == [(0, 0.5), (0.5, 1), (1, 1.5)]
    assert fed.blocks[1].time == BEGUN + seconds(1)
    assert fed.blocks[0].scores == {"dog": 0.4}
    assert level_of(np.full(500, 0.1, np.float32)) == pytest.approx(-20.0)
    assert level_of(np.zeros(500, np.float32)) == -90.0


def test_live_times_are_those_of_the_clock_when_the_sound_came():
    now = [BEGUN]
    fed = Fed(start=None, clock=lambda: now[0])
    for number in range(1, 21):
        now[0] = BEGUN + seconds(number * 0.5)
        fed.feed(number * 0.5)
    now[0] += seconds(3600)  # the pipe stood still for an hour
    for number in range(21, 31):
        now[0] += seconds(0.5)
        fed.feed(number * 0.5, events=[event(2.0, 3.0), event(12.0, 13.0)] if number == 30 else ())
    fed.feed(20.0)
    assert fed.events[0].start == BEGUN + seconds(2)
    assert fed.events[1].start == BEGUN + seconds(3600 + 12)


def test_a_clock_forgets_and_still_answers():
    clock = StreamClock()
    for number in range(20_000):
        clock.note(float(number), BEGUN + seconds(number))
    assert len(clock._ends) < 10_000
    assert clock.time_of(19_999.5) == BEGUN + seconds(19_999.5)
    assert clock.time_of(5.0) == BEGUN + seconds(5)


def test_recent_sound_is_cut_where_it_was_forgotten():
    recent = RecentSound(10)
    for start in (0.0, 1.0):
        recent.push(np.full(10, start / 2, np.float32))
    recent.forget_before(1.05)
    assert len(recent.between(0.0, 5.0)) == 10
    assert len(recent.between(1.5, 1.8)) == 3
    assert len(recent.between(3.0, 4.0)) == 0
    recent.push(np.full(3, 9.0, np.float32))
    assert recent.between(2.0, 2.1).tolist() == [32_767]


@pytest.mark.parametrize("chunks", [[8_000], [123, 4_567]])
def test_a_followed_session_gives_the_same_events_and_shows_every_sample(chunks):
    made, samples = classifier("torch", stack=3, delta=2), sound()
    plain = made.stream(8_000, settings=SETTINGS, source="a")
    expected = list(plain.detect([samples]))
    assert expected
    blocks = list[FollowedBlock]()
    followed = FollowedSession(made.stream(8_000, settings=SETTINGS, source="a"), blocks.append)
    events, at, turn = [], 0, 0
    while at < len(samples):
        part = samples[at : at + chunks[turn % len(chunks)]]
        events += followed.push(part)
        at, turn = at + len(part), turn + 1
    events += followed.finish()
    assert times(events) == times(expected)
    assert times(one for block in blocks for one in block.events) == times(expected)
    shown = np.concatenate([block.samples for block in blocks])
    np.testing.assert_array_equal(shown, samples[: len(shown)])
    assert len(samples) - len(shown) < followed.scorer.info.step_samples
    assert blocks[-1].ended
    assert set(followed.thresholds) == set(made.classes)
    onsets = {one.onset for one in expected}
    seen = {onset for block in blocks for onset in block.ongoing.values()}
    assert seen & onsets  # what is under way has the onset that its event will have
