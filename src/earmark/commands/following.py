"""Flags of what follows a stream: alerts, and what is kept of its events."""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

from earmark.errors import SettingsError
from earmark.io.sizes import parse_size
from earmark.live.keeper import KeepSettings


def add_following(parser: argparse.ArgumentParser) -> None:
    """Add `--alerts`, `--keep` and their settings."""
    group = parser.add_argument_group("alerts and recorder")
    group.add_argument(
        "--alerts",
        metavar="FILE",
        help="rules in TOML: what to tell a broker, a webhook or a program; docs/how-to/alerts.md",
    )
    group.add_argument(
        "--keep", metavar="DIR", help="keep events and their clips there, for earmark's tables"
    )
    group.add_argument(
        "--keep_size",
        type=_size,
        metavar="SIZE",
        default=_size("2GB"),
        help="all clips together, the oldest go first (2GB)",
    )
    group.add_argument(
        "--keep_days", type=float, metavar="FLOAT", default=30.0, help="age of a clip (%(default)s)"
    )
    group.add_argument(
        "--keep_before",
        type=float,
        metavar="FLOAT",
        default=2.0,
        help="seconds of a clip before its event (%(default)s)",
    )
    group.add_argument(
        "--keep_after",
        type=float,
        metavar="FLOAT",
        default=2.0,
        help="seconds of a clip after it (%(default)s)",
    )


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add `--start`."""
    parser.add_argument(
        "--start",
        type=_time,
        metavar="TIME",
        help="for --keep and --alerts, when a recording given by --file began, as "
        "2026-05-01T04:30:00Z; without it, its events are dated as if it began now",
    )


def keep_settings(args: argparse.Namespace) -> KeepSettings | None:
    """Return what is to be kept, if anything.

    Raises:
        SettingsError: a setting is out of range.
    """
    if args.keep is None:
        return None
    return KeepSettings(
        args.keep,
        most_bytes=args.keep_size,
        most_days=args.keep_days,
        before=args.keep_before,
        after=args.keep_after,
    )


def rules_path(args: argparse.Namespace) -> Path | None:
    """Return the file of the rules, if there is one."""
    return None if args.alerts is None else Path(args.alerts)


def refuse_odd_following(args: argparse.Namespace) -> None:
    """Refuse flags that say nothing without others.

    Raises:
        SettingsError: with the flag that is missing.
    """
    keep_settings(args)
    if args.start is not None and (not args.file or args.realtime):
        raise SettingsError("--start dates a recording; it needs --file without --realtime")
    if args.start is not None and not (args.keep or args.alerts):
        raise SettingsError("--start dates events for --keep and --alerts; give one of them")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _time(text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; give one as 2026-05-01T04:30:00Z"
        ) from None
    return time.astimezone(datetime.timezone.utc)  # one without a zone is local
