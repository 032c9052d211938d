"""Pooled vectors -> the probability of some class, node by node: `earmark.nn.similarity`."""

from __future__ import annotations

from earmark.export.graph import Graph, to_array
from earmark.nn.similarity import SMALLEST_LENGTH, Similarity


def write_similarity(graph: Graph, similarity: Similarity, pooled: str) -> str:
    """Write the likeness of pooled vectors `(batch, vectors, pooled)` to what the model knows.

    Returns:
        The probability that each is of some class, `(batch, vectors, 1)`.
    """
    weight = graph.weights(to_array(similarity.weight).T, axis=1, coarse=False)
    product = graph.add("MatMul", pooled, weight)
    whitened = graph.add("Add", product, graph.constant(to_array(similarity.bias)))
    length = graph.add("ReduceL2", whitened, axes=[-1], keepdims=1)
    length = graph.add("Add", length, graph.constant(SMALLEST_LENGTH))
    direction = graph.add("Div", whitened, length)
    prototypes = graph.weights(to_array(similarity.prototypes).T, axis=1, coarse=False)
    cosines = graph.add("MatMul", direction, prototypes)
    largest = graph.add("ReduceMax", cosines, axes=[-1], keepdims=1)
    scaled = graph.add("Mul", largest, graph.constant(to_array(similarity.slope)))
    shifted = graph.add("Add", scaled, graph.constant(to_array(similarity.offset)))
    return graph.add("Sigmoid", shifted)
