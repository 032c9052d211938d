"""Flags that say how a dataset is read, and what is shown meanwhile, for several commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark.data.prepare import DatasetRequest, Reporter

DATASETS = (
    "folder of ESC-10, ESC-50, UrbanSound8K or one folder per class; a table "
    "path,label[,fold][,group]; or the word synthetic for the built-in sounds"
)
DATASET_FLAGS = ("folds", "esc10", "allow_incomplete", "negatives")
_FOLDS = 5  # of earmark.data.prepare, which would load torch for a --help


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how a dataset is read."""
    parser.add_argument(
        "--folds",
        type=int,
        metavar="INT",
        help=f"folds to make where there are none ({_FOLDS})",
    )
    parser.add_argument("--esc10", action="store_true", help="of ESC-50, only the ESC-10 classes")
    parser.add_argument(
        "--allow_incomplete",
        action="store_true",
        help="go on though a known dataset lacks clips or some files cannot be read",
    )

    parser.add_argument(
        "--negatives",
        action="append",
        metavar="PATH",
        help="folder, or table with a column path, of recordings of no class, which no class "
        "should answer to; may be given again. Folders and labels of the dataset named none, none "
        "of these, background, noise or background noise are such too",
    )


def dataset_request(args: argparse.Namespace, *, seed: int = 0) -> DatasetRequest:
    """Return what the flags of `add_dataset_flags` and the argument `dataset` ask for.

    Raises:
        SettingsError: a value is out of range.
    """
    from earmark.data.prepare import DatasetRequest

    return DatasetRequest(
        path=args.dataset,
        folds=args.folds,
        esc10=args.esc10,
        allow_incomplete=args.allow_incomplete,
        negatives=tuple(args.negatives or ()),
        seed=seed,
    )


def terminal_reporter() -> Reporter:
    """Return what shows a bar, and names the files that cannot be read on stderr."""
    from earmark.data.prepare import Reporter

    class _Terminal(Reporter):
        def tell(self, line: str) -> None:
            print(line, flush=True)

        def remark(self, line: str) -> None:
            print(line, file=sys.stderr)

        def tell_fault(self, line: str) -> None:
            print(f"unreadable: {line}", file=sys.stderr)

        def watch(self, results: Iterable[object], total: int) -> Iterable[object]:
            from tqdm import tqdm

            bar: Iterable[object] = tqdm(
                results, total=total, unit="clip", desc="reading", disable=None
            )
            return bar

    return _Terminal()
