"""How the folds' scores become one decision, on scores made up for it."""

import numpy as np
import pytest
from tools.base_folds import Decision, FoldScores, measure

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
    decision = Decision.fit(rows)
    assert decision.slope > 5
    assert -decision.offset / decision.slope == pytest.approx(0.51, abs=0.06)
    policy = Policy(decision.calibration.thresholds)
    fresh = made_up(9)
    assert policy.accepted(decision.scores(fresh.scores, fresh.cosine)).mean() > 0.9
    assert policy.accepted(decision.scores(*fresh.negatives[0])).mean() < 0.1
    assert fresh.without_own().sum(1) == pytest.approx(1.0)


def test_figures_are_those_of_the_folds():
    figures = measure([made_up(fold) for fold in range(1, 6)], list("abcd"))
    assert figures["accuracy"] == pytest.approx(0.95)
    assert figures["coverage"] > 0.9
    assert figures["negatives_accepted"] < 0.1
    assert figures["others_accepted"] < 0.2
    assert list(figures["per_class"]) == list("abcd")
