"""A small writer of ONNX graphs: nodes and constants in order, every value known by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # of that opset's time, so that older runtimes read the file
END = 2**62  # behind the last of any axis

Array = NDArray[Any]
Shape = Sequence[int | str]  # a name stands for a length that may change from call to call


def to_array(tensor: torch.Tensor) -> Array:
    """Return a tensor's values."""
    values: Array = tensor.detach().cpu().numpy()
    return values


class Graph:
    """Nodes, constants, inputs and outputs in the order they are made.

    Args:
        weights: how weights are kept: float32, float16 or int8.
        prefix: stands before the names of values and constants, which differ in all graphs of a
            model.

    Attributes:
        states: of each state that goes in and comes out changed, element type and shape.
    """

    def __init__(self, weights: str = "float32", prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.states: dict[str, tuple[int, Shape]] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._optional_inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._last_outputs: list[onnx.ValueInfoProto] = []
        self._weights, self._prefix = weights, prefix

    def declare_input(self, name: str, shape: Shape) -> str:
        """Declare an input, float32, and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def declare_optional_input(self, name: str, shape: Shape) -> str:
        """Declare an input, float32, that need not be given and is empty then; return its name."""
        empty = [0 if isinstance(length, str) else length for length in shape]
        self.constants.append(numpy_helper.from_array(np.zeros(empty, np.float32), name))
        self._optional_inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def declare_output(self, name: str, shape: Shape, *, last: bool = False) -> None:
        """Declare that the value `name`, float32, is an output, before or behind the states."""
        outputs = self._last_outputs if last else self._outputs
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def declare_state(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> str:
        """Declare a state and return its name; some node must give `next_NAME`."""
        self.states[name] = (kind, shape)
        return name

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Keep an array in the file and return its name."""
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def weights(self, values: Array, *, axis: int, coarse: bool = True) -> str:
        """Keep a model's weights, as small as was asked for; they are computed with in float32.

        Args:
            values: the weights.
            axis: 8-bit numbers get a scale of their own for each place along it.
            coarse: 8 bits are enough for them; else they are kept in 16.
        """
        if self._weights == "float32":
            return self.constant(values)
        if self._weights == "float16" or not coarse:
            return self.add("Cast", self.constant(values, np.float16), to=TensorProto.FLOAT)
        others = tuple(n for n in range(values.ndim) if n != axis)
        scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / 127
        whole = self.constant(np.round(values / scale), np.int8)
        return self.add("DequantizeLinear", whole, self.constant(scale.ravel()), axis=axis)

    def integers(self, *values: int) -> str:
        """Keep a list of whole numbers, such as axes and shapes."""
        return self.constant(values, np.int64)

    def integer(self, value: int) -> str:
        """Keep one whole number."""
        return self.constant(value, np.int64)

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        name = name or f"{self._prefix}value_{len(self.nodes)}"
        self.add_several(kind, *inputs, names=[name], **attributes)
        return name

    def add_several(self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any) -> None:
        """Add a node of several outputs, whose names are given."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))

    def slice(self, value: str, start: int, end: int, *, axis: int, name: str = "") -> str:
        """Cut along an axis."""
        return self.add(
            "Slice",
            value,
            self.integers(start),
            self.integers(end),
            self.integers(axis),
            name=name,
        )

    def keep_last(self, value: str, count: int, *, axis: int, name: str) -> str:
        """Keep the last `count` along an axis."""
        return self.slice(value, -count, END, axis=axis, name=name)

    def concat(self, parts: Sequence[str], *, axis: int) -> str:
        """Join values along an axis; one alone stays as it is."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=axis)

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape; 0 keeps a length, -1 takes what is left."""
        return self.add("Reshape", value, self.integers(*shape))

    def linear(self, value: str, layer: torch.nn.Linear, *, divide: float = 1.0) -> str:
        """Multiply by a layer's weights and add its bias, both divided by a number."""
        weights, bias = to_array(layer.weight).T / divide, to_array(layer.bias) / divide
        product = self.add("MatMul", value, self.weights(weights, axis=1))
        return self.add("Add", product, self.constant(bias))

    def branch(self, prefix: str) -> Graph:
        """Return an empty graph for one way of `choose`; it may use this graph's values."""
        return Graph(self._weights, prefix=prefix)

    def choose(self, condition: str, ways: Sequence[tuple[Graph, str]], shape: Shape) -> str:
        """Run one of two graphs and return the name of what it gives.

        Args:
            condition: one truth value.
            ways: the graph that runs where it holds, and the other, each with its result's name.
            shape: of either result, float32.
        """
        names = ("then_branch", "else_branch")
        graphs = {
            name: helper.make_graph(
                graph.nodes,
                name,
                [],
                [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)],
                graph.constants,
            )
            for name, (graph, result) in zip(names, ways, strict=True)
        }
        return self.add("If", condition, **graphs)

    def to_model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """Return the ONNX model: the declared inputs and outputs, the states, the last outputs."""
        given = [
            helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in self.states.items()
        ]
        after = [
            helper.make_tensor_value_info(f"next_{name}", kind, shape)
            for name, (kind, shape) in self.states.items()
        ]
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "earmark",
                [*self._inputs, *given, *self._optional_inputs],
                [*self._outputs, *after, *self._last_outputs],
                self.constants,
            ),
            producer_name="earmark",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, metadata)
        return model
