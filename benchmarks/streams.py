"""What live scoring costs, side by side with others on one thread.

    python benchmarks/streams.py --out docs/results/streams
    python benchmarks/streams.py --hours 24 --out docs/results/day      # does it stay flat?

Samples at each model's own rate, in chunks of 100 ms (silero-vad: its 32 ms), to scores; resampling
is a row of its own. PANNs CNN14 has random weights, which cost the same, and scores its window of
five seconds anew every second. The pieces take turns, round by round, and the median round counts.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark import Classifier
from earmark.classifier import LIVE_BLOCK
from earmark.config import EventSettings
from earmark.export.build import build
from earmark.io.files import write_bytes, write_json, write_text
from earmark.io.resample import Resampler
from earmark.model_directory import TrainedModel, load_model, model_folder
from earmark.provenance import how
from earmark.runtime.engine import Engine
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.pool import SessionPool
from earmark.runtime.scorer import ScorerState, StreamScorer
from earmark.runtime.torch_engine import TorchEngine

CHUNK_SECONDS = 0.1
ROUND_SECONDS = 12.0  # of audio
ROUNDS = 7

Piece = Callable[[], float]  # does some work; returns the seconds of audio it was about


def noise(samples: int) -> Any:
    """Return noise to score; what it is does not change the cost."""
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def engine_pieces(engine: Engine) -> dict[str, Piece]:
    """Return one stream and several of them, from samples to events or scores."""
    classifier, sample_rate = Classifier(engine), engine.info.sample_rate
    scorer = StreamScorer(engine, EventSettings(), block_seconds=LIVE_BLOCK)
    chunk = noise(round(CHUNK_SECONDS * sample_rate))
    chunks = round(ROUND_SECONDS / CHUNK_SECONDS)

    def alone(seconds: float, block_seconds: float = LIVE_BLOCK) -> Piece:
        session = classifier.stream(block_seconds=block_seconds)
        part = noise(round(seconds * sample_rate))

        def piece() -> float:
            for _ in range(max(1, round(ROUND_SECONDS / seconds))):
                session.push(part)
            return max(1, round(ROUND_SECONDS / seconds)) * seconds

        return piece

    def pooled(streams: int) -> Piece:
        pool = SessionPool()
        sessions = [classifier.stream(source=str(n)) for n in range(streams)]
        for session in sessions:
            pool.add(session)

        def piece() -> float:
            for _ in range(chunks):
                for session in sessions:
                    session.feed(chunk)
                pool.advance()
            return streams * chunks * CHUNK_SECONDS

        return piece

    def joined_each_time(streams: int) -> Piece:
        """Scores alone, of states that are put together and taken apart in every step."""
        states = [scorer.initial_state() for _ in range(streams)]

        def piece() -> float:
            nonlocal states
            for _ in range(chunks):
                waiting = [np.concatenate([state.samples, chunk]) for state in states]
                models = [state.model for state in states]
                size = scorer.block_samples
                if len(waiting[0]) >= size:  # all are equally far
                    blocks = np.stack([samples[:size] for samples in waiting])
                    _, _, models = engine.step(blocks, models)
                    waiting = [samples[size:].copy() for samples in waiting]
                states = [ScorerState(*pair) for pair in zip(waiting, models, strict=True)]
            return streams * chunks * CHUNK_SECONDS

        return piece

    return {
        "in chunks of 100 ms": alone(CHUNK_SECONDS),
        "the same, scored at every step": alone(CHUNK_SECONDS, 0.0),
        "in blocks of 5 s, as files are": alone(5.0, 5.0),
        "8 streams in a pool, to events": pooled(8),
        "64 streams in a pool, to events": pooled(64),
        "64 streams, states joined in every step, scores alone": joined_each_time(64),
    }


def ours(trained: TrainedModel) -> dict[str, Piece]:
    """Return the pieces of Earmark, with onnxruntime and with torch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_bytes(path, build(trained).SerializeToString())
        pieces = {f"Earmark, {k}": v for k, v in engine_pieces(OnnxEngine(path)).items()}
    torch_engine = TorchEngine(trained)
    pieces |= {f"with torch, {k}": v for k, v in engine_pieces(torch_engine).items()}
    resampler = Resampler(48_000, torch_engine.info.sample_rate)
    at_48 = noise(round(CHUNK_SECONDS * 48_000))

    def resampling() -> float:
        for _ in range(round(ROUND_SECONDS / CHUNK_SECONDS)):
            resampler.push(at_48)
        return ROUND_SECONDS

    return {**pieces, "resampling from 48 kHz, on top": resampling}


def silero() -> dict[str, Piece]:
    """Return silero-vad's ONNX model, where it is installed."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or importlib.util.find_spec("onnxruntime") is None:
        return {}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    assert found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    network = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    chunk, rate = noise(64 + 512)[None], np.array(16_000, np.int64)
    chunks = round(ROUND_SECONDS * 16_000 / 512)

    def piece() -> float:
        state = np.zeros((2, 1, 128), np.float32)
        for _ in range(chunks):
            _, state = network.run(None, {"input": chunk, "state": state, "sr": rate})
        return chunks * 512 / 16_000

    return {"silero-vad, ONNX": piece}


def cnn14() -> dict[str, Piece]:
    """Return PANNs' CNN14, where it is installed."""
    found = importlib.util.find_spec("panns_inference")
    if found is None:
        return {}
    package = types.ModuleType("panns_inference")  # its own start would download files
    package.__path__ = list(found.submodule_search_locations or [])
    sys.modules["panns_inference"] = package
    models = importlib.import_module("panns_inference.models")
    network = models.Cnn14(32_000, 1024, 320, 64, 50, 14_000, 527).eval()
    window = torch.from_numpy(noise(5 * 32_000))[None]

    @torch.inference_mode()
    def piece() -> float:
        network(window)
        return 1.0

    return {"PANNs CNN14, 5 s anew every second": piece}


def resident_bytes() -> int:
    """Return what this process holds in memory."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def a_day(classifier: Classifier, hours: int) -> list[str]:
    """Score hours of sound in one session; return a table of cost and memory by hour."""
    session = classifier.stream()
    second = noise(session.sample_rate)
    pieces = np.array_split(second, round(1 / CHUNK_SECONDS))
    lines = ["| hour | ms per second of audio | resident MB |", "|---|---|---|"]
    for hour in range(1, hours + 1):
        begun = time.perf_counter()
        for _ in range(3600):
            level = np.float32(10 ** np.random.default_rng(hour).uniform(-2, 0))
            for piece in pieces:
                session.push(piece * level)
        cost = (time.perf_counter() - begun) / 3600 * 1000
        lines.append(f"| {hour} | {cost:.2f} | {resident_bytes() / 1e6:.1f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_dir", help="a run of training (the bundled model)")
    parser.add_argument("--hours", type=int, default=0, help="score so many hours in one session")
    parser.add_argument("--out", type=Path, default=Path("docs/results/streams"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    notes = [
        "",
        *how(f"python benchmarks/streams.py{f' --hours {args.hours}' * bool(args.hours)}", cores=1),
    ]
    if args.hours:
        lines = [
            "# Hours in one session",
            "",
            *a_day(Classifier.load(args.model_dir), args.hours),
            *notes,
        ]
        write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
        return
    pieces = {**ours(load_model(model_folder(args.model_dir))), **silero(), **cnn14()}
    taken: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, piece in pieces.items():
            begun = time.perf_counter()
            seconds = piece()
            taken[name].append(1000 * (time.perf_counter() - begun) / seconds)
    cost = {name: float(np.median(times[1:])) for name, times in taken.items()}
    first = next(iter(cost.values()))
    lines = [
        "# What live scoring costs",
        "",
        *" ".join(__doc__.splitlines()[5:]).strip().splitlines(),
        "",
        "| piece | ms per second of audio | beside Earmark |",
        "|---|---|---|",
        *(f"| {name} | {ms:.2f} | {ms / first:.2f} |" for name, ms in cost.items()),
        *notes,
    ]
    write_json(args.out.with_suffix(".json"), {"ms_per_second": cost, "rounds": taken})
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
