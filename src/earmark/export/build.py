"""A trained model -> one ONNX file, from samples to scores, with its state explicit.

The graph is written out node by node, so that every input, output and shape has the name it is
documented under. Samples come in whole steps (`step_samples` in the metadata); the state is a
handful of tensors that start as zeros, go in, and come out changed.

    inputs   samples (batch, samples)              float32, -1 to 1, at the model's rate
             front_end (batch, window - hop)       samples the next frame reaches back to
             context_N (batch, channels, kept, bands)  what convolution N still needs
             past (batch, delta, mels)             frames that differences look back to
             hidden, cell (batch, layers, hidden)  the LSTM's h and c
             recent (batch, window - 1, statistics)
                                                   pooling statistics of the steps before: weighted
                                                   LSTM outputs and their weights, outputs plus 1,
                                                   or both; its length sets the window
             pooled (batch, statistics)            the same of everything so far
             steps (batch)                         int64, LSTM steps so far
    outputs  scores (batch, steps, classes)        of every step, pooled over the window
             clip_scores (batch, classes)          of everything so far
             next_NAME                             for each state NAME

A state that the model does not need is neither asked for nor given. The spectrum is two matrix
products, the two halves of a Cooley-Tukey transform: a tenth of the arithmetic of one product with
the whole Fourier matrix, and plain matrix products run fast everywhere.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from earmark.config import FrontEndSettings, to_json
from earmark.errors import ModelError
from earmark.io.files import write_bytes
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import MOST_WEIGHT, LSTMClassifier
from earmark.nn.features import mel_filters
from earmark.runtime.engine import Engine
from earmark.runtime.onnx_engine import FIELDS, PREFIX, SCHEMA, OnnxEngine
from earmark.runtime.torch_engine import TorchEngine

OPSET = 17
_IR_VERSION = 8  # of that opset's time, so that older runtimes read the file
MOST_DIFFERENCE = 1e-4  # of any score, between torch and onnxruntime
_WINDOW_STEPS = 25
_STREAMS = 3

Array = NDArray[Any]


class _Graph:
    """Nodes and constants in the order they are made; every value is known by its name."""

    def __init__(self, weights: str = "float32") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._weights = weights

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Keep an array in the file and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def weights(self, values: Array, axis: int, *, coarse: bool = True) -> str:
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

    def numbers(self, *values: int) -> str:
        """Keep whole numbers, such as axes and shapes."""
        return self.constant(values, np.int64)

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        return self.several(
            kind, *inputs, names=[name or f"value_{len(self.nodes)}"], **attributes
        )[0]

    def several(
        self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any
    ) -> Sequence[str]:
        """Add a node of several outputs."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return names

    def slice(self, value: str, start: int, end: int, axis: int, name: str = "") -> str:
        """Cut along an axis."""
        ends = (self.numbers(start), self.numbers(end), self.numbers(axis))
        return self.add("Slice", value, *ends, name=name)

    def last(self, value: str, count: int, axis: int, name: str) -> str:
        """Keep the last `count` along an axis."""
        return self.slice(value, -count, np.iinfo(np.int64).max, axis, name)

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape; 0 keeps a length, -1 takes what is left."""
        return self.add("Reshape", value, self.numbers(*shape))

    def affine(self, value: str, layer: torch.nn.Linear, divide: float = 1.0) -> str:
        """Multiply by a layer's weights and add its bias."""
        weights, bias = _array(layer.weight).T / divide, _array(layer.bias) / divide
        return self.add(
            "Add", self.add("MatMul", value, self.weights(weights, 1)), self.constant(bias)
        )


def factors(length: int) -> tuple[int, int]:
    """Return two factors of a transform's length, as near to each other as they come.

    The first product's matrices grow with the first factor, so it is the smaller one.
    """
    first = next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)
    return (first, length // first) if first > 1 else (length, 1)


def spectrum_matrices(settings: FrontEndSettings) -> tuple[Array, Array, Array, Array]:
    """Return what a frame's mel powers are computed with, for N = P Q samples.

    Sample `n = Q p + q`, frequency `k = k1 + P k2`. The first product sums over p, the second over
    q; between them every value is turned by its twiddle factor. Only k1 up to P / 2 is needed: the
    others mirror it.

    Returns:
        `first (4 K1, P)`, for each k1 real and imaginary part, then these turned by a right angle;
        `twiddles (4 K1, Q)`, what each of these is multiplied with before the halves are added;
        `second (2 Q, 2 Q)`, real parts before imaginary ones; and `filters (K1 Q, mels)`.
    """
    length = settings.n_fft
    many, others = factors(length)
    p, q, k1 = np.arange(many), np.arange(others), np.arange(many // 2 + 1)
    wave = np.exp(-2j * np.pi * np.outer(k1, p) / many)  # (K1, P)
    turned = 1j * wave
    first = np.stack([np.stack([w.real, w.imag], 1) for w in (wave, turned)]).reshape(-1, many)
    twiddle = np.exp(-2j * np.pi * np.outer(k1, q) / length)  # (K1, Q)
    twiddles = np.stack([np.stack([t, t], 1) for t in (twiddle.real, twiddle.imag)])
    wave = np.exp(-2j * np.pi * np.outer(q, q) / others)
    second = np.block([[wave.real, wave.imag], [-wave.imag, wave.real]])
    k = k1[:, None] + many * q  # (K1, Q), q standing for k2
    bins, places = np.unique(np.minimum(k, length - k), return_index=True)
    filters = np.zeros((k.size, settings.n_mels))
    filters[places] = mel_filters(settings).T[bins]
    return first, twiddles.reshape(-1, others), second, filters


def build(trained: TrainedModel, weights: str = "float32") -> onnx.ModelProto:
    """Return the ONNX model of a trained model.

    Args:
        trained: the model.
        weights: how its weights are kept: float32, float16 or int8 (one scale for each output).

    Raises:
        ModelError: the model is bidirectional, or was trained on features and not on audio.
    """
    if trained.front_end is None:
        raise ModelError("the model was trained on ready-made features, so it hears no audio")
    model = trained.model.eval()
    model.initial_state()  # refuses a bidirectional model
    settings, front_end = model.settings, trained.front_end
    graph = _Graph(weights)
    states: dict[str, tuple[int, list[int | str]]] = {}

    def state(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> str:
        states[name] = (kind, list(shape))
        return name

    frames = _front_end(graph, front_end, state)
    steps = (_convolved if settings.network.convolutions else _stacked)(graph, model, frames, state)
    outputs = _lstm(graph, model, steps, state)
    _scores(graph, model, outputs, trained.calibration.temperature, state)

    def value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [value(name, shape, kind) for name, (kind, shape) in states.items()]
    given = [value(f"next_{name}", shape, kind) for name, (kind, shape) in states.items()]
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "earmark",
            [value("samples", ["batch", "samples"]), *inputs],
            [
                value("scores", ["batch", "steps", settings.num_classes]),
                value("clip_scores", ["batch", settings.num_classes]),
                *given,
            ],
            graph.constants,
        ),
        producer_name="earmark",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(made, metadata(trained))
    return made


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
        The largest difference of any score between torch and onnxruntime.

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
        difference = largest_difference(TorchEngine(trained), OnnxEngine(unverified), clips)
    finally:
        unverified.unlink(missing_ok=True)
    if weights == "float32" and not difference <= MOST_DIFFERENCE:
        raise ModelError(
            f"{path}: not written, its scores differ from torch's by up to {difference:.1e}; "
            f"at most {MOST_DIFFERENCE:.0e} is allowed"
        )
    write_bytes(path, data)
    return difference


def largest_difference(one: Engine, other: Engine, clips: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference of any score of two engines.

    Clips are heard alone and in a batch, in turn in one chunk, in chunks of seven steps and step by
    step, with the state carried from chunk to chunk and clip to clip. A score that is no number
    differs infinitely.
    """
    step, found = one.info.step_samples, 0.0
    starts = [one.initial_state(_WINDOW_STEPS), other.initial_state(_WINDOW_STEPS)]
    for streams in (1, _STREAMS):
        states = [[start] * streams for start in starts]
        for chunk_steps, clip in zip(itertools.cycle((10**6, 7, 1)), clips, strict=False):
            whole = clip[: max(step, len(clip) // step * step)]
            whole = np.pad(whole, (0, max(0, step - len(whole))))
            for start in range(0, len(whole), chunk_steps * step):
                chunk = whole[start : start + chunk_steps * step]
                batch = np.stack([np.roll(chunk, 31 * n) for n in range(streams)])
                given = [
                    engine.step(batch, state)
                    for engine, state in zip((one, other), states, strict=True)
                ]
                states = [after for *_, after in given]
                for mine, its in zip(given[0][:2], given[1][:2], strict=True):
                    difference = np.nan_to_num(np.abs(mine - its), nan=np.inf)
                    found = max(found, float(difference.max()))
    return found


def metadata(trained: TrainedModel) -> dict[str, str]:
    """Return what the file says of itself, each value as JSON."""
    assert trained.front_end
    model = trained.model
    step = model.frames_per_step * trained.front_end.hop_length
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "classes": list(trained.classes),
        "sample_rate": trained.front_end.sample_rate,
        "step_samples": step,
        "front_end": to_json(trained.front_end),
        "model": to_json(model.settings),
        "calibration": to_json(trained.calibration),
        "data": dict(trained.data),
        "fingerprint": trained.fingerprint,
        "created": trained.created,
    }
    assert set(values) == set(FIELDS)
    return {PREFIX + name: json.dumps(value) for name, value in values.items()}


def _front_end(graph: _Graph, settings: FrontEndSettings, state: Any) -> str:
    """Return log-mel frames `(batch, frames, mels)` of the samples."""
    length, hop = settings.n_fft, settings.hop_length
    kept, rows = length - hop, -(-length // hop)  # hops that a window touches
    joined, outside = "samples", rows * hop - length
    if kept:
        before = state("front_end", "batch", kept)
        if outside:
            before = graph.add("Pad", before, graph.numbers(0, outside, 0, 0))
        joined = graph.add("Concat", before, "samples", axis=1)
        graph.last(joined, kept, 1, "next_front_end")
    # A frame is its last hop and what of the hops before it lies in the window.
    hops = graph.reshape(joined, 0, -1, hop)
    parts = [_hops(graph, hops, n, rows, outside if n == 0 else 0) for n in range(rows)]
    frames = parts[0] if rows == 1 else graph.add("Concat", *parts, axis=2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    frames = graph.add("Mul", frames, graph.constant(window))
    first, twiddles, second, filters = spectrum_matrices(settings)
    many, others = factors(length)
    half = graph.reshape(frames, 0, -1, many, others)
    half = graph.add("MatMul", graph.constant(first), half)
    half = graph.add("Mul", half, graph.constant(twiddles))
    half = graph.reshape(half, 0, -1, 2, len(first) // 4, 2 * others)
    half = graph.add("ReduceSum", half, graph.numbers(2), keepdims=0)
    parts = [
        graph.add("MatMul", half, graph.constant(part)) for part in np.split(second, 2, axis=1)
    ]  # real and imaginary, (batch, frames, K1, Q)
    power = graph.add("Add", *(graph.add("Mul", part, part) for part in parts))
    filters_kept = graph.weights(filters, 1, coarse=False)
    mel = graph.add("MatMul", graph.reshape(power, 0, -1, len(filters)), filters_kept)
    return graph.add("Log", graph.add("Add", mel, graph.constant(settings.floor)))


def _hops(graph: _Graph, hops: str, number: int, rows: int, outside: int) -> str:
    """Cut hop `number` of every frame, all but its first `outside` samples."""
    end = 2**62 if number == rows - 1 else number + 1 - rows
    cut = (graph.numbers(number, outside), graph.numbers(end, 2**62), graph.numbers(1, 2))
    return graph.add("Slice", hops, *cut)


def _normalised(graph: _Graph, model: LSTMClassifier, frames: str) -> str:
    scale = 1 / _array(model.scale).astype(np.float64)
    shift = -_array(model.mean) * scale
    return graph.add("Add", graph.add("Mul", frames, graph.constant(scale)), graph.constant(shift))


def _convolved(graph: _Graph, model: LSTMClassifier, frames: str, state: Any) -> str:
    """Return the LSTM's inputs `(steps, batch, inputs)` of a model with convolutions."""
    x = graph.add("Unsqueeze", _normalised(graph, model, frames), graph.numbers(1))
    bands = model.settings.input_size
    for number, layer in enumerate(model.convolutions):
        convolution, norm = layer.convolution, layer.norm
        if kept := layer.frames - layer.stride:
            name = f"context_{number}"
            before = state(name, "batch", convolution.in_channels, kept, bands)
            x = graph.add("Concat", before, x, axis=2)
            graph.last(x, kept, 2, f"next_{name}")
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)  # batch norm
        weights = _array(convolution.weight) * scale[:, None, None, None]
        bias = _array(norm.bias) - _array(norm.running_mean) * scale
        side = int(convolution.padding[1])
        constants = graph.weights(weights, 0), graph.constant(bias)
        x = graph.add(
            *("Conv", x, *constants), strides=list(convolution.stride), pads=[0, side, 0, side]
        )
        x = graph.add("Relu", x)
        bands = layer.bands(bands)
    return graph.reshape(graph.add("Transpose", x, perm=[2, 0, 1, 3]), 0, 0, -1)


def _stacked(graph: _Graph, model: LSTMClassifier, frames: str, state: Any) -> str:
    """Return the LSTM's inputs `(steps, batch, inputs)` of a model without convolutions."""
    settings, width = model.settings.network, model.settings.input_size
    if settings.delta:
        past = state("past", "batch", settings.delta, width)
        # Before a stream's first frame stands that frame itself.
        fresh = graph.add("Equal", "steps", graph.constant(0, np.int64))
        fresh = graph.add("Unsqueeze", fresh, graph.numbers(1, 2))
        past = graph.add("Where", fresh, graph.slice(frames, 0, 1, 1), past)
        frames = graph.add("Concat", past, frames, axis=1)
        graph.last(frames, settings.delta, 1, "next_past")
    values = joined = _normalised(graph, model, frames)
    if settings.delta:
        values = graph.slice(joined, settings.delta, 2**62, 1)
        earlier = graph.slice(joined, 0, -settings.delta, 1)
        values = graph.add("Concat", values, graph.add("Sub", values, earlier), axis=2)
        width *= 2
    if model.frequency_lstm is not None:
        values = _frequency_lstm(graph, model, values)
    else:
        values = graph.reshape(values, 0, -1, settings.stack * width)
    return graph.add("Transpose", values, perm=[1, 0, 2])


def _frequency_lstm(graph: _Graph, model: LSTMClassifier, frames: str) -> str:
    """Run the LSTM over the frequencies of each step: `(batch, frames, features)` to steps."""
    settings, scan = model.settings, model.frequency_lstm
    assert scan is not None
    mels, (units, width, stride) = settings.input_size, settings.network.frequency_lstm
    rows = scan.input_size // width  # of mels in a step
    starts = np.arange(0, mels - width + 1, stride)
    places = graph.constant(starts[:, None] + np.arange(width), np.int64)
    seen = graph.add("Gather", graph.reshape(frames, -1, rows, mels), places, axis=2)
    seen = graph.add("Transpose", seen, perm=[2, 0, 1, 3])  # (places, batch * steps, rows, width)
    seen = graph.reshape(seen, 0, 0, -1)
    weights = _lstm_weights(graph, scan, "l0", "l0_reverse")
    given = graph.add("LSTM", seen, *weights, hidden_size=units, direction="bidirectional")
    given = graph.add("Transpose", given, perm=[2, 0, 1, 3])  # (batch * steps, places, 2, units)
    batch = graph.add("Shape", frames, end=1)
    shape = graph.add("Concat", batch, graph.numbers(-1, len(starts) * 2 * units), axis=0)
    return graph.add("Reshape", given, shape)


def _lstm(graph: _Graph, model: LSTMClassifier, steps: str, state: Any) -> str:
    """Return the last layer's outputs `(batch, steps, hidden)`."""
    layers, size = model.settings.network.num_layers, model.settings.network.hidden_size
    before = {}
    for name in ("hidden", "cell"):
        given = state(name, "batch", layers, size)
        before[name] = graph.add("Transpose", given, perm=[1, 0, 2])
    after: dict[str, list[str]] = {"hidden": [], "cell": []}
    for layer in range(layers):
        weights = _lstm_weights(graph, model.lstm, f"l{layer}")
        mine = [
            value if layers == 1 else graph.slice(value, layer, layer + 1, 0)
            for value in before.values()
        ]
        names = [f"lstm_{layer}", f"lstm_{layer}_hidden", f"lstm_{layer}_cell"]
        graph.several("LSTM", steps, *weights, "", *mine, names=names, hidden_size=size)
        steps = graph.add("Squeeze", names[0], graph.numbers(1))
        after["hidden"].append(names[1])
        after["cell"].append(names[2])
    for name, parts in after.items():
        whole = parts[0] if layers == 1 else graph.add("Concat", *parts, axis=0)
        graph.add("Transpose", whole, perm=[1, 0, 2], name=f"next_{name}")
    return graph.add("Transpose", steps, perm=[1, 0, 2])


def _lstm_weights(graph: _Graph, lstm: torch.nn.LSTM, *directions: str) -> list[str]:
    """Keep the weights of one layer, as torch calls its directions: inputs', recurrent, biases."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    inside, recurrent, *biases = (
        np.stack([_gates(_array(getattr(lstm, f"{name}_{end}"))) for end in directions])
        for name in names
    )
    bias = graph.constant(np.concatenate(biases, axis=1))
    return [graph.weights(inside, 1), graph.weights(recurrent, 1), bias]


def _gates(weights: Array) -> Array:
    """Reorder torch's gates (in, forget, cell, out) into ONNX's (in, out, forget, cell)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])


def _scores(
    graph: _Graph, model: LSTMClassifier, outputs: str, temperature: float, state: Any
) -> None:
    """Pool over the window and over everything so far, and classify both."""
    before = state("steps", "batch", kind=TensorProto.INT64)
    count = graph.add("Shape", outputs, start=1, end=2)
    graph.add("Add", before, count, name="next_steps")
    if model.statistics:
        every = _pooled(graph, model, outputs, count, state)
    else:
        every = graph.add("Concat", outputs, graph.slice(outputs, -1, 2**62, 1), axis=1)
    hidden = graph.add("Relu", graph.affine(every, _linear(model, 1)))
    scores = graph.add("Softmax", graph.affine(hidden, _linear(model, 4), temperature), axis=-1)
    graph.slice(scores, 0, -1, 1, "scores")
    graph.add("Gather", scores, graph.constant(-1, np.int64), axis=1, name="clip_scores")


def _pooled(graph: _Graph, model: LSTMClassifier, outputs: str, count: str, state: Any) -> str:
    """Pool the window of every step, and then everything so far.

    Args:
        outputs: of the LSTM, `(batch, steps, hidden)`.
        count: the number of steps, `(1,)`.

    Returns:
        What the head classifies, `(batch, steps + 1, pooled)`.
    """
    recent = state("recent", "batch", "window_less_one", model.statistics)
    before = graph.add("Unsqueeze", state("pooled", "batch", model.statistics), graph.numbers(1))
    parts = []
    if model.summed:
        sides = graph.numbers(0, 0, 0, 0, 0, 1)
        values = graph.add("Pad", outputs, sides, graph.constant(1.0))  # each output, and a weight
        if model.attention is not None:
            asked = graph.affine(outputs, model.attention)
            limits = graph.constant(-MOST_WEIGHT), graph.constant(MOST_WEIGHT)
            values = graph.add("Mul", values, graph.add("Exp", graph.add("Clip", asked, *limits)))
        parts.append(values)
    if model.statistics > model.summed:
        parts.append(graph.add("Add", outputs, graph.constant(1.0)))
    fresh = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=2)
    joined = graph.add("Concat", recent, fresh, axis=1)
    far, along = graph.numbers(2**62), graph.numbers(1)
    graph.add("Slice", joined, count, far, along, name="next_recent")

    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    window = graph.add("Add", graph.add("Squeeze", graph.add("Shape", recent, start=1, end=2)), one)
    begin = graph.add("Range", zero, graph.add("Squeeze", count), one)
    places = graph.add(
        "Add", graph.add("Unsqueeze", begin, along), graph.add("Range", zero, window, one)
    )
    windows = graph.add("Gather", joined, places, axis=1)  # (batch, steps, window, statistics)
    segments = _reduced(graph, model, windows, 2, keepdims=0)
    # Summed first, so that not every step is rounded against the sum of hours.
    fresh = _reduced(graph, model, fresh, 1, keepdims=1)
    whole = _reduced(graph, model, graph.add("Concat", before, fresh, axis=1), 1, keepdims=1)
    graph.add("Squeeze", whole, along, name="next_pooled")
    every = graph.add("Concat", segments, whole, axis=1)
    parts = []
    if model.summed:
        size = model.summed - 1
        total, weight = graph.slice(every, 0, size, 2), graph.slice(every, size, size + 1, 2)
        parts.append(graph.add("Div", total, weight))
    if model.statistics > model.summed:
        largest = graph.slice(every, model.summed, model.statistics, 2)
        parts.append(graph.add("Sub", largest, graph.constant(1.0)))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=2)


def _reduced(
    graph: _Graph, model: LSTMClassifier, statistics: str, axis: int, keepdims: int
) -> str:
    """Join the statistics of many steps, which lie along an axis, into those of all of them."""
    axes, parts = graph.numbers(axis), []
    values = largest = statistics
    if 0 < model.summed < model.statistics:
        values = graph.slice(statistics, 0, model.summed, -1)
        largest = graph.slice(statistics, model.summed, model.statistics, -1)
    if model.summed:
        parts.append(graph.add("ReduceSum", values, axes, keepdims=keepdims))
    if model.statistics > model.summed:
        parts.append(graph.add("ReduceMax", largest, axes=[axis], keepdims=keepdims))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=-1)


def _linear(model: LSTMClassifier, place: int) -> torch.nn.Linear:
    layer = model.head[place]
    assert isinstance(layer, torch.nn.Linear)
    return layer


def _array(tensor: torch.Tensor) -> Array:
    values: Array = tensor.detach().cpu().numpy()
    return values
