"""Temperature, calibration error, thresholds: against worked examples and known truths."""

import numpy as np
import pytest

from earmark.decision.calibration import (
    auroc,
    cross_entropy,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    reliability,
    with_temperature,
)
from earmark.decision.policy import Policy


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def drawn():
    """Labels drawn from known probabilities, and the logits of these."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    true = softmax(logits)
    labels = np.array([rng.choice(5, p=row / row.sum()) for row in true.astype(np.float64)])
    return labels, logits


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_known_sharpening(drawn, sharpened):
    labels, logits = drawn
    scores = softmax(logits * sharpened)
    temperature = fit_temperature(labels, scores)
    assert temperature == pytest.approx(sharpened, rel=0.06)
    calibrated = with_temperature(scores, temperature)
    np.testing.assert_allclose(calibrated, softmax(logits), atol=0.02)
    assert expected_calibration_error(labels, calibrated) < 0.02
    if sharpened == 3.0:
        assert expected_calibration_error(labels, scores) > 0.08


def test_a_temperature_changes_no_order_and_1_changes_nothing():
    scores = softmax(np.random.default_rng(1).normal(0, 3, (50, 4)))
    np.testing.assert_allclose(with_temperature(scores, 1.0), scores, atol=1e-6)
    hot = with_temperature(scores, 4.0)
    np.testing.assert_array_equal(np.argsort(hot), np.argsort(scores))
    np.testing.assert_allclose(hot.sum(axis=1), 1, atol=1e-6)


def test_another_temperature_leaves_the_probability_of_no_class_as_it_is():
    sure = np.array([[0.9, 0.06, 0.04]], np.float32)
    doubtful = (0.25 * sure).astype(np.float32)
    hot = with_temperature(doubtful, 3.0)
    np.testing.assert_allclose(hot, 0.25 * with_temperature(sure, 3.0), atol=1e-6)
    assert hot.sum() == pytest.approx(0.25, abs=1e-6)
    np.testing.assert_allclose(with_temperature(hot, 1 / 3), doubtful, atol=1e-6)


def test_a_score_of_zero_stays_finite():
    scores = np.array([[1.0, 0.0]], np.float32)
    assert np.isfinite(with_temperature(scores, 3.0)).all()
    assert np.isfinite(cross_entropy(np.array([1]), scores))


def test_the_calibration_error_of_a_worked_example():
    scores = np.array([[0.95, 0.05]] * 4 + [[0.35, 0.65]] * 4, np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 0])  # 3 of 4 at 0.95, 2 of 4 at 0.65
    assert expected_calibration_error(labels, scores) == pytest.approx((0.2 + 0.15) / 2)
    rows = reliability(labels, scores)
    assert [(row["clips"], row["accuracy"]) for row in rows] == [(4, 0.5), (4, 0.75)]
    assert (rows[0]["low"], rows[0]["high"]) == (0.6, 0.7)


def test_thresholds_keep_the_stated_rate_of_backgrounds_out():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    scores = softmax(4 * np.eye(3)[labels] + rng.normal(0, 1.0, (60, 3)))
    negative = softmax(rng.normal(0, 0.5, (500, 3)))
    made = fit_calibration(labels, scores, negative, rate=0.02)
    assert (made.clips, made.negatives, made.false_alarm_rate) == (60, 500, 0.02)
    passed = Policy(made.thresholds).accepted(with_temperature(negative, made.temperature))
    assert 0 < passed.mean() <= 0.02
    assert Policy(made.thresholds).accepted(with_temperature(scores, made.temperature)).mean() > 0.9


def test_a_class_that_others_are_taken_for_has_a_higher_threshold():
    labels = np.array([0] * 50 + [1] * 50)
    scores = np.array([[0.9, 0.1]] * 50 + [[0.05, 0.95]] * 40 + [[0.7, 0.3]] * 10, np.float32)
    negative = np.full((100, 2), 0.5, np.float32)
    first, second = fit_calibration(labels, scores, negative, rate=0.05).thresholds
    assert first > second


def test_no_backgrounds_make_no_thresholds_and_nothing_is_rejected():
    scores = softmax(np.random.default_rng(0).normal(0, 1, (20, 3)))
    made = fit_calibration(scores.argmax(axis=1), scores, None)
    assert made.thresholds == ()
    assert Policy(made.thresholds).accepted(scores).all()


def test_no_threshold_is_out_of_reach():
    sure = np.array([[0.999999, 0.000001]] * 50, np.float32)
    made = fit_calibration(np.array([0] * 50), sure, sure)
    assert max(made.thresholds) <= 0.99


def test_auroc_of_separate_equal_and_mixed_scores():
    low, high = np.array([0.1, 0.2]), np.array([0.8, 0.9])
    assert auroc(high, low) == 1.0
    assert auroc(low, high) == 0.0
    assert auroc(np.array([0.1, 0.8]), np.array([0.2])) == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_equal_backgrounds_at_the_threshold_do_not_pass(seed):
    """Digital silence is many clips of one score, which must not lie on the passing side."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 60)
    scores = softmax(6 * np.eye(3)[labels] + rng.normal(0, 0.3, (60, 3)))
    negative = softmax(rng.normal(0, 0.3, (240, 3)))
    loudest = negative[negative.max(axis=1).argsort()[-1:]]
    negative = np.concatenate([negative, np.repeat(loudest, 30, axis=0)])
    made = fit_calibration(labels, scores, negative)
    passed = Policy(made.thresholds).accepted(with_temperature(negative, made.temperature))
    assert passed.mean() <= made.false_alarm_rate


def test_for_a_clip_of_no_class_every_class_is_as_right():
    scores = np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]], np.float32)
    even = -np.log(scores[1]).mean()
    assert cross_entropy(np.array([0, -1]), scores) == pytest.approx((-np.log(0.5) + even) / 2)
    assert cross_entropy(np.array([0, -1]), scores) != cross_entropy(np.array([0, 0]), scores)


def test_the_rate_holds_for_recorded_and_for_generated_negatives_each():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    scores = softmax(6 * np.eye(3)[labels] + rng.normal(0, 0.5, (60, 3)))
    generated = softmax(rng.normal(0, 0.3, (500, 3)))
    recorded = softmax(rng.normal(0, 1.5, (40, 3)))  # few, and nearer to the classes
    together = np.concatenate([labels, np.full(40, -1)]), np.concatenate([scores, recorded])
    made = fit_calibration(*together, generated)
    assert (made.clips, made.negatives) == (60, 540)
    plain = fit_calibration(labels, scores, generated)
    assert made.temperature == plain.temperature  # negatives have no part in it
    assert min(made.thresholds) > min(plain.thresholds)
    for kind in (generated, recorded):
        passed = Policy(made.thresholds).accepted(with_temperature(kind, made.temperature))
        assert passed.mean() <= made.false_alarm_rate
    assert (
        Policy(plain.thresholds).accepted(with_temperature(recorded, plain.temperature)).mean()
        > 2 * made.false_alarm_rate
    )


def test_recorded_negatives_alone_make_thresholds():
    rng = np.random.default_rng(1)
    labels = np.array([0, 1, 2] * 10 + [-1] * 20)
    scores = softmax(5 * np.eye(4)[labels][:, :3] + rng.normal(0, 0.3, (50, 3)))
    made = fit_calibration(labels, scores, None)
    assert len(made.thresholds) == 3
    assert (made.clips, made.negatives) == (30, 20)
