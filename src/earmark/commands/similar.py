"""`earmark similar`: what in a table of embeddings sounds most like a clip."""

from __future__ import annotations

import argparse
import heapq
from pathlib import Path

import numpy as np

from earmark.commands.flags import add_cuda, add_model, load_classifier
from earmark.commands.printing import print_line
from earmark.errors import SettingsError

_FORMATS = ("table", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `similar`."""
    parser.add_argument("clip", metavar="CLIP", help="an audio file")
    parser.add_argument("table", metavar="TABLE", help="what earmark embed wrote")
    parser.add_argument(
        "--top", type=int, default=10, metavar="INT", help="how many to show (%(default)s)"
    )
    parser.add_argument(
        "--format", choices=_FORMATS, default="table", help="table or csv (%(default)s)"
    )
    add_model(parser)
    add_cuda(parser)
    parser.epilog = (
        "Shown are the cosine of the two embeddings, the path, and the onset in seconds. The\n"
        "model must be the one that the table was written with.\n\n"
        "examples:\n"
        "  earmark similar clip.wav all.parquet\n"
        "  earmark similar clip.wav night.parquet --model_dir base --top 20 --format csv"
    )


def run(args: argparse.Namespace) -> int:
    """Find the nearest rows and print them; return the exit code."""
    from earmark.output.embeddings import read_table, refuse_suffix
    from earmark.output.writer import csv_line

    if args.top < 1:
        raise SettingsError(f"--top must be at least 1, got {args.top}")
    refuse_suffix(Path(args.table))
    classifier = load_classifier(args)
    mine = classifier.embed(args.clip).astype(np.float64)
    nearest: list[tuple[float, str, float]] = []
    for part in read_table(Path(args.table), model=classifier.info.identity):
        theirs = part.embeddings.astype(np.float64)
        lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(mine)
        cosines = theirs @ mine / np.maximum(lengths, np.finfo(np.float64).tiny)
        rows = zip(cosines.tolist(), part.paths, part.onsets.tolist(), strict=True)
        nearest = heapq.nsmallest(
            args.top, [*nearest, *rows], key=lambda row: (-row[0], row[1], row[2])
        )
    if args.format == "csv":
        print_line(csv_line(["cosine", "path", "onset"]))
    for cosine, path, onset in nearest:
        if args.format == "csv":
            print_line(csv_line([f"{cosine:.6f}", path, f"{onset:.3f}"]))
        else:
            print_line(f"{cosine:.3f}  {path}  {onset:.2f} s")
    return 0
