"""`earmark prepare`: a dataset becomes split files. Layer 7."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from earmark.errors import EarmarkError, SettingsError

# Whole datasets by name: a download that broke off must not pass for one.
_KNOWN_CLIPS = {"ESC-10": 400, "ESC-50": 2000, "ESC-50 (esc10 rows)": 400, "UrbanSound8K": 8732}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `prepare`."""
    parser.add_argument(
        "dataset",
        help="folder of ESC-10, ESC-50, UrbanSound8K or one folder per class; a table "
        "path,label[,fold][,group]; or the word synthetic for the built-in sounds",
    )
    parser.add_argument("--out", default="splits", help="folder of the split files (%(default)s)")
    parser.add_argument(
        "--folds", type=int, default=5, help="folds to make where there are none (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of made folds and sounds")
    parser.add_argument("--esc10", action="store_true", help="of ESC-50, only the ESC-10 classes")
    parser.add_argument(
        "--allow_incomplete",
        action="store_true",
        help="go on though a known dataset lacks clips, and exit with 0 though some are unreadable",
    )
    parser.epilog = (
        "examples:\n  earmark prepare synthetic\n  earmark prepare ESC-50/ --esc10\n"
        "  earmark prepare my_sounds/ --folds 4 --out my_splits"
    )


def run(args: argparse.Namespace) -> int:
    """Read a dataset, write its splits, report; return the exit code."""
    from tqdm import tqdm

    from earmark.data import synthetic
    from earmark.data.prepare import hear_dataset, report, write_splits
    from earmark.data.readers import SYNTHETIC, read_dataset
    from earmark.settings import FrontEndSettings

    if args.folds < 2:
        raise SettingsError(f"--folds must be at least 2, got {args.folds}")
    if args.seed < 0:
        raise SettingsError(f"--seed must be at least 0, got {args.seed}")
    if args.dataset == "synthetic":
        print(f"generating the built-in synthetic sounds in {SYNTHETIC}/", flush=True)
        dataset = synthetic.write_dataset(Path(SYNTHETIC), seed=args.seed)
    else:
        dataset = read_dataset(Path(args.dataset), esc10_only=args.esc10)

    whole = _KNOWN_CLIPS.get(dataset.name, len(dataset.clips))
    if len(dataset.clips) != whole and not args.allow_incomplete:
        raise EarmarkError(
            f"{args.dataset}: has {len(dataset.clips)} of the {whole} clips of {dataset.name}; "
            "complete it, or accept this with --allow_incomplete"
        )

    def bar(results: Iterable[object]) -> Iterable[object]:
        total = len(dataset.clips)
        return tqdm(results, total=total, unit="clip", desc="reading", disable=None)

    prepared = hear_dataset(
        dataset, FrontEndSettings(), folds=args.folds, seed=args.seed, progress=bar
    )
    paths = write_splits(prepared, Path(args.out))
    print(report(prepared))
    for failure in prepared.failures:
        print(f"unreadable: {failure}", file=sys.stderr)
    print(f"wrote {paths[0]} to {paths[-1].name}")
    if prepared.failures and not args.allow_incomplete:
        raise EarmarkError(
            f"{len(prepared.failures)} of {len(dataset.clips)} files were left out; the splits "
            "hold the others; mend the files, or accept this with --allow_incomplete"
        )
    return 0
