"""A mobile encoder, node by node: stem, inverted residual blocks, last convolution."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx import TensorProto
from torch import nn

from earmark.export.graph import Graph, to_array
from earmark.nn.encoders import MobileEncoder
from earmark.nn.encoders.inverted_residual import (
    FoldedConvolution,
    InvertedResidual,
    RunningExcitation,
)

States = Mapping[str, str]  # the names of the states that are declared


def write_mobile(graph: Graph, encoder: MobileEncoder, frames: str, states: States) -> str:
    """Write stem, blocks and last convolution.

    Args:
        graph: where to.
        encoder: the encoder.
        frames: `(batch, frames, mels)`, normalised.
        states: those of the encoder.

    Returns:
        The LSTM's inputs, `(steps, batch, features)`.
    """
    x = graph.add("Unsqueeze", frames, graph.integers(1))
    x = _write_convolution(graph, encoder.stem, x, states.get("context_0"))
    matrices: dict[float, str] = {}  # of running means, by how they forget
    for number, block in enumerate(encoder.blocks, start=1):
        x = _write_block(graph, block, x, number, states, matrices)
    x = _write_convolution(graph, encoder.last, x, None)
    x = graph.add("ReduceMean", x, axes=[3], keepdims=0)  # (batch, features, steps)
    return graph.add("Transpose", x, perm=[2, 0, 1])


def _write_convolution(graph: Graph, layer: FoldedConvolution, x: str, context: str | None) -> str:
    if context is not None:
        x = graph.add("Concat", context, x, axis=2)
        graph.keep_last(x, layer.state_shape[1], axis=2, name=f"next_{context}")
    own = layer.convolution
    side = int(own.padding[1])
    bias = own.bias
    x = graph.add(
        "Conv",
        x,
        graph.weights(to_array(own.weight), axis=0),
        *([] if bias is None else [graph.constant(to_array(bias))]),
        strides=list(own.stride),
        pads=[0, side, 0, side],
        group=own.groups,
    )
    if isinstance(layer.activation, nn.Hardswish):
        return graph.add("HardSwish", x)
    return graph.add("Relu", x) if isinstance(layer.activation, nn.ReLU) else x


def _write_block(
    graph: Graph,
    block: InvertedResidual,
    x: str,
    number: int,
    states: States,
    matrices: dict[float, str],
) -> str:
    y = x
    if block.expand is not None:
        y = _write_convolution(graph, block.expand, y, None)
    y = _write_convolution(graph, block.depthwise, y, states.get(f"context_{number}"))
    if block.excitation is None:
        y = _write_convolution(graph, block.project, y, None)
    else:
        decay = block.excitation.decay
        if decay not in matrices:
            matrices[decay] = _write_weights(graph, y, decay)
        y = graph.add("Transpose", y, perm=[0, 2, 3, 1])  # channels last
        excited = states[f"excited_{number}"]
        y = _write_excitation(graph, block.excitation, y, excited, matrices[decay])
        y = _write_projection(graph, block.project.convolution, y)
        y = graph.add("Transpose", y, perm=[0, 3, 1, 2])
    if not block.residual:
        return y
    if block.delay:
        skipped = states[f"skipped_{number}"]
        joined = graph.add("Concat", skipped, x, axis=2)
        graph.keep_last(joined, block.delay, axis=2, name=f"next_{skipped}")
        x = graph.slice(joined, 0, -block.delay, axis=2)
    return graph.add("Add", y, x)


def _write_weights(graph: Graph, x: str, decay: float) -> str:
    """Return what each step weighs at each later one, `(steps, 1 + steps)`, the sums first."""
    zero, one = graph.integer(0), graph.integer(1)
    count = graph.add("Squeeze", graph.add("Shape", x, start=2, end=3))
    rows = graph.add("Unsqueeze", graph.add("Range", zero, count, one), graph.integers(1))
    columns = graph.add("Range", graph.integer(-1), count, one)
    ages = graph.add("Cast", graph.add("Sub", rows, columns), to=TensorProto.FLOAT)
    past = graph.add("GreaterOrEqual", ages, graph.constant(0))
    weights = graph.add("Exp", graph.add("Mul", ages, graph.constant(math.log(decay))))
    return graph.add("Where", past, weights, graph.constant(0))


def _write_excitation(
    graph: Graph, layer: RunningExcitation, x: str, excited: str, weights: str
) -> str:
    """Scale the channels of `(batch, steps, bands, channels)`.

    With the channels last a step's scales are multiplied in one go, and no mean is transposed.
    """
    means = graph.add("ReduceMean", x, axes=[2], keepdims=0)
    behind = graph.integers(0, 0, 0, 0, 0, 1)
    means = graph.add("Pad", means, behind, graph.constant(1))  # (batch, steps, channels + 1)
    before = graph.add("Unsqueeze", excited, graph.integers(1))
    running = graph.add("MatMul", weights, graph.add("Concat", before, means, axis=1))
    graph.add("Gather", running, graph.integer(-1), axis=1, name=f"next_{excited}")
    total = graph.slice(running, 0, layer.channels, axis=2)
    weight = graph.slice(running, layer.channels, layer.channels + 1, axis=2)
    squeezed = graph.linear(graph.add("Div", total, weight), layer.fc1)
    scale = graph.linear(graph.add("Relu", squeezed), layer.fc2)
    scale = graph.add("Unsqueeze", graph.add("Sigmoid", scale), graph.integers(2))
    return graph.add("Mul", x, scale)


def _write_projection(graph: Graph, layer: nn.Conv2d, x: str) -> str:
    """Write a 1 x 1 convolution of `(batch, steps, bands, channels)` as a product of matrices."""
    weights = to_array(layer.weight)[:, :, 0, 0].T
    product = graph.add("MatMul", x, graph.weights(weights, axis=1))
    return (
        product
        if layer.bias is None
        else graph.add("Add", product, graph.constant(to_array(layer.bias)))
    )
