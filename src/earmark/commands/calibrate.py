"""`earmark calibrate`: fit thresholds to recordings of the place where a model is to listen."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.commands.flags import (
    add_cuda,
    add_event_settings,
    add_model,
    add_restriction,
    event_settings,
    load_classifier,
)
from earmark.errors import AudioError

if TYPE_CHECKING:
    from earmark.evaluation.background import Alarms, BackgroundFit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `calibrate`."""
    add_model(parser)
    parser.add_argument(
        "--background",
        nargs="+",
        required=True,
        metavar="FILE",
        help="recordings in which none of the classes sounds: files, folders of them, or globs",
    )
    parser.add_argument(
        "--false_alarms_per_hour",
        type=float,
        required=True,
        metavar="FLOAT",
        help="events an hour that may be found in background",
    )
    parser.add_argument(
        "--positives",
        metavar="PATH",
        help="folder or table of labelled clips, to say what the thresholds cost in recall",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to write the calibration, as JSON"
    )
    add_restriction(parser, calibration=False)
    add_cuda(parser)
    add_event_settings(parser, threshold=False)
    parser.epilog = (
        "Thresholds are only raised, and the weights stay as they are. The rate holds for the\n"
        "settings of events that are given here. An hour is the least for one false alarm an\n"
        "hour, three hours are needed to be sure of it.\n\n"
        "examples:\n"
        "  earmark calibrate --background room.flac --false_alarms_per_hour 1 --out room.json\n"
        "  earmark calibrate --model RUN --background night/ --positives my_sounds/ \\\n"
        "    --false_alarms_per_hour 0.5 --out room.json\n"
        "  earmark stream --calibration room.json"
    )


def run(args: argparse.Namespace) -> int:
    """Fit, say what was found, write the calibration; return the exit code."""
    from earmark.decision.calibration_file import write_calibration
    from earmark.io.outputs import files_of, refuse_output
    from earmark.io.paths import expand

    found = expand(args.background)
    if found.faults:
        raise AudioError(found.faults[0])
    refuse_output(Path(args.out), [*found.files, *files_of(args.model_dir)])
    classifier = load_classifier(args)
    fit = classifier.calibrate(
        found.files,
        false_alarms_per_hour=args.false_alarms_per_hour,
        positives=args.positives,
        settings=event_settings(args),
    )
    write_calibration(
        Path(args.out),
        fit.calibration,
        classifier.info.identity,
        classes=classifier.classes,
        fitted={**fit.to_dict(), "background": [str(path) for path in found.files]},
    )
    print("\n".join(_lay_out(fit, len(found.files))))
    for note in fit.notes:
        print(f"note: {note}", file=sys.stderr)
    use = ["earmark", "stream", *(["--model", args.model_dir] if args.model_dir else [])]
    print(f"wrote {args.out}; use it with: {shlex.join([*use, '--calibration', args.out])}")
    return 0


def _lay_out(fit: BackgroundFit, files: int) -> list[str]:
    """Return what was found as lines for a terminal."""
    lines = [
        f"background: {fit.hours:.2f} h in {files} file{'s' * (files != 1)}",
        f"before: {_say_alarms(fit.before)}",
        f"after:  {_say_alarms(fit.after)}, on the same hours",
    ]
    width = max(map(len, (*fit.raised, *fit.recall)), default=0)
    if fit.raised:
        lines.append("thresholds that were raised:")
        lines += [f"  {n:<{width}}  {old:.4f} -> {new:.4f}" for n, (old, new) in fit.raised.items()]
    if fit.recall:
        lines.append("clips in which an event of their class is found, before and after:")
        lines += [
            f"  {name:<{width}}  {row.before:4d} {row.after:4d} of {row.clips}"
            for name, row in fit.recall.items()
        ]
        clips, before, after = (
            sum(getattr(row, part) for row in fit.recall.values())
            for part in ("clips", "before", "after")
        )
        lines.append(
            f"recall: {100 * before / clips:.1f} % before, {100 * after / clips:.1f} % after"
        )
    return lines


def _say_alarms(alarms: Alarms) -> str:
    from earmark.evaluation.background import say_rate

    low, high = alarms.interval
    most = ", ".join(f"{name} {count}" for name, count in list(alarms.by_class.items())[:5])
    plural = "s" * (alarms.count != 1)
    return (
        f"{alarms.count} false alarm{plural}, {say_rate(alarms.per_hour)} an hour "
        f"(95 %: {say_rate(low)} to {say_rate(high)})" + (f"; {most}" if most else "")
    )
