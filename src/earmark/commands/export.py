"""`earmark export`: write a model as one ONNX file that runs anywhere."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import EarmarkError, SettingsError

if TYPE_CHECKING:
    from earmark.data.readers import Clip
    from earmark.model_directory import TrainedModel

_GENERATED = 12  # sounds to compare on, where no clips are given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `export`."""
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="a run of training, or the word base or esc10 (base)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write, FILE.onnx")
    parser.add_argument(
        "--clips", nargs="+", default=[], metavar="FILE", help="audio files to verify on too"
    )
    parser.add_argument(
        "--no_verify",
        action="store_true",
        help="do not compare the scores of torch and onnxruntime before writing",
    )
    parser.add_argument(
        "--quantize",
        choices=("int8", "float16"),
        help="keep the weights in fewer bits; the file is smaller, not faster",
    )
    parser.add_argument(
        "--dataset",
        metavar="PATH",
        help="with --quantize: the dataset the model was trained on, to measure on the clips of "
        "its test fold what is lost",
    )
    parser.epilog = (
        "The file takes samples and a state and gives scores and the next state; what they are\n"
        "stands in docs/onnx.md. Unless --no_verify is given, a float32 file is only written\n"
        "when its scores are those of torch, within 1e-4, in chunks and batches of several\n"
        "sizes.\n\n"
        "examples:\n"
        "  earmark export --out model.onnx\n"
        "  earmark export --model_dir models/lstm-128-2-1767225600 --out mine.onnx --clips *.wav\n"
        "  earmark export --model_dir RUN --out small.onnx --quantize int8 --dataset ESC-10\n"
        "  earmark predict --model_dir mine.onnx dog.wav"
    )


def run(args: argparse.Namespace) -> int:
    """Export, verify, say what was written; return the exit code."""
    from earmark.data.synthetic.negatives import make_negatives
    from earmark.errors import ModelError
    from earmark.export.build import OPSET, export
    from earmark.io import decode
    from earmark.io.outputs import files_of, refuse_output
    from earmark.model_directory import load_model, model_folder

    out = Path(args.out)
    if out.suffix != ".onnx":
        raise SettingsError(f"--out must end in .onnx, got {args.out}")
    if args.no_verify and args.clips:
        raise SettingsError("--clips are for verifying; leave out --no_verify")
    if args.dataset and not args.quantize:
        raise SettingsError("--dataset says what --quantize loses; add --quantize int8")
    refuse_output(out, [*args.clips, *files_of(args.model_dir)])
    folder = model_folder(args.model_dir)
    trained = load_model(folder)
    if trained.front_end is None:
        raise ModelError(f"{folder}: was trained on ready-made features, so it takes no audio")
    tested = _test_fold(trained, folder, args.dataset) if args.dataset else []
    sample_rate = trained.front_end.sample_rate
    clips = None
    if not args.no_verify:
        clips = [samples for _, samples in make_negatives(_GENERATED, 0, sample_rate)]
        clips += [decode.read(Path(clip), sample_rate, allow_silence=True) for clip in args.clips]
    weights = args.quantize or "float32"
    if weights != "float32":
        with tempfile.TemporaryDirectory() as beside:
            plain = Path(beside) / "float32.onnx"
            export(trained, plain, clips)
            difference = export(trained, out, clips, weights)
            _compare(out, weights, plain, tested)
    else:
        difference = export(trained, out, clips)
    size = out.stat().st_size / 1e6
    print(f"wrote {out}: {size:.2f} MB, opset {OPSET}, model {trained.fingerprint[:16]}")
    if difference is not None:
        print(
            f"verified on {len(clips or ())} clips: scores differ from torch's by at most "
            f"{difference:.1e}"
        )
    return 0


def _test_fold(trained: TrainedModel, folder: Path, dataset: str) -> list[Clip]:
    """Return clips that the model was not trained on.

    Raises:
        EarmarkError: there are none, or the dataset is another.
    """
    from earmark.data.readers import read_dataset

    fold, read = trained.data.get("test_fold"), read_dataset(Path(dataset))
    clips = [clip for clip in read.clips if fold is not None and str(clip.fold) == str(fold)]
    if not clips or set(read.classes) != set(trained.classes):
        raise EarmarkError(
            f"{folder}: has no test fold in {dataset}; give a run of training on one of its folds"
        )
    return clips


def _compare(small: Path, weights: str, plain: Path, tested: list[Clip]) -> None:
    """Print size, speed and, where there are test clips, accuracy beside float32.

    Raises:
        EarmarkError: the smaller file is not smaller; it is removed.
    """
    from earmark.classifier import Classifier

    if small.stat().st_size >= plain.stat().st_size:
        small.unlink()
        raise EarmarkError(f"{small}: not kept, {weights} is not smaller than float32")
    for name, path in (("float32", plain), (weights, small)):
        classifier = Classifier.load(path)
        begun, right, seconds = time.perf_counter(), 0, 0.0
        for clip in tested:
            prediction = classifier.predict(clip.path)
            right, seconds = (
                right + (prediction.most_likely == clip.label),
                seconds + prediction.seconds,
            )
        line = f"{name}: {path.stat().st_size / 1e6:.2f} MB"
        if tested:
            cost = 1000 * (time.perf_counter() - begun) / seconds
            share = 100 * right / len(tested)
            line += f", {share:.2f} % of {len(tested)} test clips right, {cost:.2f} ms per second"
        print(line)
    if not tested:
        print("what the fewer bits cost in accuracy was not measured; give --dataset")
