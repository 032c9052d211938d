"""A stream without an engine: which blocks come out, and that scores go in as made up."""

import dataclasses
import types

import numpy as np
import pytest

from earmark.config import EventSettings
from earmark.errors import AudioError
from earmark.runtime.core import StreamCore
from earmark.runtime.scorer import StreamScorer
from tests.builders import FRONT_END
from tests.runtime.builders import engine_of, moving_model

SETTINGS = EventSettings(
    threshold=0.6,
    smoothing_seconds=0,
    min_duration_seconds=0,
    merge_gap_seconds=0,
    onset_lag_seconds=0,
    offset_lag_seconds=0,
)


@pytest.fixture
def core():
    return core_of(moving_model())


def core_of(trained):
    """Blocks of 320 samples, two steps of 160."""
    scorer = StreamScorer(engine_of(trained, "torch"), SETTINGS, block_seconds=0.04)
    scorer.engine = types.SimpleNamespace()  # nothing is to be run
    return StreamCore(scorer, 8_000, SETTINGS, "door")


def test_blocks_are_the_samples_in_order_whatever_the_chunks(core):
    samples = np.random.default_rng(0).uniform(-1, 1, 1_000).astype(np.float32)
    blocks, ready = [], []
    for chunk in np.split(samples, [1, 2, 300, 321, 322, 990]):
        ready.append(core.feed(chunk))
        while (block := core.next_block()) is not None:
            blocks.append(block)
    assert ready == [0, 0, 0, 1, 0, 2, 0]
    assert [len(block) for block in blocks] == [320, 320, 320]
    assert core.seconds == pytest.approx((1_000 - 960) / 8_000)  # no scores were accepted
    core.end()
    assert core.next_block() is None  # 40 samples are less than a step
    np.testing.assert_array_equal(np.concatenate(blocks), samples[:960])


def test_the_whole_steps_that_are_left_at_the_end_are_a_shorter_block(core):
    core.feed(np.ones(500, np.float32))
    core.end()
    lengths = []
    while (block := core.next_block()) is not None:
        lengths.append(len(block))
    assert lengths == [320, 160]
    with pytest.raises(AudioError, match="door: has ended"):
        core.feed(np.zeros(1))


@pytest.mark.parametrize(
    ("came", "scored"), [(0, 0), (70, 800), (500, 800), (800, 800), (900, 800)]
)
def test_silence_follows_a_short_stream_and_its_events_lie_in_what_came(came, scored):
    front_end = dataclasses.replace(FRONT_END, min_clip_seconds=0.1)  # 800 samples
    core = core_of(dataclasses.replace(moving_model(), front_end=front_end))
    samples = np.linspace(0.1, 0.9, came, dtype=np.float32)
    core.feed(samples)
    core.end()
    assert core.seconds == came / 8_000
    blocks, events = [np.zeros(0, np.float32)], []
    while (block := core.next_block()) is not None:
        blocks.append(block)
        rising = [[0.1, 0.1, 0.8 if sum(map(len, blocks)) > 320 else 0.1]] * (len(block) // 160)
        events += core.accept(np.array(rising, np.float32))
    events += core.end_events()
    expected = np.pad(samples, (0, 800))[:scored]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    assert core.seconds == came / 8_000
    assert len(events) == (came > 0)
    for event in events:
        assert 0 <= event.onset < event.offset <= came / 8_000


def test_accepted_scores_become_events(core):
    core.feed(np.zeros(960, np.float32))
    high, low = [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]
    assert core.accept(np.array([high, high], np.float32)) == []
    assert core.active_now == ["dog"]
    (event,) = core.accept(np.array([high, low, low], np.float32))
    assert (event.label, event.onset, event.offset) == ("dog", 0, pytest.approx(0.06))
    assert list(core.scores) == ["rooster", "dog", "rain"]
    assert core.rows.shape == (5, 3)
    (last,) = core.end_events()
    assert (last.label, last.source) == ("rooster", "door")
    assert core.end_events() == []
