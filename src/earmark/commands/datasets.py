"""Reading a dataset as `prepare`, `train` and `crossval` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import EarmarkError, SettingsError

if TYPE_CHECKING:
    from earmark.config import FrontEndSettings
    from earmark.data.dataset import FeatureDataset

DATASETS = (
    "folder of ESC-10, ESC-50, UrbanSound8K or one folder per class; a table "
    "path,label[,fold][,group]; or the word synthetic for the built-in sounds"
)
FOLDS = 5
# Whole datasets by name: a download that broke off must not pass for one.
_KNOWN_CLIPS = {"ESC-10": 400, "ESC-50": 2000, "ESC-50 (esc10 rows)": 400, "UrbanSound8K": 8732}


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how a dataset is read."""
    parser.add_argument(
        "--folds",
        type=int,
        metavar="INT",
        help=f"folds to make where there are none ({FOLDS})",
    )
    parser.add_argument("--esc10", action="store_true", help="of ESC-50, only the ESC-10 classes")
    parser.add_argument(
        "--allow_incomplete",
        action="store_true",
        help="go on though a known dataset lacks clips or some files cannot be read",
    )


def hear(
    dataset_path: str,
    args: argparse.Namespace,
    front_end: FrontEndSettings,
    seed: int,
    *,
    tested: bool = True,
) -> FeatureDataset:
    """Read and hear a dataset, with a bar; name the files that cannot be read on stderr.

    Args:
        dataset_path: a path, or the word synthetic.
        args: with the flags of `add_dataset_flags`.
        front_end: how to make frames.
        seed: seed of made folds and of the built-in sounds.
        tested: a fold will be tested; else none are made, and those there are may leak.

    Raises:
        EarmarkError: there is no such dataset, or it is incomplete and that was not allowed.
    """
    from tqdm import tqdm

    from earmark.data.dataset import build_dataset
    from earmark.data.readers import SYNTHETIC, read_dataset
    from earmark.data.synthetic import sounds

    folds = FOLDS if args.folds is None else args.folds
    if folds < 2:
        raise SettingsError(f"--folds must be at least 2, got {folds}")
    if seed < 0:
        raise SettingsError(f"--seed must be at least 0, got {seed}")
    if dataset_path == "synthetic":
        print(f"generating the built-in synthetic sounds in {SYNTHETIC}/", flush=True)
        dataset = sounds.write_dataset(Path(SYNTHETIC), seed=seed)
    else:
        dataset = read_dataset(Path(dataset_path), esc10_only=args.esc10)

    whole = _KNOWN_CLIPS.get(dataset.name, len(dataset.clips))
    if len(dataset.clips) != whole and not args.allow_incomplete:
        raise EarmarkError(
            f"{dataset_path}: has {len(dataset.clips)} of the {whole} clips of {dataset.name}; "
            "complete it, or accept this with --allow_incomplete"
        )

    def bar(results: Iterable[object]) -> Iterable[object]:
        total = len(dataset.clips)
        return tqdm(results, total=total, unit="clip", desc="reading", disable=None)

    def name_failure(failure: str) -> None:
        print(f"unreadable: {failure}", file=sys.stderr)

    return build_dataset(
        *(dataset, front_end),
        folds=folds if tested else 1,
        seed=seed,
        progress=bar,
        name_failure=name_failure,
    )


def refuse_failures(heard: FeatureDataset, args: argparse.Namespace, what: str) -> None:
    """End with an error when files were left out, once what could be done is done.

    Raises:
        EarmarkError: some files could not be read, and that was not allowed.
    """
    if heard.failures and not args.allow_incomplete:
        raise EarmarkError(
            f"{len(heard.failures)} of {len(heard.failures) + len(heard.heard)} files were left "
            f"out; {what}; mend the files, or accept this with --allow_incomplete"
        )
