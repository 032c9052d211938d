"""How the folds' scores become one decision, on scores made up for it."""

from dataclasses import replace

import numpy as np
import pytest
from tools.base_folds import NEGATIVE_KINDS, OTHERS_RATE, Decision, FoldScores, measure

from earmark.decision.policy import Policy


def made_up(fold, count=120, classes=4):
    """A fold whose known clips have cosines around 0.7, all others around 0.3."""
    rng = np.random.default_rng(fold)
    labels = np.arange(count) % classes
    scores = np.full((count, classes), 0.02)
    scores[np.arange(count), labels] = 1 - 0.02 * (classes - 1)
    scores[:6] = np.roll(scores[:6], 1, axis=1)  # wrong ones
    first, second = (
        (rng.dirichlet(np.full(classes, 0.3), 80), rng.normal(0.3, 0.07, 80)) for _ in range(2)
    )
    return FoldScores(
        fold=fold,
        epochs=1.0,
        labels=labels,
        known=labels < 2,
        scores=scores,
        cosine=rng.normal(0.7, 0.07, count),
        cosine_without=rng.normal(0.35, 0.07, count),
        negatives=(first, second),
    )


def test_a_decision_accepts_the_known_and_few_others():
    rows = [made_up(fold) for fold in range(1, 6)]
    decision = Decision.fit(rows, rows[0].negatives[0])
    assert decision.slope > 5
    assert -decision.offset / decision.slope == pytest.approx(0.51, abs=0.06)
    policy = Policy(decision.calibration.thresholds)
    fresh = made_up(9)
    assert policy.accepted(decision.scores(fresh.scores, fresh.cosine)).mean() > 0.9
    assert policy.accepted(decision.scores(*fresh.negatives[0])).mean() < 0.1
    assert fresh.without_own().sum(1) == pytest.approx(1.0)


def test_a_class_that_a_kind_of_negatives_is_taken_for_asks_for_more():
    rows = [made_up(fold) for fold in range(1, 6)]
    before = Decision.fit(rows, rows[0].negatives[0]).calibration.thresholds
    scores, cosine = (part.copy() for part in rows[0].negatives[0])
    scores[1::NEGATIVE_KINDS] = (0.01, 0.01, 0.97, 0.01)  # noise, say, which is much like class 2
    cosine[1::NEGATIVE_KINDS] = 0.6
    after = Decision.fit(rows, (scores, cosine)).calibration.thresholds
    assert after[2] > before[2] + 0.1
    assert after[:2] + after[3:] == before[:2] + before[3:]


def test_clips_as_if_their_class_were_none_pass_at_their_rate():
    rows = [replace(made_up(fold), cosine_without=np.full(120, 0.6)) for fold in range(1, 6)]
    decision = Decision.fit(rows, rows[0].negatives[0])
    policy = Policy(decision.calibration.thresholds)
    passed = [
        policy.accepted(decision.scores(row.without_own(), row.cosine_without)).mean()
        for row in rows
    ]
    assert np.median(passed) <= OTHERS_RATE + 1 / 120


def test_figures_are_those_of_the_folds():
    figures = measure([made_up(fold) for fold in range(1, 6)], list("abcd"))
    assert figures["accuracy"] == pytest.approx(0.95)
    assert figures["coverage"] > 0.9
    assert figures["negatives_accepted"] < 0.1
    assert figures["others_accepted"] < 0.2
    assert list(figures["per_class"]) == list("abcd")
