"""One model in three forms: run by torch, by ONNX Runtime, and with 8-bit weights; on one thread.

    python -m benchmarks.runtimes path/to/ESC-10 --run models/crossval-causal/fold-1-seed-0

Size of what is carried; a cold start, `earmark predict` of one clip in a new process, beside a
Python that only imports torch; milliseconds for a second of audio in chunks of one step, 100 ms and
one second, the pieces in turn, round by round, the median round; and accuracy on the run's own test
fold. silero-vad, in its own chunks of 32 ms, for comparison.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.streams import Piece, noise, silero
from earmark import Classifier
from earmark.data.readers import read_dataset
from earmark.export.build import build
from earmark.io.files import write_bytes, write_text
from earmark.model_directory import load_model
from earmark.provenance import how

ROUNDS = 7
STARTS = 5
SECONDS = 4.0  # of audio in a round


def pushes(classifier: Classifier, chunk_seconds: float) -> Piece:
    """Return some seconds of a stream in chunks of a length; 0: one step."""
    chunk_seconds = chunk_seconds or classifier.info.step_seconds
    session = classifier.stream(block_seconds=chunk_seconds)  # each chunk is scored as it comes
    chunk = noise(round(chunk_seconds * classifier.sample_rate))
    chunks = round(SECONDS / chunk_seconds)

    def piece() -> float:
        for _ in range(chunks):
            session.push(chunk)
        return chunks * chunk_seconds

    return piece


def cold_start(*words: str) -> float:
    """Return the seconds of a new Python, the median of some."""
    taken = []
    for _ in range(STARTS):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="a run that left a fold for a test")
    parser.add_argument("--out", type=Path, default=Path("docs/results/runtimes"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_model(args.run)
    fold = str(trained.data["test_fold"])
    clips = [clip for clip in read_dataset(args.dataset).clips if str(clip.fold) == fold]
    with tempfile.TemporaryDirectory() as folder:
        forms = {"torch": args.run}
        for weights in ("float32", "float16", "int8"):
            forms[f"ONNX, {weights}"] = Path(folder) / f"{weights}.onnx"
            write_bytes(forms[f"ONNX, {weights}"], build(trained, weights).SerializeToString())
        recognizers = {name: Classifier.load(path) for name, path in forms.items()}
        spans = {"a step": 0.0, "100 ms": 0.1, "1 s": 1.0}
        pieces = {
            (name, span): pushes(classifier, seconds)
            for name, classifier in recognizers.items()
            for span, seconds in spans.items()
        }
        pieces |= {(name, "a step"): piece for name, piece in silero().items()}
        taken: dict[tuple[str, str], list[float]] = {key: [] for key in pieces}
        for _ in range(ROUNDS + 1):  # the first warms up
            for key, piece in pieces.items():
                begun = time.perf_counter()
                seconds = piece()
                taken[key].append(1000 * (time.perf_counter() - begun) / seconds)
        lines = [
            "# One model in three forms",
            "",
            *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
            "",
            f"| form | MB | cold start s | {' | '.join(f'ms/s, {s}' for s in spans)} | right % |",
            "|---|---|---|---|---|---|---|",
        ]
        for name in dict.fromkeys(name for name, _ in pieces):
            costs = [
                f"{np.median(taken[name, span][1:]):.2f}" if (name, span) in taken else ""
                for span in spans
            ]
            size = start = right = ""
            if name in forms:
                path = forms[name]
                files = [path] if path.is_file() else [*path.glob("weights-*")]
                size = f"{sum(file.stat().st_size for file in files) / 1e6:.2f}"
                words = ("-m", "earmark.cli", "predict", "--model_dir", str(path))
                start = f"{cold_start(*words, str(clips[0].path)):.2f}"
                best = [
                    recognizers[name].predict(clip.path).most_likely == clip.label for clip in clips
                ]
                right = f"{100 * np.mean(best):.2f}"
            lines.append(f"| {name} | {size} | {start} | {' | '.join(costs)} | {right} |")
    lines += [
        "",
        f"A Python that only imports torch takes {cold_start('-c', 'import torch'):.2f} s, "
        f"one that imports earmark {cold_start('-c', 'import earmark'):.2f} s.",
        "",
        f"- test fold {fold}",
        *how(f"python -m benchmarks.runtimes path/to/ESC-10 --run {args.run}", cores=1),
    ]
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
