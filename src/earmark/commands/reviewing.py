"""`earmark results --review`: clips of each class, the page to judge them, what that comes to."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import ArchiveError, SettingsError
from earmark.io.lock import FolderLock

if TYPE_CHECKING:
    from earmark.archive.query import Questions
    from earmark.archive.verdicts import Precision, VerdictTable

_PER_CLASS = 20


def add_reviewing(parser: argparse.ArgumentParser) -> None:
    """Add the flags that go with `--review`."""
    parser.add_argument(
        "--per_class",
        type=int,
        metavar="INT",
        help=f"clips of each class for --review ({_PER_CLASS})",
    )
    parser.add_argument(
        "--port", type=int, metavar="INT", help="port of the page of --review (any free one)"
    )
    parser.add_argument(
        "--no_page",
        action="store_true",
        help="with --review, no page: verdicts are written into the table review.csv by hand",
    )


def refuse_odd_reviewing(args: argparse.Namespace) -> None:
    """Refuse flags that say nothing without `--review`, and values out of range.

    Raises:
        SettingsError: with the flag.
    """
    for name in ("per_class", "port", "no_page"):
        if getattr(args, name) and not args.review:
            raise SettingsError(f"--{name} is about --review; give both or neither")
    if args.per_class is not None and args.per_class < 1:
        raise SettingsError(f"--per_class must be at least 1, got {args.per_class}")


def review(questions: Questions, args: argparse.Namespace) -> list[Precision]:
    """Have clips judged; return the precisions, or nothing where there are no verdicts yet.

    Raises:
        ArchiveError: there is nothing to judge, or the table is not one that can be read.
        StorageError: another process has the folder.
        SettingsError: the port is taken.
        OSError: the folder cannot be written.
    """
    from earmark.archive.review import write_review
    from earmark.archive.verdicts import TABLE, VerdictTable, precisions

    folder = Path(args.review)
    lock = FolderLock(folder, "give another --review")
    try:
        made = not (folder / TABLE).exists()
        if made:
            most = args.per_class or _PER_CLASS
            count, missing = write_review(folder, questions, most, secrets.randbelow(1 << 31))
            if not count:
                (folder / TABLE).unlink()
                raise ArchiveError(
                    f"{folder}: nothing to judge, no event's recording can be read; see that the "
                    "recordings lie where they were labelled; those at addresses, as s3://, are "
                    "not fetched"
                )
            gone = (
                f"; {missing} left out: recordings that cannot be read, or lie at addresses"
                if missing
                else ""
            )
            print(f"{folder / TABLE}: {count} clips{gone}", file=sys.stderr)
        table = VerdictTable(folder)
        paged = bool(not args.no_page and table.waiting and _serve(table, args.port or 0))
    finally:
        lock.release()
    if not table.judged:
        by_hand = f"write yes or no into the column verdict of {folder / TABLE}, and "
        if not made and not paged:
            raise ArchiveError(f"{folder / TABLE}: has no verdicts yet; {by_hand}run this again")
        print(f"no verdicts yet; {'' if paged else by_hand}run this again", file=sys.stderr)
    return precisions(table.rows)


def _serve(table: VerdictTable, port: int) -> bool:
    """Serve the page until the user has done; return whether it can be served at all.

    Raises:
        SettingsError: the port is taken.
    """
    try:
        from earmark.serve import server
        from earmark.serve.review import make_review
        from earmark.serve.settings import Access
    except ModuleNotFoundError as error:
        print(f"no page without {error.name}; pip install 'earmark[serve]'", file=sys.stderr)
        return False
    access = Access(port=port)

    def done() -> None:
        made.should_exit = True

    made = server.serving(make_review(table, access, done), access)
    with server.bind(access) as listener:
        address = server.address(access, listener)
        print(f"Judge the clips here: {address}", file=sys.stderr)
        print(
            "Done on the page, or Ctrl-C, ends it; verdicts are kept as they come.", file=sys.stderr
        )
        _open(address)
        with contextlib.suppress(KeyboardInterrupt):
            made.run(sockets=[listener])
    return True


def _open(address: str) -> None:
    """Open the page, where there is a desktop to open it on."""
    if sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)
