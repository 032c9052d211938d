"""What a second of audio costs, side by side with others in one run: live, in files, on cores.

    python -m benchmarks.cost path/to/ESC-10 --yamnet yamnet.tflite --teacher mn04_as_mAP_432.pt

Each piece is a call of some milliseconds; the pieces take turns, round by round, and of each the
quickest call counts: on a machine with other work the median says how busy it was. The processor's
time of the thread is counted, so that waiting for a core is not. Live is blocks of half a second,
files are blocks of five; silero-vad has its own chunks of 32 ms; YAMNet scores windows of 0.96 s
every 0.48 s, as it does; the teacher (EfficientAT mn04, PyTorch) scores windows of 5.12 s, as long
as what it is asked about, every second; windows of 3 s recomputed every second, as BirdNET-like
programs do, are Earmark's network without its state. Labelling is `earmark predict` of the clips of
ESC-10, beside decoding and resampling the same files alone: of each file the quickest, summed. Two
threads are timed by the clock.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.streams import noise, silero
from earmark import Classifier
from earmark.bundled import BASE, ESC10, FOLDERS, ONNX_NAME
from earmark.io.decode import read_blocks
from earmark.io.files import write_text
from earmark.io.paths import expand
from earmark.provenance import how
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.workers import several

ROUNDS = 40
SECONDS = 5.0  # of audio in a call, about
Piece = Callable[[], float]  # does some work; returns the seconds of audio it was about


def blocks_of(classifier: Classifier, block_seconds: float) -> Piece:
    """Return a stream that is pushed and scored in blocks."""
    session = classifier.stream(block_seconds=block_seconds)
    chunk = noise(session.scorer.block_samples)
    calls = max(1, round(SECONDS * classifier.sample_rate / len(chunk)))

    def piece() -> float:
        for _ in range(calls):
            session.push(chunk)
        return calls * len(chunk) / classifier.sample_rate

    return piece


def windows_of(classifier: Classifier, seconds: float) -> Piece:
    """Return windows that are scored anew every second, as models without a state do."""
    window = noise(round(seconds * classifier.sample_rate))[None]

    def piece() -> float:
        classifier.engine.score_whole(window)
        return 1.0

    return piece


def yamnet(path: Path) -> Piece:
    """Return YAMNet on one thread, its own front end included."""
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(
        str(path), num_threads=1
    )
    given = interpreter.get_input_details()[0]["index"]
    samples = noise(int(0.96 * 16_000 + 0.015 * 16_000) + 1)  # one window of its front end
    interpreter.resize_tensor_input(given, [len(samples)])
    interpreter.allocate_tensors()

    def piece() -> float:
        interpreter.set_tensor(given, samples)
        interpreter.invoke()
        return 0.48

    return piece


def teacher(path: Path) -> Piece:
    """Return the teacher on one thread, its own front end included."""
    import torch
    from tools.teacher import SAMPLE_RATE, LogMel, load_teacher

    torch.set_num_threads(1)
    network, log_mel = load_teacher(path), LogMel()
    window = torch.from_numpy(noise(round(5.12 * SAMPLE_RATE)))[None]

    def piece() -> float:
        with torch.inference_mode():
            network(log_mel(window))
        return 1.0

    return piece


def quickest(pieces: dict[str, Piece]) -> dict[str, float]:
    """Return for each piece the milliseconds of processor for a second of audio."""
    taken: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(ROUNDS):
        for name, piece in pieces.items():
            begun = time.thread_time()
            seconds = piece()
            taken[name].append(1000 * (time.thread_time() - begun) / seconds)
    return {name: min(times) for name, times in taken.items()}


def read_alone(path: Path, sample_rate: int) -> None:
    """Decode and resample a file, and do nothing with it."""
    for _ in read_blocks(path, sample_rate):
        pass


def label_files(classifier: Classifier, files: list[Path], rounds: int) -> tuple[float, float]:
    """Return the seconds of processor for reading files alone, and for predicting them."""
    works: list[Callable[[Path], Any]] = [
        lambda path: read_alone(path, classifier.sample_rate),
        classifier.predict,
    ]
    best = np.full((len(works), len(files)), np.inf)
    for _ in range(rounds):
        for number, path in enumerate(files):
            for kind, work in enumerate(works):
                begun = time.thread_time()
                work(path)
                best[kind, number] = min(best[kind, number], time.thread_time() - begun)
    reading, predicting = best.sum(axis=1)
    return float(reading), float(predicting)


def on_cores(classifier: Classifier, files: list[Path], rounds: int) -> dict[int, float]:
    """Return the seconds by the clock for the same files with one and with two workers."""

    def find(path: Path) -> Iterator[Any]:
        yield classifier.predict(path)

    best = {1: np.inf, 2: np.inf}
    for _, workers in itertools.product(range(rounds), best):
        begun = time.perf_counter()
        with several(find, files, workers=workers, stop=threading.Event()) as each:
            for _, results in each:
                list(results)
        best[workers] = min(best[workers], time.perf_counter() - begun)
    return best


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="ESC-10, or any folder of recordings")
    parser.add_argument("--yamnet", type=Path, help="YAMNet as a TensorFlow Lite file")
    parser.add_argument("--teacher", type=Path, help="mn04_as_mAP_432.pt")
    parser.add_argument("--clips", type=int, default=40, help="recordings that are labelled")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is labelled")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cost"))
    args = parser.parse_args()
    found = expand([args.dataset]).files
    files = found[:: max(1, len(found) // args.clips)][: args.clips]
    models = {name: Classifier.load(name) for name in (BASE, ESC10)}
    pieces: dict[str, Piece] = {}
    for name, classifier in models.items():
        pieces[f"{name}, live"] = blocks_of(classifier, 0.5)
        pieces[f"{name}, blocks of 5 s"] = blocks_of(classifier, 5.0)
        in_graph = Classifier(OnnxEngine(FOLDERS[name] / ONNX_NAME, own_front_end=True))
        pieces[f"{name}, live, the front end in the graph"] = blocks_of(in_graph, 0.5)
        pieces[f"{name}, blocks of 5 s, the front end in the graph"] = blocks_of(in_graph, 5.0)
        pieces[f"{name}, windows of 3 s every second"] = windows_of(classifier, 3.0)
    pieces |= silero()
    if args.yamnet:
        pieces["YAMNet, ai-edge-litert"] = yamnet(args.yamnet)
    if args.teacher:
        pieces["EfficientAT mn04, PyTorch, 5.12 s every second"] = teacher(args.teacher)
    cost = quickest(pieces)
    beside = cost.get("silero-vad, ONNX", float("nan"))
    lines = [
        "| piece | ms of processor per second of audio | beside silero-vad |",
        "|---|---|---|",
        *(f"| {name} | {ms:.2f} | {ms / beside:.2f} |" for name, ms in cost.items()),
        "",
        "| labelling | read alone s | predict s | beside | two workers beside one |",
        "|---|---|---|---|---|",
    ]
    for name, classifier in models.items():
        reading, predicting = label_files(classifier, files, args.rounds)
        cores = on_cores(classifier, files, args.rounds)
        lines.append(
            f"| {name}, {len(files)} files | {reading:.3f} | {predicting:.3f} "
            f"| {reading / predicting:.2f} | {cores[1] / cores[2]:.2f} |"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    lines += [
        "",
        f"All of this in one process took at most {memory:.0f} MB.",
        "",
        *how(
            "python -m benchmarks.cost path/to/ESC-10 --yamnet yamnet.tflite --teacher "
            "mn04_as_mAP_432.pt"
        ),
    ]
    text = "\n".join(lines) + "\n"
    write_text(args.out.with_suffix(".md"), "# What a second of audio costs\n\n" + text)
    print(text)


if __name__ == "__main__":
    main()
