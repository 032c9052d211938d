"""Samples -> log-mel frames, node by node.

    samples     (batch, samples)                with the last `context_samples` of the call before
    windows     (batch, frames, P, Q)           n_fft = P Q samples each, times the Hann window
    spectrum    (batch, frames, K1, Q) twice    real and imaginary parts
    mel         (batch, frames, n_mels)

Who has frames already gives them as `frames`, and none of this runs (see `earmark.runtime.frames`).

The spectrum is two matrix products, the two halves of Cooley and Tukey 1965 ("An algorithm for the
machine calculation of complex Fourier series"): a tenth of the arithmetic of one product with the
whole Fourier matrix, and plain matrix products run fast everywhere.
"""

from __future__ import annotations

import math

import numpy as np

from earmark.config import FrontEndSettings
from earmark.export.graph import END, Array, Graph
from earmark.nn.mel import hann_window, mel_filters
from earmark.runtime.onnx_engine import FRAMES


def find_factors(length: int) -> tuple[int, int]:
    """Return two factors of a transform's length, as near to each other as they come.

    The first product's matrices grow with the first factor, so it is the smaller one.
    """
    first = next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)
    return (first, length // first) if first > 1 else (length, 1)


def build_spectrum_matrices(settings: FrontEndSettings) -> tuple[Array, Array, Array, Array]:
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
    many, others = find_factors(length)
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


def write_front_end(graph: Graph, settings: FrontEndSettings, samples: str) -> str:
    """Write the front end; its state is `front_end (batch, context_samples)`, if any.

    Args:
        graph: where to.
        settings: how a waveform becomes frames.
        samples: `(batch, samples)`, a whole number of hops.

    Returns:
        Log-mel frames `(batch, frames, n_mels)`.
    """
    joined = _write_context(graph, settings, samples)
    frames = graph.declare_optional_input(FRAMES, ["batch_given", "frames_given", settings.n_mels])
    given, computed = graph.branch("given_"), graph.branch("front_end_")
    ways = [
        (given, given.add("Identity", frames)),
        (computed, _write_frames(computed, settings, joined)),
    ]
    has_frames = graph.add("Greater", graph.add("Size", frames), graph.integer(0))
    return graph.choose(has_frames, ways, ["batch", "frames", settings.n_mels])


def _write_frames(graph: Graph, settings: FrontEndSettings, joined: str) -> str:
    """Return the frames of samples that begin with the context."""
    first, twiddles, second, filters = build_spectrum_matrices(settings)
    many, others = find_factors(settings.n_fft)
    windows = _write_windows(graph, settings, _write_emphasis(graph, settings, joined))
    half = graph.reshape(windows, 0, -1, many, others)
    half = graph.add("MatMul", graph.constant(first), half)
    half = graph.add("Mul", half, graph.constant(twiddles))
    half = graph.reshape(half, 0, -1, 2, len(first) // 4, 2 * others)
    half = graph.add("ReduceSum", half, graph.integers(2), keepdims=0)
    parts = [
        graph.add("MatMul", half, graph.constant(part)) for part in np.split(second, 2, axis=1)
    ]  # real and imaginary, (batch, frames, K1, Q)
    power = graph.add("Add", *(graph.add("Mul", part, part) for part in parts))
    filters_kept = graph.weights(filters, axis=1, coarse=False)
    mel = graph.add("MatMul", graph.reshape(power, 0, -1, len(filters)), filters_kept)
    return graph.add("Log", graph.add("Add", mel, graph.constant(settings.floor)))


def _write_windows(graph: Graph, settings: FrontEndSettings, joined: str) -> str:
    """Return the windowed samples of every frame, `(batch, frames, n_fft)`.

    A frame is its last hop and what of the hops before it lies in the window.
    """
    length, hop = settings.window_samples, settings.hop_length
    rows = -(-length // hop)  # hops that a window touches
    outside = rows * hop - length
    if outside:
        joined = graph.add("Pad", joined, graph.integers(0, outside, 0, 0))
    hops = graph.reshape(joined, 0, -1, hop)
    parts = []
    for row in range(rows):  # of every frame its hop number `row`
        end = END if row == rows - 1 else row + 1 - rows
        parts.append(
            graph.add(
                "Slice",
                hops,
                graph.integers(row, outside if row == 0 else 0),
                graph.integers(end, END),
                graph.integers(1, 2),
            )
        )
    window = graph.constant(hann_window(settings))
    windows = graph.add("Mul", graph.concat(parts, axis=2), window)
    if length == settings.n_fft:
        return windows
    behind = graph.integers(0, 0, 0, 0, 0, settings.n_fft - length)
    return graph.add("Pad", windows, behind)


def _write_context(graph: Graph, settings: FrontEndSettings, samples: str) -> str:
    """Return the samples with those that frames reach back to."""
    context = settings.context_samples
    if not context:
        return samples
    before = graph.declare_state("front_end", ["batch", context])
    joined = graph.add("Concat", before, samples, axis=1)
    graph.keep_last(joined, context, axis=1, name="next_front_end")
    return joined


def _write_emphasis(graph: Graph, settings: FrontEndSettings, joined: str) -> str:
    """Return samples, emphasised where asked for; the first has none before it and is left out."""
    if not settings.pre_emphasis:
        return joined
    now, earlier = graph.slice(joined, 1, END, axis=1), graph.slice(joined, 0, -1, axis=1)
    taken = graph.add("Mul", earlier, graph.constant(settings.pre_emphasis))
    return graph.add("Sub", now, taken)
