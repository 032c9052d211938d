"""The graph writer: what it writes runs, and small weights are near those they stand for."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from earmark.export.graph import OPSET, Graph


def run(graph, **values):
    """Run a graph whose inputs and outputs are declared; return its outputs by name."""
    model = graph.to_model({"earmark.test": "1"})
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, values), strict=True))


def make(weights="float32"):
    graph = Graph(weights)
    return graph, graph.declare_input("x", ["batch", 4])


def end(graph, value, shape=("batch", "any")):
    graph.add("Identity", value, name="y")
    graph.declare_output("y", shape)


X = np.arange(8, dtype=np.float32).reshape(2, 4)


def test_slices_and_reshapes():
    graph, x = make()
    end(graph, graph.slice(x, 1, -1, axis=1))
    np.testing.assert_array_equal(run(graph, x=X)["y"], X[:, 1:3])
    graph, x = make()
    graph.keep_last(x, 3, axis=1, name="y")
    graph.declare_output("y", ["batch", 3])
    np.testing.assert_array_equal(run(graph, x=X)["y"], X[:, 1:])
    graph, x = make()
    end(graph, graph.reshape(x, 0, -1, 2), ["batch", 2, 2])
    np.testing.assert_array_equal(run(graph, x=X)["y"], X.reshape(2, 2, 2))


def test_one_part_alone_is_not_joined():
    graph, x = make()
    assert graph.concat([x], axis=1) == x
    assert graph.nodes == []
    end(graph, graph.concat([x, x], axis=1))
    np.testing.assert_array_equal(run(graph, x=X)["y"], np.concatenate([X, X], 1))


def test_a_node_of_several_outputs():
    graph, x = make()
    graph.add_several("Split", x, names=["a", "y"], axis=1)
    graph.declare_output("y", ["batch", 2])
    np.testing.assert_array_equal(run(graph, x=X)["y"], X[:, 2:])


@pytest.mark.parametrize(("weights", "most"), [("float32", 1e-6), ("float16", 2e-2), ("int8", 0.2)])
def test_a_linear_layer_is_torch_s_in_any_number_of_bits(weights, most):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    graph, x = make(weights)
    end(graph, graph.linear(x, layer, divide=2.0))
    with torch.no_grad():
        wanted = layer(torch.from_numpy(X)).numpy() / 2
    difference = np.abs(run(graph, x=X)["y"] - wanted).max()
    assert difference <= most
    assert weights == "float32" or difference > 1e-6


def test_eight_bits_have_a_scale_for_each_output():
    values = np.array([[1.0, 100.0], [-0.5, 30.0]], np.float32)
    graph = Graph("int8")
    graph.declare_input("x", ["batch", 2])
    end(graph, graph.add("MatMul", "x", graph.weights(values, axis=1)))
    given = run(graph, x=np.eye(2, dtype=np.float32))["y"]
    np.testing.assert_allclose(given, values, atol=0, rtol=1e-2)  # each column by its own
    assert [c.data_type for c in graph.constants] == [
        onnx.TensorProto.INT8,
        onnx.TensorProto.FLOAT,
    ]


def test_fine_weights_are_kept_in_sixteen_bits():
    graph = Graph("int8")
    graph.weights(np.ones((2, 2)), axis=1, coarse=False)
    assert graph.constants[0].data_type == onnx.TensorProto.FLOAT16


def test_a_state_goes_in_and_comes_out():
    graph, x = make()
    count = graph.declare_state("count", ["batch"], kind=onnx.TensorProto.INT64)
    graph.add("Add", count, graph.integer(3), name="next_count")
    end(graph, x)
    given = run(graph, x=X, count=np.array([1, 5]))
    assert given["next_count"].tolist() == [4, 8]


def test_the_file_is_of_the_opset_and_carries_what_it_is_told():
    graph, x = make()
    end(graph, x)
    model = graph.to_model({"earmark.test": "1"})
    assert model.opset_import[0].version == OPSET
    assert {p.key: p.value for p in model.metadata_props} == {"earmark.test": "1"}
