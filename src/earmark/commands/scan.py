"""`earmark scan`: look at a folder of recordings before it is labelled."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.commands.printing import print_found, print_line
from earmark.errors import EarmarkError
from earmark.io.sizes import show_size
from earmark.output.writer import csv_line

if TYPE_CHECKING:
    from earmark.archive.scan import Report

_SHOWN = 8
_EVERY = 500  # files between two lines of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `scan`."""
    parser.add_argument("sources", nargs="+", help="folders of recordings, files, or globs")
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="the model that is to label them, for the estimate: a run of training, or a file of "
        "earmark export, or the word base or esc10 (base)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="INT", help="workers that are to label them (one a core)"
    )
    parser.add_argument(
        "--thorough", action="store_true", help="decode all of each file, not its first second"
    )
    parser.add_argument(
        "--time_zone",
        default="UTC",
        metavar="NAME",
        help="of times in file names that do not say theirs (%(default)s)",
    )
    parser.add_argument(
        "--output_file", metavar="FILE", help="write a table (CSV) with a row for each file too"
    )
    parser.epilog = (
        "A pause between recordings of a site is a gap where it is longer than is usual there.\n"
        "The estimate is measured on some files, on this machine as it is now.\n\n"
        "examples:\n"
        "  earmark scan recordings/\n"
        "  earmark scan recordings/ --thorough --output_file files.csv"
    )


def run(args: argparse.Namespace) -> int:
    """Look at every file and print what is there; return the exit code."""
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise EarmarkError(f"archives need {error.name}; pip install 'earmark[archive]'") from None
    from earmark.archive.origin import time_zone
    from earmark.archive.plan import plan_sources
    from earmark.archive.scan import COLUMNS, as_columns, scan
    from earmark.classifier import Classifier
    from earmark.io.files import write_text
    from earmark.io.outputs import refuse_output
    from earmark.runtime.workers import cores_here

    zone = time_zone(args.time_zone)
    classifier = Classifier.load(args.model_dir)
    plan = plan_sources(args.sources)
    if args.output_file:
        refuse_output(Path(args.output_file), [unit.address for unit in plan.units])
    workers = args.workers or cores_here()

    def show(count: int) -> None:
        if count % _EVERY == 0:
            print(f"{count} of {len(plan.units)} files", file=sys.stderr)

    report = scan(plan, classifier, zone, workers=workers, thorough=args.thorough, show=show)
    for fault in plan.faults:
        print(f"unreadable: {fault}", file=sys.stderr)
    if plan.found is not None:
        print_found(plan.found)
    for line in lines(report, workers):
        print_line(line)
    if args.output_file:
        table = [
            csv_line(list(COLUMNS)),
            *(csv_line(list(as_columns(one))) for one in report.files),
        ]
        write_text(Path(args.output_file), "".join(line + "\n" for line in table))
    return 0


def lines(report: Report, workers: int) -> list[str]:
    """Return what is said of a folder."""
    size = sum(max(0, one.unit.size) for one in report.files)
    said = [
        f"{len(report.files)} files, {_hours(report.seconds)} of audio, {show_size(size)}",
        f"sample rates: {_counted(report.counts(lambda one: one.sample_rate), ' Hz')}",
        f"channels: {_counted(report.counts(lambda one: one.channels), '')}",
    ]
    lengths = sorted(one.seconds for one in report.files if one.seconds is not None)
    if lengths:
        middle = lengths[len(lengths) // 2]
        said.append(f"lengths: {lengths[0]:.1f} to {lengths[-1]:.1f} s, half below {middle:.1f} s")
    untold = sum(one.seconds is None and not one.cause for one in report.files)
    if untold:
        said.append(f"lengths not told: {untold}, left out of all sums; --thorough decodes them")
    timed = [one.start for one in report.files if one.start is not None]
    sites = {one.site for one in report.files if one.site}
    if timed:
        said.append(
            f"recorded from {min(timed):%Y-%m-%d %H:%M:%S} to {max(timed):%Y-%m-%d %H:%M:%S} UTC"
            + (f" at {len(sites)} sites" if len(sites) > 1 else "")
            + (
                f"; {len(report.files) - len(timed)} files do not say when"
                if len(timed) < len(report.files)
                else ""
            )
        )
        said += _gap_lines(report)
    else:
        said.append("no file says when it was recorded")
    if unfinished := sum(one.unfinished for one in report.files):
        said.append(f"{unfinished} files with an unfinished header, read whole")
    said += _fault_lines(report)
    if report.estimate is None:
        if not untold:
            said.append("nothing decodes, so there is nothing to label")
    else:
        estimate = report.estimate
        said.append(
            f"labelling: about {_hours(estimate.seconds)} with {workers} workers "
            f"({estimate.speed:.0f} times real time each, measured on {estimate.probed:.0f} s), "
            f"about {show_size(estimate.size)} of results"
        )
    return said


def _gap_lines(report: Report) -> list[str]:
    holes = [gap for gap in report.gaps if gap.seconds > 0]
    doubled = [gap for gap in report.gaps if gap.seconds < 0]
    said = []
    for found, what in ((holes, "gaps"), (doubled, "overlaps")):
        if not found:
            continue
        total = sum(abs(gap.seconds) for gap in found)
        said.append(f"{what}: {len(found)}, {_hours(total)} in all; the longest:")
        said += [
            f"  {gap.site or 'no site'}: {_hours(abs(gap.seconds))} from "
            f"{gap.begin:%Y-%m-%d %H:%M:%S} UTC"
            for gap in found[:_SHOWN]
        ]
    return said or ["no gaps between the recordings"]


def _fault_lines(report: Report) -> list[str]:
    faulty = [one for one in report.files if one.cause]
    if not faulty:
        return ["no file with a fault was found"]
    said = [f"files with a fault: {len(faulty)}"]
    causes = Counter(one.cause for one in faulty)
    for cause, count in causes.most_common():
        example = next(one.error for one in faulty if one.cause == cause)
        said.append(f"  {cause}: {count}, such as {example}")
    return said


def _counted(counts: Counter[object], unit: str) -> str:
    shown = [
        f"{'unknown' if value is None else f'{value}{unit}'} ({count})"
        for value, count in counts.most_common(_SHOWN)
    ]
    return ", ".join(shown) or "none"


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
