"""`earmark stream`: hear a microphone, a pipe or a file as it comes."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.commands.flags import add_cuda, add_event_settings, choose_device, event_settings
from earmark.commands.printing import print_line, synthetic_note
from earmark.errors import AudioError, SettingsError
from earmark.live.sources import (
    ENCODINGS,
    STALL_SECONDS,
    Chunk,
    Microphone,
    Pipe,
    StalledError,
    devices,
)
from earmark.output.events import FORMATS, EventTable
from earmark.runtime.events import Event

if TYPE_CHECKING:
    from earmark.classifier import Classifier
    from earmark.runtime.session import Session

_BARS = 3
_BAR_SECONDS = 0.1  # between two pictures of the bars
_REALTIME_SECONDS = 0.1  # of a file, handed over at a time
_RETRY_SECONDS = 2.0  # between two attempts to open a device again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `stream`."""
    parser.add_argument(
        "source",
        nargs="?",
        choices=("-",),
        metavar="-",
        help="read samples from standard input: a WAV stream, or raw ones with --sample_rate; "
        "without it, the microphone",
    )
    parser.add_argument("--file", metavar="FILE", help="hear a file, as fast as it goes")
    parser.add_argument(
        "--realtime", action="store_true", help="hear the file at the speed of the sound"
    )
    parser.add_argument("--device", metavar="NAME", help="microphone, by name or number")
    parser.add_argument("--list_devices", action="store_true", help="list audio devices and end")
    parser.add_argument("--sample_rate", type=int, metavar="INT", help="sample rate of raw samples")
    parser.add_argument(
        "--channels", type=int, default=1, metavar="INT", help="channels of raw samples (1)"
    )
    parser.add_argument(
        "--encoding", choices=tuple(ENCODINGS), default="s16le", help="of raw samples (s16le)"
    )
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="a run of training, or a file of earmark export (the bundled model)",
    )
    parser.add_argument(
        "--format",
        choices=("text", *FORMATS),
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
    add_cuda(parser)
    add_event_settings(parser)
    parser.epilog = (
        "Each event is written when it has ended, with its onset and offset in seconds from the\n"
        "start. Samples that were dropped count as silence, so that times stay right.\n\n"
        "examples:\n"
        "  earmark stream\n"
        "  arecord -f S16_LE -r 48000 | earmark stream - --jsonl\n"
        "  sox night.flac -t raw -e signed -b 16 -c 1 -r 44100 - \\\n"
        "    | earmark stream - --sample_rate 44100\n"
        "  earmark stream --file night.flac --format audacity > night.txt"
    )


def run(args: argparse.Namespace) -> int:
    """Hear until the source ends; return the exit code."""
    _refuse_odd(args)
    settings = event_settings(args)
    if args.list_devices:
        print(devices())
        return 0
    from earmark.classifier import Classifier

    classifier = Classifier.load(args.model_dir, choose_device(args.cuda))
    format = args.format or ("jsonl" if args.jsonl else "text")
    display = _Display(format, classifier)
    for line in synthetic_note(classifier):
        print(line, file=sys.stderr)
    if args.file and not args.realtime:
        session = classifier.file_session(args.file, settings)
        return _process(session, display, session.detect_file(Path(args.file)))
    if args.file:
        session = classifier.stream(settings=settings, source=args.file)
        return _process(session, display, session.detect(_paced(session, display, Path(args.file))))
    name = "stdin" if args.source else "microphone"
    session = classifier.stream(settings=settings, source=name)
    return _process(session, display, _live(session, display, args))


def _refuse_odd(args: argparse.Namespace) -> None:
    """Refuse flags that contradict each other, before a model is loaded."""
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
    if args.source and sys.stdin.isatty():
        raise SettingsError("standard input is a terminal; pipe samples into it")


def _process(session: Session, display: _Display, events: Iterator[Event]) -> int:
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
                f"{session.source}: heard {session.seconds:.1f} s, {display.events} event(s)"
                + (f", {display.dropped} samples dropped" if display.dropped else "")
                + (f", {display.silenced} heard as silence" if display.silenced else ""),
                file=sys.stderr,
            )
    return 0


def _paced(session: Session, display: _Display, path: Path) -> Iterator[NDArray[np.float32]]:
    """Read a file at the speed of the sound."""
    from earmark.runtime.session import file_chunks

    begun, given = time.monotonic(), 0
    part = round(_REALTIME_SECONDS * session.sample_rate)
    for block in file_chunks(path, session.sample_rate):
        for start in range(0, len(block), part):
            samples = block[start : start + part]
            given += len(samples)
            time.sleep(max(0.0, begun + given / session.sample_rate - time.monotonic()))
            yield samples
            display.bars(session)


def _live(session: Session, display: _Display, args: argparse.Namespace) -> Iterator[Event]:
    """Hear a pipe or a microphone until it ends or is gone."""
    fault: AudioError | None = None
    try:
        for chunk in _chunks(args, display):
            yield from _pushed(session, chunk, display)
    except AudioError as error:
        fault = error
    yield from session.finish()
    if fault:
        raise fault


def _chunks(args: argparse.Namespace, display: _Display) -> Iterator[Chunk]:
    """Read a source; wait for one that has stalled or gone where that is wanted."""

    def opened() -> Pipe | Microphone:
        if args.source:
            return Pipe(sys.stdin.fileno(), args.sample_rate, args.channels, args.encoding)
        return Microphone(args.device)

    source = opened()
    if isinstance(source, Microphone):
        display.note(f"{source.name}: {source.sample_rate} Hz")
    stalled, last = False, time.monotonic()
    try:
        while True:
            try:
                chunk = source.next(args.stall_seconds)
            except StalledError as error:
                if not args.reconnect:
                    raise
                if not stalled:
                    display.note(f"{error}; waiting for it")
                stalled = True
                if isinstance(source, Microphone):
                    source.close()
                    source = _again(opened)
                continue
            if chunk is None:
                return
            if stalled:
                display.note(f"{source.name}: goes on")
                if isinstance(source, Microphone):  # what was not heard meanwhile is lost
                    away = round((time.monotonic() - last) * chunk.sample_rate) - len(chunk.samples)
                    chunk = dataclasses.replace(chunk, dropped=max(0, away))
            stalled, last = False, time.monotonic()
            yield chunk
    finally:
        source.close()


def _again(opened: Any) -> Any:
    """Open a device again, as often as it takes."""
    while True:
        try:
            return opened()
        except AudioError:
            time.sleep(_RETRY_SECONDS)


def _pushed(session: Session, chunk: Chunk, display: _Display) -> list[Event]:
    """Hear a chunk; what was lost before it, or cannot be heard, counts as silence."""
    events: list[Event] = []
    channels = chunk.samples.shape[1]
    if chunk.dropped:
        display.dropped += chunk.dropped
        display.note(f"{session.source}: {chunk.dropped} samples dropped")
        events += session.push(np.zeros((chunk.dropped, channels), np.float32), chunk.sample_rate)
    try:
        events += session.push(chunk.samples, chunk.sample_rate)
    except AudioError as error:
        if not np.isfinite(chunk.samples).all():
            if not display.silenced:
                display.note(f"{error}; such samples are heard as silence")
            display.silenced += len(chunk.samples)
            silence = np.zeros(chunk.samples.shape, np.float32)
            return events + session.push(silence, chunk.sample_rate)
        raise
    display.bars(session)
    return events


class _Display:
    """Writes events to standard output and, in a terminal, bars of the likeliest classes below."""

    def __init__(self, format: str, classifier: Classifier) -> None:
        front_end = classifier.info.front_end
        self.events = self.dropped = self.silenced = 0
        self._table = (
            None if format == "text" else EventTable(format, front_end.low_hz, front_end.high_hz)
        )
        self._live = format == "text" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn, self._next = 0, 0.0
        for line in self._table.header() if self._table else []:
            print(line, flush=True)

    def show(self, event: Event) -> None:
        """Write an event."""
        self.events += 1
        self._clear()
        if self._table:
            print_line(self._table.line(event))
        else:
            span = f"{event.onset:9.2f} to {event.offset:9.2f} s"
            print_line(f"{span}  {event.label}  {event.score:.2f}")

    def note(self, line: str) -> None:
        """Say something about the source."""
        self._clear()
        print(line, file=sys.stderr, flush=True)

    def bars(self, session: Session) -> None:
        """Draw the bars, now and then."""
        if not self._live or time.monotonic() < self._next or not session.scores:
            return
        self._next = time.monotonic() + _BAR_SECONDS
        self._clear()
        width = shutil.get_terminal_size().columns
        named = max(len(name) for name in session.classes)
        room = max(5, min(40, width - named - 12))
        now = set(session.active_now)
        lines = [f"{session.seconds:9.1f} s" + (f"  {self.dropped} dropped" * bool(self.dropped))]
        for name, score in list(session.scores.items())[:_BARS]:
            bar = "█" * round(score * room)
            mark = "●" if name in now else " "
            lines.append(f" {mark} {name:{named}} {score:4.2f} {bar}"[:width])
        print("\n".join(lines), flush=True)
        self._drawn = len(lines)

    def close(self) -> None:
        """Take the bars away."""
        self._clear()

    def _clear(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            sys.stdout.flush()
        self._drawn = 0
