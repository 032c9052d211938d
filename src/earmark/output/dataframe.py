"""Results as a table of pandas, which is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from earmark.decision.prediction import Prediction
from earmark.errors import EarmarkError
from earmark.runtime.events import Event

Result = Prediction | Event


def to_dataframe(results: Result | Iterable[Result]) -> Any:
    """Return predictions or events as a pandas.DataFrame, a row for each.

    Args:
        results: one or many, all of a kind.

    Returns:
        The columns of `to_dict`; the scores of a prediction stand in a column for each class, and
        what most likely sounded with an event is left out.

    Raises:
        EarmarkError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise EarmarkError("a data frame needs pandas: pip install pandas") from None
    if isinstance(results, (Prediction, Event)):
        results = [results]
    return pandas.DataFrame([_row(result) for result in results])


def _row(result: Result) -> dict[str, Any]:
    row = result.to_dict()
    scores = row.pop("scores", {})
    row.pop("top", None)
    return {**row, **dict(sorted(scores.items()))}
