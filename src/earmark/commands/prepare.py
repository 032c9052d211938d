"""`earmark prepare`: a dataset becomes split files."""

from __future__ import annotations

import argparse
from pathlib import Path

from earmark.commands.datasets import (
    DATASETS,
    add_dataset_flags,
    dataset_request,
    terminal_reporter,
)
from earmark.commands.flags import add_cache_dir
from earmark.commands.recipes import load_start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `prepare`."""
    parser.add_argument("dataset", help=DATASETS)
    parser.add_argument("--out", default="splits", help="folder of the split files (%(default)s)")
    parser.add_argument(
        "--recipe",
        default="documented",
        metavar="NAME",
        help="recipe whose mel frames to make, or those of the model that it starts from, by name "
        "or .toml file (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="INT", help="seed of made folds and sounds (0)"
    )
    parser.add_argument(
        "--self_contained",
        action="store_true",
        help="write the features into the split files, in place of references to the cache, so "
        "that they can be taken to another machine",
    )
    add_cache_dir(parser)
    add_dataset_flags(parser)
    parser.epilog = (
        "Features are kept in a cache, so that a file is decoded once; see earmark cache.\n\n"
        "examples:\n  earmark prepare synthetic\n  earmark prepare ESC-50/ --esc10\n"
        "  earmark prepare my_sounds/ --folds 4 --out my_splits"
    )


def run(args: argparse.Namespace) -> int:
    """Read a dataset, write its splits, report; return the exit code."""
    from earmark.config.recipes import read_recipe
    from earmark.data.cache.store import FeatureCache
    from earmark.data.dataset import replaceable_splits, report, write_splits
    from earmark.data.prepare import extract_features, refuse_failures
    from earmark.data.splits import split_path
    from earmark.io.outputs import refuse_output

    out = Path(args.out)
    refuse_output(split_path(out, 0), [args.dataset])
    replaceable_splits(out)
    request = dataset_request(args, seed=args.seed)
    recipe, _ = load_start(read_recipe(args.recipe), {})
    cache = FeatureCache(args.cache_dir)
    dataset = extract_features(request, recipe.front_end, reporter=terminal_reporter(), cache=cache)
    paths = write_splits(dataset, out, self_contained=args.self_contained)
    print(report(dataset))
    print(f"wrote {paths[0]} to {paths[-1].name}")
    refuse_failures(dataset, request, "the splits hold the others")
    return 0
