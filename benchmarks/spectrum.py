"""How the exported graph computes its spectrum: the ways side by side, in one run on one thread.

    python benchmarks/spectrum.py --out docs/results/spectrum

The front end of the causal recipe, from samples to log-mel frames, in calls of one step (80 ms) and
of five seconds: two matrix products of several sizes, ONNX's DFT operator, NumPy as Earmark runs
it, and torch in double precision. The largest difference is to that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.config.recipes import read_recipe
from earmark.export import front_end as exported
from earmark.export.graph import Graph
from earmark.io.files import write_text
from earmark.nn.features import LogMel
from earmark.nn.mel import mel_filters
from earmark.provenance import how
from earmark.runtime.frames import MelFrames

ROUNDS = 7
SPANS = {"80 ms": 4, "5 s": 250}  # frames in a call
Call = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Write = Callable[[Graph, FrontEndSettings, str], str]


def session(settings: FrontEndSettings, write: Write) -> Call:
    """Return a graph of the front end alone as a function of samples, from a silent start."""
    graph, kept = Graph(), settings.n_fft - settings.hop_length
    samples = graph.declare_input("samples", ["batch", "samples"])
    graph.add("Identity", write(graph, settings, samples), name="log_mel")
    graph.declare_output("log_mel", ["batch", "frames", settings.n_mels])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = graph.to_model({}).SerializeToString()
    made = onnxruntime.InferenceSession(data, options)
    start = np.zeros((1, kept), np.float32)

    def run(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames: NDArray[np.float32]
        (frames,) = made.run(["log_mel"], {"samples": samples[None], "front_end": start})
        return frames[0]

    return run


def products(first: int) -> Write:
    """Return what writes the front end with `first` points in its first product."""

    def write(graph: Graph, settings: FrontEndSettings, samples: str) -> str:
        halves = (first, settings.n_fft // first)
        with mock.patch.object(exported, "find_factors", lambda _: halves):
            return exported.write_front_end(graph, settings, samples)

    return write


def write_dft(graph: Graph, settings: FrontEndSettings, samples: str) -> str:
    """Write the front end with ONNX's DFT operator."""
    length, kept = settings.n_fft, settings.n_fft - settings.hop_length
    before = graph.declare_state("front_end", ["batch", kept])
    joined = graph.add("Concat", before, samples, axis=1)
    graph.keep_last(joined, kept, axis=1, name="next_front_end")
    count = graph.slice(graph.add("Shape", samples), 1, 2, axis=0)
    zero, hop = graph.integer(0), graph.integer(settings.hop_length)
    starts = graph.add("Range", zero, graph.add("Squeeze", count), hop)
    places = graph.add("Unsqueeze", starts, graph.integers(1))
    places = graph.add("Add", places, graph.constant(np.arange(length), np.int64))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    frames = graph.add("Gather", joined, places, axis=1)
    frames = graph.add("Mul", frames, graph.constant(window))
    frames = graph.add("Unsqueeze", frames, graph.integers(3))
    spectrum = graph.add("DFT", frames, axis=2, onesided=1)
    power = graph.add("Mul", spectrum, spectrum)
    power = graph.add("ReduceSum", power, graph.integers(3), keepdims=0)
    mel = graph.add("MatMul", power, graph.constant(mel_filters(settings).T))
    return graph.add("Log", graph.add("Add", mel, graph.constant(settings.floor)))


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/spectrum"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = read_recipe("causal").front_end
    front_end = LogMel(settings)

    @torch.inference_mode()
    def with_torch(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames: NDArray[np.float32] = front_end(torch.from_numpy(samples)[None])[0].numpy()
        return frames

    ways: dict[str, Call] = {
        f"two products, {first} x {settings.n_fft // first}": session(settings, products(first))
        for first in (16, 32, 64, 128)
    }
    ways["the DFT operator"] = session(settings, write_dft)
    frames, before = MelFrames(settings), np.zeros(settings.context_samples, np.float32)
    ways["NumPy"] = lambda samples: frames.compute(np.concatenate([before, samples])[None])[0]
    ways["torch, double precision"] = with_torch
    rng = np.random.default_rng(0)
    spans = {
        name: (0.1 * rng.standard_normal(frames * settings.hop_length)).astype(np.float32)
        for name, frames in SPANS.items()
    }
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS + 1):  # the first warms up
        for (span, samples), (name, way) in ((s, w) for s in spans.items() for w in ways.items()):
            calls = max(1, round(2.0 * settings.sample_rate / len(samples)))
            begun = time.perf_counter()
            for _ in range(calls):
                way(samples)
            seconds = calls * len(samples) / settings.sample_rate
            cost = 1000 * (time.perf_counter() - begun) / seconds
            taken.setdefault((span, name), []).append(cost)
    exact = with_torch(spans["5 s"])
    lines = [
        "# The spectrum in the exported graph",
        "",
        *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
        "",
        f"| way | {' | '.join(f'ms/s, calls of {span}' for span in spans)} | largest difference |",
        "|---|" + "---|" * (len(spans) + 1),
    ]
    for name, way in ways.items():
        costs = [float(np.median(taken[span, name][1:])) for span in spans]
        difference = np.abs(way(spans["5 s"]) - exact).max()
        shown = " | ".join(f"{cost:.2f}" for cost in costs)
        lines.append(f"| {name} | {shown} | {difference:.0e} |")
    lines += [
        "",
        *how("python benchmarks/spectrum.py", cores=1),
    ]
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
