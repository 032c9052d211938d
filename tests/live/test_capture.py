"""Gaps, samples that are no numbers, stalls and reconnecting, with made-up sources and clocks."""

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.live.capture import Capture, Notice, Reconnecting, pace, read_chunks
from earmark.live.chunk import Chunk, StalledError
from tests.runtime.builders import SETTINGS, classifier, sound, times

RATE = 8_000


class Given:
    """A source that gives what it is told to: chunks, or faults to raise."""

    def __init__(self, *items, name="Desk"):
        self.items, self.name, self.closed = list(items), name, 0

    def next(self, timeout):
        if not self.items:
            return None
        item = self.items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        self.closed += 1


class Clock:
    """Time that passes when somebody sleeps, and one second whenever it is asked for."""

    def __init__(self, tick=0.0):
        self.now, self.tick, self.slept = 0.0, tick, []

    def __call__(self):
        self.now += self.tick
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def chunk(value=0.0, samples=800, **options):
    return Chunk(np.full((samples, 2), value, np.float32), RATE, **options)


def stalled():
    return StalledError("Desk: nothing came for 5 s")


@pytest.fixture(scope="module")
def made():
    return classifier("torch", stack=3, delta=2)


def test_a_source_is_read_to_its_end_and_closed():
    source = Given(chunk(0.1), chunk(0.2))
    chunks = list(read_chunks(source, stall_seconds=5.0))
    assert [one.samples[0, 0] for one in chunks] == pytest.approx([0.1, 0.2])
    assert source.closed == 1


def test_a_stall_is_a_fault_unless_it_is_waited_for():
    source, notices = Given(chunk(), stalled(), chunk()), list[Notice]()
    with pytest.raises(StalledError):
        list(read_chunks(source, stall_seconds=5.0, report=notices.append))
    assert (source.closed, notices) == (1, [])


def test_a_pipe_that_stalled_is_waited_for_and_said_once():
    notices: list[Notice] = []
    source = Given(chunk(), stalled(), stalled(), chunk(), stalled(), chunk())
    chunks = list(
        read_chunks(source, stall_seconds=5.0, reconnecting=Reconnecting(), report=notices.append)
    )
    assert [one.dropped for one in chunks] == [0, 0, 0]  # a pipe loses nothing meanwhile
    assert [notice.kind for notice in notices] == ["stalled", "resumed"] * 2
    assert notices[0].text == "Desk: nothing came for 5 s; waiting for it"
    assert notices[1].text == "Desk: goes on"
    assert source.closed == 1


def test_a_device_that_has_gone_is_opened_again_and_what_was_missed_is_counted():
    clock, later = Clock(), Given(chunk())
    tries = [AudioError("gone"), AudioError("gone"), later]

    def again():
        item = tries.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    first = Given(chunk(), stalled())
    chunks = list(
        read_chunks(
            first,
            stall_seconds=5.0,
            reconnecting=Reconnecting(again, retry_seconds=2.0),
            clock=clock,
            sleep=clock.sleep,
        )
    )
    assert clock.slept == [2.0, 2.0]
    assert [one.dropped for one in chunks] == [0, 4 * RATE - 800]
    assert (first.closed, later.closed) == (1, 1)


def test_lost_samples_are_silence_so_that_times_stay_right(made):
    samples, notices = sound(4.0), list[Notice]()
    session = made.stream(settings=SETTINGS, source="desk")
    capture = Capture(session, notices.append)
    events = capture.push(Chunk(samples[:8_000, None], RATE))
    events += capture.push(Chunk(samples[16_000:, None], RATE, dropped=8_000))
    events += session.finish()
    silent = samples.copy()
    silent[8_000:16_000] = 0
    whole = made.stream(settings=SETTINGS, source="desk")
    assert events == whole.push(silent) + whole.finish()
    assert capture.dropped == 8_000
    assert notices == [Notice("dropped", "desk: 8000 samples dropped", 8_000)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_silence_and_said_once(made, bad):
    samples, notices = sound(3.0), list[Notice]()
    session = made.stream(settings=SETTINGS, source="desk")
    capture = Capture(session, notices.append)
    silent, events = samples.copy(), []
    for start in range(0, len(samples), 4_000):
        part = samples[start : start + 4_000].copy()
        if start in (4_000, 12_000):
            part[7] = bad
            silent[start : start + 4_000] = 0
        events += capture.push(Chunk(part[:, None], RATE))
    whole = made.stream(settings=SETTINGS, source="desk")
    assert times(events + session.finish()) == times(whole.push(silent) + whole.finish())
    assert capture.silenced == 8_000
    assert [notice.kind for notice in notices] == ["silenced"]
    assert "holds NaN or infinite samples; such samples are replaced by silence" in notices[0].text


def test_other_faults_of_a_chunk_are_raised_after_all_events(made):
    capture = Capture(made.stream(settings=SETTINGS, source="desk"))
    good, wrong = Chunk(sound(3.0)[:, None], RATE), Chunk(np.zeros((9, 1), np.float32), 100)
    turns: list[int] = []
    events = capture.detect(iter([good, wrong]), after_chunk=lambda: turns.append(1))
    found = []
    with pytest.raises(AudioError, match="desk: has an unsupported sample rate of 100 Hz"):
        for event in events:
            found.append(event)  # noqa: PERF402  # those before the fault are kept
    whole = made.stream(settings=SETTINGS, source="desk")
    assert found == whole.push(sound(3.0)) + whole.finish()
    assert len(found) > 1
    assert turns == [1]


def test_a_chunk_may_be_mixed_on_its_way(made):
    left = sound(2.0)
    stereo = Chunk(np.stack([left, np.zeros_like(left)], axis=1), RATE)
    session = made.stream(settings=SETTINGS)
    Capture(session, mix=lambda one: one.samples[:, 0]).push(stereo)
    alone = made.stream(settings=SETTINGS)
    alone.push(left)
    np.testing.assert_array_equal(session.rows, alone.rows)


def test_a_file_is_given_at_the_speed_of_the_sound():
    clock = Clock()
    samples = np.arange(2_500, dtype=np.float32)
    parts = list(pace([samples[:2_000], samples[2_000:]], 8_000, clock=clock, sleep=clock.sleep))
    np.testing.assert_array_equal(np.concatenate(parts), samples)
    assert [len(part) for part in parts] == [800, 800, 400, 500]
    assert clock.now == pytest.approx(2_500 / 8_000)
    late = Clock(tick=1.0)  # whoever is late already does not wait
    list(pace([samples], 8_000, clock=late, sleep=late.sleep))
    assert late.slept == [0.0] * 4
