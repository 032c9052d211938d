"""Labels and scores -> figures. Layer 1: NumPy and scikit-learn, no torch."""

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
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0.0
    )
    occurs = support > 0
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_f1": float(f1[occurs].mean()),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "support": int(support[number]),
            }
            for number, name in enumerate(classes)
        },
        "confusion_matrix": metrics.confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }
