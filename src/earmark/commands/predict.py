"""`earmark predict`: name the sounds in files, folders and globs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.commands.flags import (
    add_cuda,
    add_event_settings,
    add_model,
    add_restriction,
    event_settings,
    load_classifier,
)
from earmark.commands.printing import model_json, print_found, print_line, synthetic_note
from earmark.config import EventSettings
from earmark.errors import AudioError, EarmarkError, SettingsError
from earmark.output.events import FORMATS as EVENT_FORMATS
from earmark.output.events import event_writer
from earmark.output.label_files import choose_label_files
from earmark.output.predictions import FORMATS, prediction_writer
from earmark.output.writer import Writer

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.decision.prediction import Prediction
    from earmark.runtime.events import Event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    parser.add_argument("files", nargs="+", help="audio files, folders of them, or globs")
    add_model(parser)
    parser.add_argument(
        "--events",
        action="store_true",
        help="find each sound's onset and offset in long recordings, in place of one answer a file",
    )
    parser.add_argument(
        "--format",
        choices=(*FORMATS, *(format for format in EVENT_FORMATS if format not in FORMATS)),
        help="table, json or csv (table); with --events jsonl, raven, audacity, csv or dcase "
        "(jsonl)",
    )
    parser.add_argument(
        "--top", type=int, default=3, metavar="INT", help="classes in a table (%(default)s)"
    )
    parser.add_argument(
        "--output_file",
        metavar="FILE",
        help="write there, not to the terminal; with audacity and several files, a folder, which "
        "gets a label file for each",
    )
    add_restriction(parser)
    add_cuda(parser)
    add_event_settings(parser)
    parser.epilog = (
        "A file that cannot be read is named on stderr; the others are finished, and the exit\n"
        'code is then 1. A clip that reaches no class\'s threshold is "none of these"; a model\n'
        "without thresholds names every clip. --threshold works without --events too.\n\n"
        "examples:\n"
        "  earmark predict dog.wav\n"
        "  earmark predict --threshold 0.9 dog.wav\n"
        "  earmark predict --model_dir base --classes 'Dog,Door knock' dog.wav\n"
        "  earmark predict --model_dir models/lstm-128-2-1767225600 dog.wav\n"
        "  earmark predict --model_dir models/lstm-128-2-1767225600 recordings/ --format csv\n"
        "  earmark predict --events night.flac --format raven --output_file night.txt\n"
        "  earmark predict --events recordings/ --format audacity --output_file labels/"
    )


def run(args: argparse.Namespace) -> int:
    """Predict every file, report those that cannot be read; return the exit code."""
    from earmark.io.files import write_text
    from earmark.io.outputs import files_of, refuse_outputs
    from earmark.io.paths import expand

    if args.top < 1:
        raise SettingsError(f"--top must be at least 1, got {args.top}")
    format = args.format or ("jsonl" if args.events else "table")
    if format not in (EVENT_FORMATS if args.events else FORMATS):
        raise SettingsError(
            f"--format {format} needs --events"
            if format in EVENT_FORMATS
            else f"--events cannot be written as {format}; use one of {', '.join(EVENT_FORMATS)}"
        )
    found = expand(args.files)
    label_files = None
    if format == "audacity":
        label_files = choose_label_files(args.output_file, found.files)
    if args.output_file:
        read = [*found.files, *files_of(args.model_dir), *filter(None, [args.calibration])]
        outputs = [Path(args.output_file)] if label_files is None else label_files.values()
        refuse_outputs(outputs, read)
    settings = event_settings(args)
    for name in (field.name for field in dataclasses.fields(EventSettings)):
        if not args.events and name != "threshold" and getattr(args, name) is not None:
            raise SettingsError(f"--{name} needs --events")
    classifier = load_classifier(args)
    text: list[str] = []
    emit: Callable[[str], object] = text.append if args.output_file else print_line
    if format != "json":  # the document says it in its model
        for line in synthetic_note(classifier):
            print(line, file=sys.stderr)
    process: Callable[[Path], None]
    writer: Writer[Event] | Writer[Prediction]
    if args.events:
        if classifier.info.model.network.bidirectional:
            classifier.stream()  # says why not
        front_end = classifier.info.front_end
        events = event_writer(format, emit, low_hz=front_end.low_hz, high_hz=front_end.high_hz)
        process = functools.partial(_write_events, classifier, settings, events)
        if label_files is not None:  # each has a writer of its own; the one for all stays empty
            process = functools.partial(_write_label_file, classifier, settings, label_files)
        writer = events
    else:
        predictions = prediction_writer(
            format,
            emit,
            classes=classifier.classes,
            top=args.top,
            threshold=settings.threshold,
            model=model_json(classifier),
        )
        process = functools.partial(_write_prediction, classifier, settings, predictions)
        writer = predictions
    writer.open()
    failures: list[str] = []
    try:
        for fault in found.faults:
            failures.append(fault)
            print(f"unreadable: {fault}", file=sys.stderr)
        for path in found.files:
            try:
                process(path)
            except AudioError as error:
                failures.append(str(error))
                print(f"unreadable: {error}", file=sys.stderr)
    finally:  # interrupted or not, what is finished is handed over
        writer.close(failures)
        if args.output_file and label_files is None:
            write_text(Path(args.output_file), "".join(line + "\n" for line in text))
        if format == "dcase" and args.output_file:
            _warn_of_suffix(Path(args.output_file), text)
        print_found(found)
    if failures:
        asked = len(found.files) + len(found.faults)
        raise EarmarkError(f"{len(failures)} of {asked} files could not be predicted")
    return 0


def _write_prediction(
    classifier: Classifier, settings: EventSettings, writer: Writer[Prediction], path: Path
) -> None:
    """Predict the next file and write the prediction."""
    writer.write(classifier.predict(path, threshold=settings.threshold))


def _write_events(
    classifier: Classifier, settings: EventSettings, writer: Writer[Event], path: Path
) -> None:
    """Find the events in the next file and write each when it has ended."""
    session = classifier.file_session(path, settings)
    try:
        for event in session.detect_file(path):
            writer.write(event)
    finally:
        writer.next_file(session.seconds)


def _write_label_file(
    classifier: Classifier, settings: EventSettings, files: Mapping[Path, Path], path: Path
) -> None:
    """Find the events in the next file and write its own label file, unless nothing was read."""
    from earmark.io.files import write_text

    lines: list[str] = []
    finished = False
    try:
        _write_events(classifier, settings, event_writer("audacity", lines.append), path)
        finished = True
    finally:
        if finished or lines:
            write_text(files[path], "".join(line + "\n" for line in lines))
            if files[path].stem != path.stem:
                print(f"{path}: its labels are in {files[path]}", file=sys.stderr)


def _warn_of_suffix(output: Path, lines: Sequence[str]) -> None:
    """Say that sed_eval will not open a table because of its name, where that is so."""
    suffix = output.suffix.lower()
    # It knows .csv by name, and guesses at others by content, which it does for ASCII alone.
    known = suffix == ".csv" or (suffix == ".tsv" and all(line.isascii() for line in lines))
    if output.is_file() and not known:  # no pipe or device
        print(
            f"warning: {output}: sed_eval opens this table only under a name that ends in .csv; "
            f"for sed_eval, rename it to {output.with_suffix('.csv').name}",
            file=sys.stderr,
        )
