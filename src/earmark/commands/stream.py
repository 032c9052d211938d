"""`earmark stream`: find events in a microphone, a pipe or a file as it comes."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.commands.flags import (
    add_cuda,
    add_event_settings,
    add_model,
    add_restriction,
    event_settings,
    load_classifier,
)
from earmark.commands.following import (
    add_following,
    add_start,
    keep_settings,
    refuse_odd_following,
    rules_path,
)
from earmark.commands.live_display import LiveDisplay
from earmark.commands.printing import synthetic_note
from earmark.errors import SettingsError
from earmark.io.pcm import WIDTHS
from earmark.live.capture import Capture, Reconnecting, Source, pace, read_chunks
from earmark.live.chunk import Chunk
from earmark.live.pipe import Pipe
from earmark.live.sources import STALL_SECONDS, Microphone, devices
from earmark.live.watch import Watch
from earmark.output.events import FORMATS, TEXT
from earmark.runtime.events import Event

if TYPE_CHECKING:
    from earmark.alerts.station import Station
    from earmark.classifier import Classifier
    from earmark.runtime.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `stream`."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="-",
        help="read standard input: audio in any format, or raw samples with --sample_rate; "
        "without it, the microphone",
    )
    parser.add_argument("--file", metavar="FILE", help="read a file, as fast as it goes")
    parser.add_argument(
        "--realtime", action="store_true", help="read the file at the speed of the sound"
    )
    parser.add_argument("--device", metavar="NAME", help="microphone, by name or number")
    parser.add_argument("--list_devices", action="store_true", help="list audio devices and end")
    parser.add_argument("--sample_rate", type=int, metavar="INT", help="sample rate of raw samples")
    parser.add_argument(
        "--channels", type=int, default=1, metavar="INT", help="channels of raw samples (1)"
    )
    parser.add_argument(
        "--encoding",
        choices=tuple(WIDTHS),
        default="s16le",
        metavar="NAME",
        help=f"of raw samples: {', '.join(WIDTHS)} (%(default)s)",
    )
    add_model(parser)
    parser.add_argument(
        "--format",
        choices=(TEXT, *FORMATS),
        help="how to write events (text, with live bars where the output is a terminal)",
    )
    parser.add_argument("--jsonl", action="store_true", help="the same as --format jsonl")
    parser.add_argument(
        "--reconnect",
        action="store_true",
        help="wait for a device that has gone or a pipe that has stalled, in place of ending",
    )
    parser.add_argument(
        "--stall_seconds",
        type=float,
        default=STALL_SECONDS,
        metavar="FLOAT",
        help="a source that gives nothing for this long has stalled (%(default)s)",
    )
    add_restriction(parser)
    add_cuda(parser)
    add_start(parser)
    add_following(parser)
    add_event_settings(parser)
    parser.epilog = (
        "Each event is written when it has ended, with its onset and offset in seconds from the\n"
        "start. Samples that were dropped count as silence, so that times stay right.\n\n"
        "examples:\n"
        "  earmark stream\n"
        "  arecord -f S16_LE -r 48000 | earmark stream - --jsonl\n"
        "  sox night.flac -t raw -e signed -b 16 -c 1 -r 44100 - \\\n"
        "    | earmark stream - --sample_rate 44100\n"
        "  earmark stream --file night.flac --format audacity > night.txt\n"
        "  earmark stream --alerts rules.toml --keep heard/"
    )


def run(args: argparse.Namespace) -> int:
    """Find events until the source ends; return the exit code."""
    _refuse_odd(args)
    settings = event_settings(args)
    if args.list_devices:
        print(devices())
        return 0
    classifier = load_classifier(args)
    format = args.format or ("jsonl" if args.jsonl else TEXT)
    display = LiveDisplay(format, classifier)
    for line in synthetic_note(classifier):
        print(line, file=sys.stderr)
    followed = bool(args.alerts or args.keep)
    name = args.file or ("stdin" if args.source else "microphone")
    if args.file and not args.realtime and not followed:
        session = classifier.file_session(args.file, settings)
    else:  # what follows a recording looks at it as if it were live
        session = classifier.stream(settings=settings, source=name)
    with contextlib.ExitStack() as stack:
        if followed:
            session = stack.enter_context(_station(session, display, classifier, args)).session
        if args.file and not args.realtime:
            return _process(session, display, session.detect_file(Path(args.file)))
        if args.file:
            paced = _paced(session, display, Path(args.file))
            return _process(session, display, session.detect(paced))
        return _process(session, display, _live(session, display, args))


@contextlib.contextmanager
def _station(
    session: Session, display: LiveDisplay, classifier: Classifier, args: argparse.Namespace
) -> Iterator[Station]:
    """Follow a session: keep its events, raise alerts."""
    from earmark.alerts.station import Station

    begun = None
    if args.file and not args.realtime:
        begun = args.start or datetime.datetime.now(datetime.timezone.utc)
    station = Station(
        session,
        classifier.info,
        keep=keep_settings(args),
        rules=rules_path(args),
        report=display.note,
        start=begun,
    )
    try:
        yield station
    finally:
        station.close()


def _refuse_odd(args: argparse.Namespace) -> None:
    """Refuse flags that contradict each other, before a model is loaded."""
    if args.source not in (None, "-"):
        raise SettingsError(
            f"{args.source}: stream reads - (standard input) or a microphone; "
            f"for a file say --file {args.source}"
        )
    if args.source and args.file:
        raise SettingsError("- and --file name two sources; leave out one")
    if args.realtime and not args.file:
        raise SettingsError("--realtime needs --file; other sources come at their own speed")
    if args.device and (args.source or args.file):
        raise SettingsError("--device names a microphone; leave out - and --file")
    if args.sample_rate is not None and not args.source:
        raise SettingsError("--sample_rate describes raw samples; it needs -")
    if args.jsonl and args.format not in (None, "jsonl"):
        raise SettingsError(f"--jsonl and --format {args.format} contradict each other")
    if args.channels < 1:
        raise SettingsError(f"--channels must be at least 1, got {args.channels}")
    if not args.stall_seconds > 0:
        raise SettingsError(f"--stall_seconds must be above 0, got {args.stall_seconds}")
    refuse_odd_following(args)
    if args.source and sys.stdin.isatty():
        raise SettingsError("standard input is a terminal; pipe samples into it")


def _process(session: Session, display: LiveDisplay, events: Iterator[Event]) -> int:
    """Show events as they come; end well, whatever ends it."""
    try:
        for event in events:
            display.show(event)
    except KeyboardInterrupt:
        for event in session.finish():
            display.show(event)
        raise KeyboardInterrupt(f" after {session.seconds:.1f} s") from None
    finally:
        display.close()
        if session.seconds:
            print(
                f"{session.source}: {session.seconds:.1f} s, {display.events} event(s)"
                + (f", {display.dropped} samples dropped" if display.dropped else "")
                + (f", {display.silenced} replaced by silence" if display.silenced else ""),
                file=sys.stderr,
            )
    return 0


def _paced(session: Session, display: LiveDisplay, path: Path) -> Iterator[NDArray[np.float32]]:
    """Read a file at the speed of the sound."""
    from earmark.runtime.session import file_chunks

    for samples in pace(file_chunks(path, session.sample_rate), session.sample_rate):
        yield samples
        display.bars(session)


def _live(session: Session, display: LiveDisplay, args: argparse.Namespace) -> Iterator[Event]:
    """Read a pipe or a microphone until it ends or is gone."""
    source: Source
    reconnecting = None
    if args.source:
        source = Pipe(sys.stdin.fileno(), args.sample_rate, args.channels, args.encoding)
        if args.reconnect:
            reconnecting = Reconnecting()
    else:
        microphone = Microphone(args.device)
        display.note(f"{microphone.name}: {microphone.sample_rate} Hz")
        source = microphone
        if args.reconnect:
            reconnecting = Reconnecting(open=lambda: Microphone(args.device))
    chunks = read_chunks(
        source,
        stall_seconds=args.stall_seconds,
        reconnecting=reconnecting,
        report=display.report,
    )
    watch = Watch(session.source, session.scorer.sample_rate)

    def mix(chunk: Chunk) -> NDArray[np.float32]:
        if chunk.note:
            display.note(chunk.note)
        samples = watch.mix(chunk)
        for line in watch.notes():
            display.note(f"warning: {line}")
        return samples

    display.capture = capture = Capture(session, display.report, mix=mix)
    try:
        yield from capture.detect(chunks, after_chunk=lambda: display.bars(session))
    finally:
        for line in watch.end():
            display.note(f"warning: {line}")
