"""`earmark evaluate` and `lstm_inference.py`: score a split, or one audio file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.commands.datasets import terminal_reporter
from earmark.commands.flags import (
    add_cache_dir,
    add_cuda,
    add_restriction,
    add_splits_dir,
    choose_device,
    load_classifier,
    refuse_closed_set_alone,
    split_names,
    splits_folder,
)
from earmark.commands.printing import model_json, synthetic_note
from earmark.errors import SettingsError

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.decision.prediction import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of evaluation; the documented ones keep their names and defaults."""
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="a run of training")
    parser.add_argument("--audio_file", metavar="FILE", help="predict this file instead")
    parser.add_argument(
        "--split_index",
        type=int,
        default=0,
        metavar="INT",
        help="split to score, from 0 on (%(default)s)",
    )
    parser.add_argument("--output_file", metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--batch_size", type=int, default=32, metavar="INT", help="clips at a time (%(default)s)"
    )
    add_restriction(parser, calibration=False)
    add_cuda(parser)
    add_splits_dir(parser)
    add_cache_dir(parser)
    parser.epilog = (
        "examples:\n"
        "  python lstm_inference.py --model_dir models/lstm-128-2-1767225600 --output_file r.json\n"
        "  python lstm_inference.py --model_dir models/lstm-128-2-1767225600 --audio_file dog.wav\n"
        "  earmark evaluate --model_dir models/lstm-128-2-1767225600 --classes 'Dog bark,Rain'"
    )


def run(args: argparse.Namespace) -> int:
    """Score a split or one file, print and write the results; return the exit code."""
    from earmark.data.cache.store import FeatureCache
    from earmark.data.splits import read_split, split_path
    from earmark.evaluation.report import evaluate, summary, write_results
    from earmark.io.files import write_json
    from earmark.io.outputs import files_of, refuse_output
    from earmark.model_directory import load_model

    if args.batch_size < 1:
        raise SettingsError(f"batch_size must be at least 1, got {args.batch_size}")
    if args.output_file:
        split_file = split_path(splits_folder(args.splits_dir, args.beside), args.split_index)
        inputs = [split_file if args.audio_file is None else args.audio_file]
        refuse_output(Path(args.output_file), [*inputs, *files_of(args.model_dir)])
    refuse_closed_set_alone(args)
    model_dir = Path(args.model_dir)
    if args.audio_file is not None:
        classifier = load_classifier(args)
        prediction = classifier.predict(args.audio_file)
        print(_ranking(prediction, classifier))
        if args.output_file:
            model = model_json(classifier)
            write_json(Path(args.output_file), {**prediction.to_dict(), "model": model})
        return 0
    trained = load_model(model_dir)
    reporter = terminal_reporter()
    split = read_split(
        splits_folder(args.splits_dir, args.beside),
        args.split_index,
        cache=FeatureCache(args.cache_dir),
        watch=reporter.watch,
        remark=reporter.remark,
    )
    trained.model.to(choose_device(args.cuda))
    results = evaluate(
        trained,
        split,
        batch_size=args.batch_size,
        model_name=model_dir.name,
        classes=split_names(args.classes or (), trained.classes),
        closed_set=args.closed_set,
    )
    print(summary(results))
    if args.output_file:
        written = write_results(Path(args.output_file), results)
        print(f"wrote {' and '.join(map(str, written))}")
    return 0


def _ranking(prediction: Prediction, classifier: Classifier, top: int = 5) -> str:
    """Lay out the most likely classes of one clip with their scores as bars."""
    width = max(len(name) for name in prediction.scores)
    lines = [f"{prediction.path} ({prediction.seconds:.2f} s): {prediction.label}"]
    for name, score in list(prediction.scores.items())[:top]:
        lines.append(f"  {name:<{width}}  {score:6.3f}  {'#' * round(30 * score)}")
    return "\n".join([*lines, *synthetic_note(classifier)])
