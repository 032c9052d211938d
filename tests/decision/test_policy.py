"""One decision: a class counts from its own threshold on, the best of those that count is it."""

import numpy as np
import pytest

from earmark.config import EventSettings
from earmark.decision.policy import NO_CLASS, NONE, Policy
from earmark.decision.prediction import Prediction
from earmark.runtime.events import EventFinder

CLASSES = ("Rain", "Sea waves", "Rooster")
THRESHOLDS = (0.546, 0.322, 0.322)
# The most likely class stays below its threshold, the second reaches its own.
SCORES = np.array([0.50, 0.40, 0.10], np.float32)


def predicted(scores, thresholds=THRESHOLDS, **options):
    policy = Policy.of_model(thresholds, len(CLASSES), **options)
    return Prediction.of_scores("clip.wav", 5.0, CLASSES, np.array(scores, np.float32), policy)


def found(scores, thresholds=THRESHOLDS, **settings):
    finder = EventFinder(
        CLASSES,
        thresholds,
        0.1,
        EventSettings(smoothing_seconds=0, min_duration_seconds=0, **settings),
    )
    rows = np.tile(np.array(scores, np.float32), (20, 1))
    events, state = finder.step(rows, finder.initial_state())
    return [event.label for event in events + finder.finish(state)]


def test_a_clip_and_a_stream_are_given_the_same_label():
    assert predicted(SCORES).label == "Sea waves"
    assert found(SCORES) == ["Sea waves"]


def test_the_score_is_that_of_the_label():
    prediction = predicted(SCORES)
    assert prediction.score == pytest.approx(0.40)
    assert prediction.accepted
    assert prediction.most_likely == "Rain"
    said = prediction.to_dict()
    assert (said["prediction"], said["most_likely"]) == ("Sea waves", "Rain")
    assert said["score"] == pytest.approx(0.40)
    assert list(said["scores"]) == list(CLASSES)


def test_where_no_class_counts_there_is_no_score():
    prediction = predicted([0.5, 0.3, 0.2])
    assert (prediction.label, prediction.accepted, prediction.score) == (NONE, False, None)
    assert prediction.to_dict()["score"] is None
    assert prediction.to_dict()["most_likely"] == "Rain"
    assert found([0.5, 0.3, 0.2]) == []


def test_of_those_that_count_the_best_is_the_label():
    assert predicted([0.56, 0.40, 0.04]).label == "Rain"
    assert predicted([0.10, 0.42, 0.48]).label == "Rooster"


def test_without_thresholds_a_clip_has_its_most_likely_class_and_a_stream_needs_half():
    assert predicted([0.4, 0.35, 0.25], ()).label == "Rain"
    assert found([0.4, 0.35, 0.25], ()) == []
    assert found([0.6, 0.25, 0.15], ()) == ["Rain"]


def test_one_threshold_may_take_the_place_of_all():
    assert predicted(SCORES, threshold=0.45).label == "Rain"
    assert found(SCORES, threshold=0.45) == ["Rain"]
    assert predicted(SCORES, threshold=0.6).label == NONE


def test_a_score_at_its_threshold_counts():
    at = float(np.float32(0.322))
    assert Policy((at,)).decide(np.array([[0.322], [0.3219]], np.float32)).tolist() == [0, NO_CLASS]


def test_many_clips_are_decided_at_once():
    policy = Policy(THRESHOLDS)
    scores = np.array([SCORES, [0.5, 0.3, 0.2], [0.9, 0.1, 0.0]], np.float32)
    assert policy.decide(scores).tolist() == [1, NO_CLASS, 0]
    assert policy.accepted(scores).tolist() == [True, False, True]
    assert policy.counts(scores).shape == (3, 3)
