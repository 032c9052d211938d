"""Why an event was not raised: the first rule that stopped it."""

import numpy as np

from earmark.config import EventSettings
from earmark.runtime.events import EventFinder
from earmark.serve.why import Explainer

SETTINGS = EventSettings(
    smoothing_seconds=0.4, min_duration_seconds=0.3, merge_gap_seconds=0.2, onset_lag_seconds=0.0
)


def explain(scores, *, off=False, cut=20):
    """Find events and reasons in the scores of one class at 0.1 s a step, threshold 0.5."""
    finder = EventFinder(("dog",), (2.0 if off else 0.5,), 0.1, SETTINGS)
    explainer = Explainer(finder, SETTINGS)
    explainer.set_thresholds(np.full_like(explainer.thresholds, 0.5))
    explainer.off[:] = off
    state, events, reasons = finder.initial_state(), [], []
    rows = np.array([*scores, *[0.0] * 12], np.float32)[:, None]
    for part in np.array_split(rows, cut):
        (smooth, _), at = finder.smooth(part, state), state.steps
        ended, state = finder.step(part, state)
        reasons += explainer.step(part, smooth, at, ended)
        events += ended
    rest = finder.finish(state)
    return events + rest, reasons + explainer.finish(rest)


def rule(scores, **options):
    events, reasons = explain([0.0] * 6 + scores, **options)
    assert not events
    (reason,) = reasons
    return reason.rule


def test_each_rule_is_named():
    assert rule([0.4, 0.45, 0.4, 0.4, 0.4]) == "threshold"
    assert rule([0.9, 0.0]) == "smoothing"
    assert rule([0.9, 0.9, 0.3]) == "duration"
    assert rule([0.9] * 8, off=True) == "filter"


def test_what_was_raised_and_what_was_never_near_has_no_reason():
    assert [len(one) for one in explain([0.9] * 10)] == [1, 0]
    assert explain([0.2] * 10) == ([], [])


def test_no_reason_depends_on_the_cut():
    scores = [0.0] * 6 + [0.9, 0.0] + [0.0] * 8 + [0.9] * 6 + [0.0] * 8 + [0.4] * 4
    for cut in (1, 3, 18, 25, 60):
        events, reasons = explain(scores, cut=cut)
        assert len(events) == 1
        assert [one.rule for one in reasons] == ["smoothing", "threshold"]


def test_a_reason_says_the_figures():
    _, (reason,) = explain([0.0] * 6 + [0.9, 0.0])
    assert reason.to_dict()["raw"] == 0.9
    assert "0.90" in reason.text
    assert "0.50" in reason.text
