"""Scores to events: hysteresis, gaps, short events, times, and any cut of the stream."""

import numpy as np
import pytest

from earmark.config import EventSettings
from earmark.runtime.events import EventFinder

CLASSES = ("dog", "rain")
PLAIN = EventSettings(
    smoothing_seconds=0,
    off_ratio=0.5,
    min_duration_seconds=0,
    merge_gap_seconds=0,
    onset_lag_seconds=0,
    offset_lag_seconds=0,
)


def finder(thresholds=(0.6, 0.6), step_seconds=0.1, **changes):
    values = {**vars(PLAIN), **changes}
    return EventFinder(CLASSES, thresholds, step_seconds, EventSettings(**values), "m" * 8)


def found(scores, chunk=1000, **options):
    """Return (label, onset, offset) of the events of the first class's scores, or of both."""
    scores = np.array(scores, np.float32)
    if scores.ndim == 1:
        scores = np.stack([scores, np.zeros_like(scores)], axis=1)
    finds = finder(**options)
    state, events = finds.initial_state(), []
    for start in range(0, len(scores), chunk):
        some, state = finds.step(scores[start : start + chunk], state, "stream")
        events += some
    return events + finds.finish(state, "stream")


def times(events):
    return [(e.label, round(e.onset, 6), round(e.offset, 6)) for e in events]


def test_an_event_lasts_from_the_upper_threshold_to_the_lower_one():
    events = found([0, 0.5, 0.7, 0.4, 0.35, 0.25, 0])
    assert times(events) == [("dog", 0.2, 0.5)]
    assert events[0].score == pytest.approx(0.7)
    assert events[0].source == "stream"
    assert events[0].model == "m" * 8
    assert events[0].top == pytest.approx({"dog": (0.7 + 0.4 + 0.35) / 3, "rain": 0})


def test_what_only_reaches_the_lower_threshold_is_no_event():
    assert found([0, 0.5, 0.5, 0]) == []


def test_a_pause_no_longer_than_the_gap_is_bridged():
    scores = [0.9, 0, 0, 0.9, 0, 0, 0, 0.9]
    assert times(found(scores, merge_gap_seconds=0.2)) == [("dog", 0, 0.4), ("dog", 0.7, 0.8)]
    assert times(found(scores, merge_gap_seconds=0.3)) == [("dog", 0, 0.8)]


def test_after_a_pause_only_the_upper_threshold_goes_on():
    assert times(found([0.9, 0, 0.5, 0], merge_gap_seconds=0.2)) == [("dog", 0, 0.1)]


def test_the_mean_over_an_event_counts_its_pauses():
    (event,) = found([0.9, 0, 0.9], merge_gap_seconds=0.2)
    assert event.top["dog"] == pytest.approx(0.6)


def test_short_events_are_dropped_after_merging():
    scores = [0.9, 0, 0.9, 0, 0, 0, 0.9]
    assert times(found(scores, merge_gap_seconds=0.1, min_duration_seconds=0.3)) == [
        ("dog", 0, 0.3)
    ]


def test_onset_and_offset_are_moved_back_by_their_own_lags():
    scores = [0, 0, 0, 0.9, 0.9, 0.9, 0.9, 0.9]
    lags = {"onset_lag_seconds": 0.2, "offset_lag_seconds": 0.4}
    assert times(found(scores, **lags)) == [("dog", 0.1, 0.4)]


def test_a_sound_shorter_than_the_lags_keeps_a_step_and_none_begins_before_the_start():
    lags = {"onset_lag_seconds": 0.1, "offset_lag_seconds": 0.6}
    assert times(found([0.9, 0, 0, 0, 0.9], **lags)) == [("dog", 0, 0.1), ("dog", 0.3, 0.4)]


def test_smoothing_spans_a_dip_and_moves_the_times_back_by_its_delay():
    scores = [0, 0, 0.9, 0.9, 0.2, 0.9, 0.9, 0, 0, 0]
    events = found(scores, smoothing_seconds=0.3, off_ratio=1.0, thresholds=(0.59, 0.59))
    assert times(events) == [("dog", 0.2, 0.7)]  # averages of 0.6, 0.67, 0.67, 0.67, 0.6
    assert events[0].score == pytest.approx(2 / 3, abs=1e-6)


def test_two_classes_may_be_heard_at_once():
    both = np.array([[0.7, 0.1], [0.7, 0.7], [0.1, 0.7], [0.1, 0.1]])
    assert times(found(both)) == [("dog", 0, 0.2), ("rain", 0.1, 0.3)]


def test_each_class_has_its_own_threshold_and_half_is_the_default():
    both = np.full((3, 2), 0.55)
    assert [e.label for e in found(both, thresholds=(0.5, 0.6))] == ["dog"]
    assert len(found(both, thresholds=())) == 2
    assert found(both - 0.1, thresholds=()) == []
    assert [e.label for e in found(both, thresholds=(0.5, 0.6), threshold=0.54)] == ["dog", "rain"]


@pytest.mark.parametrize("chunk", [1, 2, 7, 50])
def test_the_cut_of_the_stream_changes_nothing(chunk):
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.uniform(0, 1, (80, 2)), 3, axis=0) + rng.normal(0, 0.1, (240, 2))
    options = {"smoothing_seconds": 0.4, "merge_gap_seconds": 0.3, "min_duration_seconds": 0.2}
    whole = found(scores, **options)
    assert len(whole) > 5
    assert found(scores, chunk, **options) == whole


def test_events_come_as_soon_as_they_cannot_grow_any_more():
    finds = finder(merge_gap_seconds=0.2)
    scores = np.array([[0.9, 0]] + 4 * [[0, 0]], np.float32)
    state, when = finds.initial_state(), []
    for step, row in enumerate(scores):
        events, state = finds.step(row[None], state)
        when += [step] * len(events)
    assert when == [4]  # a pause of three steps is longer than the gap of two
    assert finds.finish(state) == []


def test_a_state_is_a_value():
    finds = finder(merge_gap_seconds=0.2)
    loud = np.array([[0.9, 0]], np.float32)
    _, state = finds.step(loud, finds.initial_state())
    first = finds.finish(state)
    finds.step(loud, state)
    assert finds.finish(state) == first
