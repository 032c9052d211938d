"""`earmark cache`: what is kept of audio files, where, and how much of it."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING

from earmark.commands.flags import add_cache_dir
from earmark.errors import RunError
from earmark.io.sizes import show_size

if TYPE_CHECKING:
    from earmark.data.cache.store import FeatureCache, Holding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `cache`."""
    parser.add_argument("--clear", action="store_true", help="remove all features that are kept")
    parser.add_argument(
        "--max_size",
        metavar="SIZE",
        help="how large the cache may grow from now on, as 500MB or 20GB (20GB)",
    )
    add_cache_dir(parser)
    parser.epilog = (
        "prepare, train and crossval keep the features of audio files here, by the content of\n"
        "the file, so that it is decoded once. What was used longest ago is removed first. Split\n"
        "files refer to it; what they need and is not there is made again from the audio.\n\n"
        "examples:\n  earmark cache\n  earmark cache --max_size 50GB\n  earmark cache --clear"
    )


def run(args: argparse.Namespace) -> int:
    """Show, limit or clear the cache; return the exit code."""
    from earmark.data.cache.place import parse_limit
    from earmark.data.cache.store import FeatureCache

    if args.clear and args.max_size is not None:
        raise RunError("--clear also forgets the limit; leave out --max_size, or give it after")
    cache = FeatureCache(args.cache_dir)
    if args.clear:
        print(f"{cache.folder}: cleared, {show_size(cache.clear())} set free")
        return 0
    if args.max_size is not None:
        cache.set_limit(parse_limit(args.max_size))
    print("\n".join(_describe(cache)))
    return 0


def _describe(cache: FeatureCache) -> list[str]:
    """Lay out what the cache holds."""
    holdings = cache.holdings()
    size = show_size(sum(holding.size for holding in holdings))
    lines = [f"{cache.folder}: {size} of at most {show_size(cache.max_bytes)}"]
    if holdings:
        lines.append(f"{'clips':>7}  {'size':>9}  last used (UTC)   front end")
    return lines + [_row(holding) for holding in holdings]


def _row(holding: Holding) -> str:
    front_end = holding.front_end
    names = ("sample_rate", "n_fft", "hop_length", "n_mels")
    what = ", ".join(f"{name} {front_end[name]}" for name in names if name in front_end)
    if holding.network:
        what = f"generated sounds, as the network {holding.network[:16]} embeds them"
    if not holding.current:
        what = f"{what or 'unreadable'}; of other versions, not used any more"
    used = datetime.datetime.fromtimestamp(holding.used, datetime.timezone.utc)
    size = show_size(holding.size)
    return f"{holding.clips:>7}  {size:>9}  {used:%Y-%m-%d %H:%M}  {what}"
