"""`earmark export`: write a model as one ONNX file that runs anywhere. Layer 7."""

from __future__ import annotations

import argparse
from pathlib import Path

from earmark.errors import SettingsError

_GENERATED = 12  # sounds to compare on, where no clips are given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `export`."""
    parser.add_argument(
        "--model_dir", metavar="DIR", help="a run of training (the model in the box)"
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
    parser.epilog = (
        "The file takes samples and a state and gives scores and the next state; what they are\n"
        "stands in docs/onnx.md. Unless told otherwise it is only written when its scores are\n"
        "those of torch, within 1e-4, in chunks and batches of several sizes.\n\n"
        "examples:\n"
        "  earmark export --out box.onnx\n"
        "  earmark export --model_dir models/lstm-128-2-1767225600 --out mine.onnx --clips *.wav\n"
        "  earmark predict --model_dir mine.onnx dog.wav"
    )


def run(args: argparse.Namespace) -> int:
    """Export, verify, say what was written; return the exit code."""
    from earmark import audio
    from earmark.artifact import load_model, model_folder
    from earmark.data.backgrounds import backgrounds
    from earmark.errors import ModelError
    from earmark.export import OPSET, export
    from earmark.files import refuse_unwritable

    out = Path(args.out)
    if out.suffix != ".onnx":
        raise SettingsError(f"--out must end in .onnx, got {args.out}")
    if args.no_verify and args.clips:
        raise SettingsError("--clips are for verifying; leave out --no_verify")
    refuse_unwritable(out)
    folder = model_folder(args.model_dir)
    trained = load_model(folder)
    if trained.front_end is None:
        raise ModelError(f"{folder}: was trained on ready-made features, so it hears no audio")
    rate_hz = trained.front_end.rate_hz
    clips = None
    if not args.no_verify:
        clips = [samples for _, samples in backgrounds(_GENERATED, 0, rate_hz)]
        clips += [audio.read(Path(clip), rate_hz, allow_silence=True) for clip in args.clips]
    difference = export(trained, out, clips)
    size = out.stat().st_size / 1e6
    print(f"wrote {out}: {size:.2f} MB, opset {OPSET}, model {trained.fingerprint[:16]}")
    if difference is not None:
        print(
            f"verified on {len(clips or ())} clips: scores differ from torch's by at most "
            f"{difference:.1e}"
        )
    return 0
