"""`earmark embed`: the embeddings of files, or of every second of them, as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.commands.flags import add_cuda, add_model, load_classifier
from earmark.commands.printing import print_found
from earmark.errors import AudioError, EarmarkError, SettingsError

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.io.paths import Found
    from earmark.output.embeddings import Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `embed`."""
    parser.add_argument("files", nargs="+", help="audio files, folders of them, or globs")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="the table: FILE.parquet (needs pyarrow) or FILE.npz",
    )
    parser.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="a row for every so many seconds of a file, up to 60, or with 0 for every step of the "
        "model; without it, one row for each file",
    )
    add_model(parser)
    add_cuda(parser)
    parser.epilog = (
        "A row has the path, the onset in seconds, the identity of the model and its embedding.\n"
        "A file that cannot be read is named on stderr and left out; the exit code is then 1.\n\n"
        "examples:\n"
        "  earmark embed recordings/ --out all.parquet\n"
        "  earmark embed night.flac --every 1 --out night.parquet --model_dir base\n"
        "  earmark similar clip.wav all.parquet"
    )


def run(args: argparse.Namespace) -> int:
    """Embed every file, write the table, report what cannot be read; return the exit code."""
    from earmark.io.outputs import files_of, refuse_output
    from earmark.io.paths import expand
    from earmark.output.embeddings import refuse_suffix, write_table
    from earmark.runtime.embedding import LONGEST_SEGMENT

    out = Path(args.out)
    refuse_suffix(out)
    if args.every is not None and not 0 <= args.every <= LONGEST_SEGMENT:
        raise SettingsError(f"--every must be from 0 to {LONGEST_SEGMENT:.0f}, got {args.every}")
    found = expand(args.files)
    refuse_output(out, [*found.files, *files_of(args.model_dir)])
    classifier = load_classifier(args)
    size = classifier.embedding_size
    if args.every is not None:
        classifier.embedding_stream()  # says why not
    failures: list[str] = []
    rows = _embed(classifier, found, args.every, failures)
    count = write_table(out, rows, model=classifier.info.identity, size=size)
    print_found(found)
    print(f"wrote {out}: {count} rows of {size} numbers, model {classifier.info.identity[:16]}")
    if failures:
        asked = len(found.files) + len(found.faults)
        raise EarmarkError(f"{len(failures)} of {asked} files could not be embedded")
    return 0


def _embed(
    classifier: Classifier, found: Found, every: float | None, failures: list[str]
) -> Iterator[Row]:
    """Yield the rows of every file; name those that cannot be read.

    Of a file whose fault comes late, the segments before it are kept, as `predict --events` does.
    """
    from earmark.output.embeddings import Row

    for fault in found.faults:
        failures.append(fault)
        print(f"unreadable: {fault}", file=sys.stderr)
    for path in found.files:
        try:
            if every is None:
                yield Row(str(path), 0.0, classifier.embed(path))
                continue
            for segment in classifier.embed_segments(path, every_seconds=every):
                yield Row(str(path), segment.onset, segment.vector)
        except AudioError as error:
            failures.append(str(error))
            print(f"unreadable: {error}", file=sys.stderr)
