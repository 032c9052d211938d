"""Mel frames -> LSTM steps, node by node: a function for each encoder of `earmark.nn.encoders`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from earmark.errors import ModelError
from earmark.export.graph import END, Graph, to_array
from earmark.export.lstm import keep_lstm_weights
from earmark.export.mobile import write_mobile
from earmark.nn.encoders import (
    ConvolutionalEncoder,
    Encoder,
    FrequencyEncoder,
    MobileEncoder,
    StackedEncoder,
)


def write_encoder(graph: Graph, encoder: Encoder, frames: str) -> str:
    """Write an encoder; its states have the names and shapes of `Encoder.state_shapes`.

    Args:
        graph: where to.
        encoder: the encoder.
        frames: `(batch, frames, mels)`, whole steps of them.

    Returns:
        The LSTM's inputs, `(steps, batch, features)`.

    Raises:
        ModelError: there is no way to write this kind of encoder.
    """
    writers: dict[type[Encoder], Callable[[Graph, Any, str], str]] = {
        ConvolutionalEncoder: _write_convolutional,
        FrequencyEncoder: _write_frequency,
        MobileEncoder: _write_mobile,
        StackedEncoder: _write_stacked,
    }
    kind = type(encoder)
    if kind not in writers:
        raise ModelError(f"a model with a {kind.__name__} cannot be exported; export another")
    return writers[kind](graph, encoder, frames)


def _declare_states(graph: Graph, encoder: Encoder) -> dict[str, str]:
    """Declare the states of an encoder that hold anything; return their names."""
    return {
        name: graph.declare_state(name, ["batch", *shape])
        for name, shape in encoder.state_shapes().items()
        if np.prod(shape)
    }


def _normalise(graph: Graph, encoder: Encoder, frames: str) -> str:
    scale = 1 / to_array(encoder.scale).astype(np.float64)
    shift = -to_array(encoder.mean) * scale
    return graph.add("Add", graph.add("Mul", frames, graph.constant(scale)), graph.constant(shift))


def _write_convolutional(graph: Graph, encoder: ConvolutionalEncoder, frames: str) -> str:
    states = _declare_states(graph, encoder)
    x = graph.add("Unsqueeze", _normalise(graph, encoder, frames), graph.integers(1))
    for number, layer in enumerate(encoder.convolutions):
        name = f"context_{number}"
        if name in states:
            x = graph.add("Concat", states[name], x, axis=2)
            graph.keep_last(x, layer.state_shape[1], axis=2, name=f"next_{name}")
        weights, bias = layer.fold_norm()
        side = int(layer.convolution.padding[1])
        x = graph.add(
            "Conv",
            x,
            graph.weights(to_array(weights), axis=0),
            graph.constant(to_array(bias)),
            strides=list(layer.convolution.stride),
            pads=[0, side, 0, side],
        )
        x = graph.add("Relu", x)
    return graph.reshape(graph.add("Transpose", x, perm=[2, 0, 1, 3]), 0, 0, -1)


def _write_mobile(graph: Graph, encoder: MobileEncoder, frames: str) -> str:
    states = _declare_states(graph, encoder)
    return write_mobile(graph, encoder, _normalise(graph, encoder, frames), states)


def _write_stacked(graph: Graph, encoder: StackedEncoder, frames: str) -> str:
    x = _write_differences(graph, encoder, frames)
    x = graph.reshape(x, 0, -1, encoder.output_size)
    return graph.add("Transpose", x, perm=[1, 0, 2])


def _write_differences(graph: Graph, encoder: StackedEncoder, frames: str) -> str:
    """Return normalised frames, with their changes where the encoder has them."""
    delta = encoder.delta
    if not delta:
        return _normalise(graph, encoder, frames)
    past = _declare_states(graph, encoder)["past"]
    # Before a stream's first frame stands that frame itself.
    fresh = graph.add("Equal", "steps", graph.integer(0))
    fresh = graph.add("Unsqueeze", fresh, graph.integers(1, 2))
    past = graph.add("Where", fresh, graph.slice(frames, 0, 1, axis=1), past)
    frames = graph.add("Concat", past, frames, axis=1)
    graph.keep_last(frames, delta, axis=1, name="next_past")
    x = _normalise(graph, encoder, frames)
    now = graph.slice(x, delta, END, axis=1)
    earlier = graph.slice(x, 0, -delta, axis=1)
    return graph.add("Concat", now, graph.add("Sub", now, earlier), axis=2)


def _write_frequency(graph: Graph, encoder: FrequencyEncoder, frames: str) -> str:
    x = _write_differences(graph, encoder, frames)
    width, lstm = encoder.width, encoder.frequency_lstm
    starts = np.arange(0, encoder.input_size - width + 1, encoder.stride)
    places = graph.constant(starts[:, None] + np.arange(width), np.int64)
    seen = graph.reshape(x, -1, encoder.rows, encoder.input_size)
    seen = graph.add("Gather", seen, places, axis=2)
    seen = graph.add("Transpose", seen, perm=[2, 0, 1, 3])  # (places, batch * steps, rows, width)
    seen = graph.reshape(seen, 0, 0, -1)
    weights = keep_lstm_weights(graph, lstm, ["l0", "l0_reverse"])
    y = graph.add("LSTM", seen, *weights, hidden_size=lstm.hidden_size, direction="bidirectional")
    y = graph.add("Transpose", y, perm=[2, 0, 1, 3])  # (batch * steps, places, 2, units)
    batch = graph.add("Shape", x, end=1)
    shape = graph.add("Concat", batch, graph.integers(-1, encoder.output_size), axis=0)
    return graph.add("Transpose", graph.add("Reshape", y, shape), perm=[1, 0, 2])
