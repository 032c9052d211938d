"""Predictions of whole files as text: a table for people, CSV, one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from earmark.decision.policy import NONE
from earmark.decision.prediction import Prediction
from earmark.output.writer import Emit, LineWriter, Writer, csv_line

FORMATS = ("table", "json", "csv")


def prediction_writer(
    format: str,
    emit: Emit,
    *,
    classes: Sequence[str],
    top: int = 3,
    threshold: float = 0.0,
    model: Mapping[str, Any] | None = None,
) -> Writer[Prediction]:
    """Return a writer of predictions.

    Args:
        format: one of `FORMATS`.
        emit: takes each line.
        classes: class names, in the order of the columns of CSV.
        top: classes that the table shows.
        threshold: of every class, for the JSON document; 0: each class's own.
        model: what the JSON document says of the model.
    """
    if format == "json":
        return JsonPredictions(emit, threshold, model or {})
    if format == "csv":
        return CsvPredictions(emit, classes)
    return TablePredictions(emit, top)


class TablePredictions(LineWriter):
    """Writes a line for each clip: its label and the most likely classes.

    Args:
        emit: takes each line.
        top: classes to show.
    """

    def __init__(self, emit: Emit, top: int) -> None:
        super().__init__(emit)
        self.top = top

    def write(self, result: Prediction) -> None:
        """Write the next prediction."""
        # The label comes first, also where a class with a higher threshold is more likely.
        ranked = sorted(result.scores.items(), key=lambda item: item[0] != result.label)
        shown = "  ".join(f"{name} {score:.3f}" for name, score in ranked[: self.top])
        if not result.accepted:
            shown = f"{NONE}  ({shown})"
        self.emit(f"{result.path}  {shown}")


class CsvPredictions(LineWriter):
    """Writes a row for each clip; the score is empty where the clip is none of these.

    Args:
        emit: takes each line.
        classes: class names, in the order of the columns.
    """

    def __init__(self, emit: Emit, classes: Sequence[str]) -> None:
        super().__init__(emit)
        self.classes = tuple(classes)

    def open(self) -> None:
        """Write the names of the columns."""
        self.emit(csv_line(["path", "seconds", "prediction", "score", *self.classes]))

    def write(self, result: Prediction) -> None:
        """Write the next prediction."""
        score = "" if result.score is None else f"{result.score:.6f}"
        scores = [f"{result.scores[name]:.6f}" for name in self.classes]
        self.emit(csv_line([result.path, f"{result.seconds:.3f}", result.label, score, *scores]))


class JsonPredictions(LineWriter):
    """Writes one document when all is done.

    Args:
        emit: takes the document.
        threshold: of every class; 0: each class's own.
        model: what to say of the model.
    """

    def __init__(self, emit: Emit, threshold: float, model: Mapping[str, Any]) -> None:
        super().__init__(emit)
        self._threshold, self._model = threshold, dict(model)
        self._predictions: list[dict[str, Any]] = []

    def write(self, result: Prediction) -> None:
        """Keep the next prediction."""
        self._predictions.append(result.to_dict())

    def close(self, failures: Sequence[str] = ()) -> None:
        """Write the document."""
        document = {
            "model": self._model,
            "threshold": self._threshold or None,  # None: each class's own
            "predictions": self._predictions,
            "failures": list(failures),
        }
        self.emit(json.dumps(document, indent=2, ensure_ascii=False))
