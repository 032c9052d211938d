"""`earmark predict`: name the sounds in files, folders and globs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from earmark.runtime.session import Session


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
    parser.add_argument(
        "--workers",
        type=int,
        metavar="INT",
        help="files read at a time (one for each core, with --cuda 1); results keep their order",
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
    from earmark.runtime.workers import StoppableEngine, cores_here, several

    if args.top < 1:
        raise SettingsError(f"--top must be at least 1, got {args.top}")
    format = args.format or ("jsonl" if args.events else "table")
    if format not in (EVENT_FORMATS if args.events else FORMATS):
        raise SettingsError(
            f"--format {format} needs --events"
            if format in EVENT_FORMATS
            else f"--events cannot be written as {format}; use one of {', '.join(EVENT_FORMATS)}"
        )
    if args.workers is not None and args.workers < 1:
        raise SettingsError(f"--workers must be at least 1, got {args.workers}")
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
    workers = min(args.workers or (1 if args.cuda else cores_here()), max(1, len(found.files)))
    stop = threading.Event()
    if workers > 1:
        classifier = type(classifier)(StoppableEngine(classifier.engine, stop))
    write: Callable[[_Begun, Iterator[Any]], None]
    writer: Writer[Event] | Writer[Prediction]
    if args.events:
        if classifier.info.model.network.bidirectional:
            classifier.stream()  # says why not
        front_end = classifier.info.front_end
        writer = event_writer(format, emit, low_hz=front_end.low_hz, high_hz=front_end.high_hz)
        write = functools.partial(_write_results, writer)
        if label_files is not None:  # each has a writer of its own; the one for all stays empty
            write = functools.partial(_write_label_file, label_files)
    else:
        writer = prediction_writer(
            format,
            emit,
            classes=classifier.classes,
            top=args.top,
            threshold=settings.threshold,
            model=model_json(classifier),
        )
        write = functools.partial(_write_results, writer)
    begun = (
        _Begun(path, classifier.file_session(path, settings) if args.events else None)
        for path in found.files
    )
    find = functools.partial(_find, classifier, settings)
    writer.open()
    failures: list[str] = []
    try:
        for fault in found.faults:
            failures.append(fault)
            print(f"unreadable: {fault}", file=sys.stderr)
        with several(find, begun, workers=workers, stop=stop) as each:
            for file, results in each:
                try:
                    write(file, results)
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


class _Begun(NamedTuple):
    """A file, and the session that takes it, where events are looked for."""

    path: Path
    session: Session | None


def _find(
    classifier: Classifier, settings: EventSettings, file: _Begun
) -> Iterator[Event | Prediction]:
    """Find the events of a file, or its one prediction."""
    if file.session is None:
        yield classifier.predict(file.path, threshold=settings.threshold)
    else:
        yield from file.session.detect_file(file.path)


def _write_results(writer: Writer[Any], file: _Begun, results: Iterator[Any]) -> None:
    """Write what is found in the next file as it comes."""
    try:
        for result in results:
            writer.write(result)
    finally:
        if file.session is not None:
            writer.next_file(file.session.seconds)


def _write_label_file(files: Mapping[Path, Path], file: _Begun, results: Iterator[Event]) -> None:
    """Write the next file's own label file, unless nothing was read."""
    from earmark.io.files import write_text

    lines: list[str] = []
    finished = False
    try:
        _write_results(event_writer("audacity", lines.append), file, results)
        finished = True
    finally:
        if finished or lines:
            path = files[file.path]
            write_text(path, "".join(line + "\n" for line in lines))
            if path.stem != file.path.stem:
                print(f"{file.path}: its labels are in {path}", file=sys.stderr)


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
