"""LSTM outputs -> pooled vectors, node by node: what each pooling of `earmark.nn.pooling` does."""

from __future__ import annotations

from typing import Protocol

from earmark.errors import ModelError
from earmark.export.graph import END, Graph
from earmark.nn.pooling import (
    MOST_WEIGHT,
    AttentionPooling,
    LastPooling,
    MaxPooling,
    MeanMaxPooling,
    MeanPooling,
    Pooling,
)


def write_pooling(graph: Graph, pooling: Pooling, outputs: str, count: str) -> str:
    """Pool the window of every step, and then everything so far.

    The states are `recent (batch, window_less_one, statistics)` and `pooled (batch, statistics)`,
    if the pooling has statistics.

    Args:
        graph: where to.
        pooling: the pooling.
        outputs: of the LSTM, `(batch, steps, hidden)`.
        count: the number of steps, `(1,)`.

    Returns:
        What the head classifies, `(batch, steps + 1, pooled)`.

    Raises:
        ModelError: there is no way to write this kind of pooling.
    """
    if isinstance(pooling, LastPooling):
        last = graph.slice(outputs, -1, END, axis=1)
        return graph.add("Concat", outputs, last, axis=1)
    writer = _choose_writer(pooling)
    recent = graph.declare_state("recent", ["batch", "window_less_one", pooling.statistics])
    pooled = graph.declare_state("pooled", ["batch", pooling.statistics])
    before = graph.add("Unsqueeze", pooled, graph.integers(1))
    fresh = writer.measure(graph, outputs)
    joined = graph.add("Concat", recent, fresh, axis=1)
    along = graph.integers(1)
    graph.add("Slice", joined, count, graph.integers(END), along, name="next_recent")

    windows = _write_windows(graph, joined, recent, count)
    segments = writer.join(graph, windows, axis=2, keepdims=0)
    # Summed first, so that not every step is rounded against the sum of hours.
    fresh = writer.join(graph, fresh, axis=1, keepdims=1)
    whole = graph.add("Concat", before, fresh, axis=1)
    whole = writer.join(graph, whole, axis=1, keepdims=1)
    graph.add("Squeeze", whole, along, name="next_pooled")
    return writer.finish(graph, graph.add("Concat", segments, whole, axis=1))


def _write_windows(graph: Graph, joined: str, recent: str, count: str) -> str:
    """Cut the window of every step out of statistics: `(batch, steps, window, statistics)`."""
    zero, one = graph.integer(0), graph.integer(1)
    length = graph.add("Squeeze", graph.add("Shape", recent, start=1, end=2))
    window = graph.add("Add", length, one)
    starts = graph.add("Range", zero, graph.add("Squeeze", count), one)
    starts = graph.add("Unsqueeze", starts, graph.integers(1))
    places = graph.add("Add", starts, graph.add("Range", zero, window, one))
    return graph.add("Gather", joined, places, axis=1)


class _Writer(Protocol):
    """Writes measure, join and finish of one kind of pooling; see `Pooling`."""

    def measure(self, graph: Graph, outputs: str) -> str: ...

    def join(self, graph: Graph, statistics: str, *, axis: int, keepdims: int) -> str: ...

    def finish(self, graph: Graph, statistics: str) -> str: ...


def _choose_writer(pooling: Pooling) -> _Writer:
    """Return what writes a pooling that has statistics.

    Raises:
        ModelError: nothing does.
    """
    if isinstance(pooling, MeanMaxPooling):
        return _MeanMaxWriter(pooling)
    if isinstance(pooling, MeanPooling):
        return _MeanWriter(pooling)
    if isinstance(pooling, MaxPooling):
        return _MaxWriter()
    raise ModelError(f"a model with {type(pooling).__name__} cannot be exported; export another")


class _MeanWriter:
    def __init__(self, pooling: MeanPooling) -> None:
        self.pooling = pooling

    def measure(self, graph: Graph, outputs: str) -> str:
        behind = graph.integers(0, 0, 0, 0, 0, 1)
        values = graph.add("Pad", outputs, behind, graph.constant(1.0))  # each output, and a weight
        if not isinstance(self.pooling, AttentionPooling):
            return values
        asked = graph.linear(outputs, self.pooling.attention)
        least, most = graph.constant(-MOST_WEIGHT), graph.constant(MOST_WEIGHT)
        weights = graph.add("Exp", graph.add("Clip", asked, least, most))
        return graph.add("Mul", values, weights)

    def join(self, graph: Graph, statistics: str, *, axis: int, keepdims: int) -> str:
        return graph.add("ReduceSum", statistics, graph.integers(axis), keepdims=keepdims)

    def finish(self, graph: Graph, statistics: str) -> str:
        size = self.pooling.size
        total = graph.slice(statistics, 0, size, axis=2)
        weight = graph.slice(statistics, size, size + 1, axis=2)
        return graph.add("Div", total, weight)


class _MaxWriter:
    def measure(self, graph: Graph, outputs: str) -> str:
        return graph.add("Add", outputs, graph.constant(1.0))

    def join(self, graph: Graph, statistics: str, *, axis: int, keepdims: int) -> str:
        return graph.add("ReduceMax", statistics, axes=[axis], keepdims=keepdims)

    def finish(self, graph: Graph, statistics: str) -> str:
        return graph.add("Sub", statistics, graph.constant(1.0))


class _MeanMaxWriter:
    def __init__(self, pooling: MeanMaxPooling) -> None:
        self.mean, self.largest = _MeanWriter(pooling.mean), _MaxWriter()
        self.place = pooling.mean.statistics  # where the largest begin

    def measure(self, graph: Graph, outputs: str) -> str:
        parts = [self.mean.measure(graph, outputs), self.largest.measure(graph, outputs)]
        return graph.add("Concat", *parts, axis=2)

    def join(self, graph: Graph, statistics: str, *, axis: int, keepdims: int) -> str:
        summed, largest = self._split(graph, statistics)
        summed = self.mean.join(graph, summed, axis=axis, keepdims=keepdims)
        largest = self.largest.join(graph, largest, axis=axis, keepdims=keepdims)
        return graph.add("Concat", summed, largest, axis=-1)

    def finish(self, graph: Graph, statistics: str) -> str:
        summed, largest = self._split(graph, statistics)
        parts = [self.mean.finish(graph, summed), self.largest.finish(graph, largest)]
        return graph.add("Concat", *parts, axis=2)

    def _split(self, graph: Graph, statistics: str) -> tuple[str, str]:
        return (
            graph.slice(statistics, 0, self.place, axis=-1),
            graph.slice(statistics, self.place, END, axis=-1),
        )
