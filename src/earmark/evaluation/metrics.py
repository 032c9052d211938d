"""Labels and scores -> figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def classification_metrics(
    labels: NDArray[np.int64], scores: NDArray[np.float32], classes: Sequence[str]
) -> dict[str, Any]:
    """Compare the most likely class of each clip with its label.

    Args:
        labels: true class numbers `(clips,)`.
        scores: probabilities `(clips, classes)`.
        classes: class names.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall over the classes that occur), `macro_f1` (over
        the same), `per_class` (precision, recall, f1, support by class name; 0 where undefined)
        and `confusion_matrix` (rows are true classes, columns predicted ones, in class order).
    """
    from sklearn import metrics

    predicted = scores.argmax(axis=1)
    numbers = np.arange(len(classes))
    per_class = _per_class(labels, predicted, classes)
    occurring = [row for row in per_class.values() if row["support"]]
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(np.mean([row["recall"] for row in occurring])),
        "macro_f1": float(np.mean([row["f1"] for row in occurring])),
        "per_class": per_class,
        "confusion_matrix": metrics.confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }


def metrics_of_confusion(
    matrix: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the per-class figures of a confusion matrix, as `classification_metrics` gives them.

    Args:
        matrix: clips by true class (rows) and predicted class (columns).
        classes: class names.
    """
    labels, predicted = (np.repeat(at.ravel(), matrix.ravel()) for at in np.indices(matrix.shape))
    return _per_class(labels, predicted, classes)


def _per_class(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    from sklearn import metrics

    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    return {
        name: {
            "precision": float(precision[number]),
            "recall": float(recall[number]),
            "f1": float(f1[number]),
            "support": int(support[number]),
        }
        for number, name in enumerate(classes)
    }
