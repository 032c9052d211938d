"""A trained model -> one ONNX file, from samples to scores, with its state explicit.

The graph is written out node by node, so that every input, output and shape has the name it is
documented under (docs/onnx.md). Samples come in whole steps (`step_samples` in the metadata); the
state is a handful of tensors that start as zeros, go in, and come out changed.

    inputs   samples (batch, samples)              float32, -1 to 1, at the model's rate
             front_end (batch, context)            samples the next frame reaches back to
             context_N (batch, channels, kept, bands)  what convolution N still needs
             excited_N, skipped_N                  what block N averages, and holds back
             past (batch, delta, mels)             frames that differences look back to
             hidden, cell (batch, layers, hidden)  the LSTM's h and c
             recent (batch, window - 1, statistics)
                                                   pooling statistics of the steps before: weighted
                                                   LSTM outputs and their weights, outputs plus 1,
                                                   or both; its length sets the window
             pooled (batch, statistics)            the same of everything so far
             steps (batch)                         int64, LSTM steps so far
             frames (batch, frames, mels)          log-mel frames in place of the front end's own,
                                                   from who has them; need not be given
    outputs  scores (batch, steps, classes)        of every step, pooled over the window
             clip_scores (batch, classes)          of everything so far
             next_NAME                             for each state NAME
             embedding (batch, steps, size)        what the head made the scores of
             clip_embedding (batch, size)          what it made the clip's of

A state that the model does not need is neither asked for nor given.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from earmark.config import FrontEndSettings, to_json
from earmark.errors import ModelError
from earmark.export.encoders import write_encoder
from earmark.export.front_end import write_front_end
from earmark.export.graph import OPSET, Graph
from earmark.export.lstm import write_lstm
from earmark.export.pooling import write_pooling
from earmark.export.similarity import write_similarity
from earmark.export.verify import MOST_DIFFERENCE, measure_difference
from earmark.io.files import write_bytes
from earmark.model_directory import TrainedModel
from earmark.nn.head import Head
from earmark.runtime.onnx_engine import IDENTITY, PREFIX, SCHEMA, OnnxEngine
from earmark.runtime.torch_engine import TorchEngine

__all__ = ["MOST_DIFFERENCE", "OPSET", "build", "describe", "export"]


def build(trained: TrainedModel, weights: str = "float32") -> onnx.ModelProto:
    """Return the ONNX model of a trained model.

    Args:
        trained: the model.
        weights: how its weights are kept: float32, float16 or int8 (one scale for each output).

    Raises:
        ModelError: the model is bidirectional, or was trained on features and not on audio.
    """
    front_end, model = _require_front_end(trained), trained.model.eval()
    model.initial_state()  # refuses a bidirectional model
    classes = model.settings.num_classes
    graph = Graph(weights)
    samples = graph.declare_input("samples", ["batch", "samples"])
    frames = write_front_end(graph, front_end, samples)  # (batch, frames, mels)
    steps = write_encoder(graph, model.encoder, frames)  # (steps, batch, features)
    outputs = write_lstm(graph, model.lstm, steps)  # (batch, steps, hidden)
    count = _count_steps(graph, outputs)
    pooled = write_pooling(graph, model.pooling, outputs, count)  # (batch, steps + 1, pooled)
    scores = _write_head(graph, model.head, pooled, temperature=trained.calibration.temperature)
    if model.similarity is not None:
        scores = graph.add("Mul", scores, write_similarity(graph, model.similarity, pooled))
    graph.slice(scores, 0, -1, axis=1, name="scores")
    graph.add("Gather", scores, graph.integer(-1), axis=1, name="clip_scores")
    graph.declare_output("scores", ["batch", "steps", classes])
    graph.declare_output("clip_scores", ["batch", classes])
    graph.slice(pooled, 0, -1, axis=1, name="embedding")
    graph.add("Gather", pooled, graph.integer(-1), axis=1, name="clip_embedding")
    size = model.pooling.output_size
    graph.declare_output("embedding", ["batch", "steps", size], last=True)
    graph.declare_output("clip_embedding", ["batch", size], last=True)
    return graph.to_model(describe(trained))


def export(
    trained: TrainedModel,
    path: Path,
    clips: Sequence[NDArray[np.float32]] | None,
    weights: str = "float32",
) -> float | None:
    """Write a model as one ONNX file, once it was seen to give torch's scores.

    Args:
        trained: the model.
        path: the file; it is written whole or not at all.
        clips: sounds at the model's rate to compare on; None: do not compare.
        weights: how its weights are kept, see `build`.

    Returns:
        The largest difference of any score between torch and onnxruntime, which is given frames
        and makes them itself in turn.

    Raises:
        ModelError: the model cannot be exported, or with float32 weights a score differs by more
            than `MOST_DIFFERENCE`; then nothing is written.
        OSError: the file cannot be written.
    """
    model = build(trained, weights)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    if clips is None:
        write_bytes(path, data)
        return None
    unverified = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.onnx")
    try:
        write_bytes(unverified, data)
        torch_engine = TorchEngine(trained)
        difference = max(
            measure_difference(torch_engine, OnnxEngine(unverified, own_front_end=own), clips)
            for own in (False, True)
        )
    finally:
        unverified.unlink(missing_ok=True)
    if weights == "float32" and not difference <= MOST_DIFFERENCE:
        raise ModelError(
            f"{path}: not written, its scores differ from torch's by up to {difference:.1e}; "
            f"at most {MOST_DIFFERENCE:.0e} is allowed"
        )
    write_bytes(path, data)
    return difference


def describe(trained: TrainedModel) -> dict[str, str]:
    """Return the metadata of the file, the fields that `OnnxEngine` reads, each value as JSON.

    Raises:
        ModelError: the model was trained on features and not on audio.
    """
    front_end, model = _require_front_end(trained), trained.model
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "classes": list(trained.classes),
        "sample_rate": front_end.sample_rate,
        "step_samples": model.frames_per_step * front_end.hop_length,
        "front_end": to_json(front_end),
        "model": to_json(model.settings),
        "calibration": to_json(trained.calibration),
        "data": dict(trained.data),
        "fingerprint": trained.fingerprint,
        IDENTITY: trained.identity,
        "created": trained.created,
    }
    return {PREFIX + name: json.dumps(value) for name, value in values.items()}


def _require_front_end(trained: TrainedModel) -> FrontEndSettings:
    if trained.front_end is None:
        raise ModelError(
            "the model was trained on ready-made features, so it reads no audio; export one that "
            "was trained on splits made by: earmark prepare DATASET"
        )
    return trained.front_end


def _count_steps(graph: Graph, outputs: str) -> str:
    """Count the steps, `(1,)`, and keep the state `steps (batch)`."""
    before = graph.declare_state("steps", ["batch"], kind=TensorProto.INT64)
    count = graph.add("Shape", outputs, start=1, end=2)
    graph.add("Add", before, count, name="next_steps")
    return count


def _write_head(graph: Graph, head: Head, pooled: str, *, temperature: float) -> str:
    """Classify `(batch, steps + 1, pooled)`: every window, and everything so far."""
    *hidden, output = head.linear_layers()
    x = pooled
    for layer in hidden:
        x = graph.add("Relu", graph.linear(x, layer))
    return graph.add("Softmax", graph.linear(x, output, divide=temperature), axis=-1)
