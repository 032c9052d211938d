"""Flags and choices that several commands share. Layer 7."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_cuda(parser: argparse.ArgumentParser) -> None:
    """Add `--cuda`."""
    parser.add_argument(
        "--cuda", action="store_true", help="use CUDA if it is available, else say so and go on"
    )


def add_splits_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--splits_dir`."""
    parser.add_argument(
        "--splits_dir",
        metavar="DIR",
        help="folder of the split files (splits here, else beside the script)",
    )


def choose_device(cuda: bool) -> str:
    """Return the device to use; say so on stderr when CUDA was asked for and is missing."""
    import torch

    if cuda and not torch.cuda.is_available():
        print("CUDA is not available; going on with the CPU", file=sys.stderr)
    return "cuda" if cuda and torch.cuda.is_available() else "cpu"


def splits_folder(given: str | None, beside: Path | None) -> Path:
    """Choose the folder of splits: the one given, `splits` here, or `splits` beside the scripts."""
    here = Path("splits")
    if given is not None:
        return Path(given)
    if not here.is_dir() and beside is not None and (beside / "splits").is_dir():
        return beside / "splits"
    return here
