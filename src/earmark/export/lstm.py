"""The LSTM over time, node by node, and the weights of any LSTM as ONNX orders them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from earmark.export.graph import Array, Graph, to_array
from earmark.nn.lstm import ResidualLSTM


def keep_lstm_weights(graph: Graph, lstm: nn.LSTM, directions: Sequence[str]) -> list[str]:
    """Keep the weights of one layer of an LSTM.

    Args:
        graph: where to.
        lstm: the LSTM.
        directions: the ends of torch's names of the layer's weights, such as `l0`, `l0_reverse`.

    Returns:
        The names of input weights `(directions, 4 hidden, inputs)`, recurrent weights
        `(directions, 4 hidden, hidden)` and biases `(directions, 8 hidden)`.
    """
    inside, recurrent, *biases = (
        np.stack([_order_gates(to_array(getattr(lstm, f"{name}_{end}"))) for end in directions])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    bias = graph.constant(np.concatenate(biases, axis=1))
    return [graph.weights(inside, axis=1), graph.weights(recurrent, axis=1), bias]


def write_lstm(graph: Graph, lstm: nn.LSTM, steps: str) -> str:
    """Write a unidirectional LSTM; its state is `hidden` and `cell (batch, layers, units)`.

    Args:
        graph: where to.
        lstm: the LSTM.
        steps: its inputs, `(steps, batch, features)`.

    Returns:
        The last layer's outputs, `(batch, steps, units)`; of a `ResidualLSTM` its inputs with the
        mapped outputs added, `(batch, steps, features)`.
    """
    inputs = steps
    layers, units = lstm.num_layers, lstm.hidden_size
    before = {}
    for name in ("hidden", "cell"):
        given = graph.declare_state(name, ["batch", layers, units])
        before[name] = graph.add("Transpose", given, perm=[1, 0, 2])
    after: dict[str, list[str]] = {"hidden": [], "cell": []}
    for layer in range(layers):
        weights = keep_lstm_weights(graph, lstm, [f"l{layer}"])
        own = [
            value if layers == 1 else graph.slice(value, layer, layer + 1, axis=0)
            for value in before.values()
        ]
        names = [f"lstm_{layer}", f"lstm_{layer}_hidden", f"lstm_{layer}_cell"]
        graph.add_several("LSTM", steps, *weights, "", *own, names=names, hidden_size=units)
        steps = graph.add("Squeeze", names[0], graph.integers(1))
        after["hidden"].append(names[1])
        after["cell"].append(names[2])
    for name, parts in after.items():
        whole = graph.concat(parts, axis=0)
        graph.add("Transpose", whole, perm=[1, 0, 2], name=f"next_{name}")
    outputs = graph.add("Transpose", steps, perm=[1, 0, 2])
    if not isinstance(lstm, ResidualLSTM):
        return outputs
    inputs = graph.add("Transpose", inputs, perm=[1, 0, 2])
    return graph.add("Add", inputs, graph.linear(outputs, lstm.mend))


def _order_gates(weights: Array) -> Array:
    """Reorder torch's gates (in, forget, cell, out) into ONNX's (in, out, forget, cell)."""
    into, forget, cell, out = np.split(weights, 4)
    return np.concatenate([into, out, forget, cell])
