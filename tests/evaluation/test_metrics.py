"""Figures worked out by hand."""

import numpy as np
import pytest

from earmark.evaluation.metrics import classification_metrics

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 1])


@pytest.fixture
def metrics():
    scores = np.eye(4, dtype=np.float32)[PREDICTED]
    return classification_metrics(LABELS, scores, ["a", "b", "c", "never"])


def test_overall_figures_leave_out_classes_that_do_not_occur(metrics):
    assert metrics["accuracy"] == pytest.approx(3 / 6)
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    f1_a, f1_b = 2 * 2 / (3 + 3), 2 * 1 / (3 + 2)
    assert metrics["macro_f1"] == pytest.approx((f1_a + f1_b + 0) / 3)


def test_per_class_figures(metrics):
    assert metrics["per_class"]["b"] == {
        "precision": pytest.approx(1 / 3),
        "recall": pytest.approx(1 / 2),
        "f1": pytest.approx(0.4),
        "support": 2,
    }
    assert metrics["per_class"]["never"]["support"] == 0


def test_rows_of_the_confusion_matrix_are_true_classes(metrics):
    assert metrics["confusion_matrix"] == [
        [2, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]
