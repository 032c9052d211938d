"""`earmark label`: label an archive of recordings, on one machine or many, and never start over."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark import bundled
from earmark.commands.flags import (
    add_cuda,
    add_event_settings,
    add_restriction,
    event_settings,
    load_classifier,
)
from earmark.commands.printing import print_found, print_line, synthetic_note
from earmark.errors import ArchiveError, EarmarkError, SettingsError

if TYPE_CHECKING:
    from earmark.archive.driver import Tally
    from earmark.archive.engine import Engine
    from earmark.archive.plan import Plan
    from earmark.archive.store import Writing
    from earmark.archive.worker import Setup

_ENGINES = ("local", "ray")
_SHOWN_SECONDS = 10.0  # between two lines of progress, where the output is no terminal
_SHOWN_FAILURES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `label`."""
    parser.add_argument("sources", nargs="*", help="folders of recordings, files, or globs")
    parser.add_argument("--out", metavar="OUT", required=True, help="folder of the archive")
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="a table (Parquet or CSV, a path or an address of fsspec) in place of folders; its "
        "column path has paths or addresses, its columns site, recorder and start are optional",
    )
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="a run of training, or a file of earmark export, or one of the words base and esc10, "
        "models of the package (base)",
    )
    parser.add_argument(
        "--engine", choices=_ENGINES, default="local", help="what runs the workers (%(default)s)"
    )
    parser.add_argument("--workers", type=int, metavar="INT", help="workers (one for each core)")
    parser.add_argument("--ray_address", metavar="ADDRESS", help="a running Ray cluster, or auto")
    parser.add_argument("--scores", action="store_true", help="keep the scores of every second too")
    parser.add_argument(
        "--embeddings", action="store_true", help="keep an embedding of every second too"
    )
    parser.add_argument(
        "--retry_failed", action="store_true", help="try files again that have failed before"
    )
    parser.add_argument(
        "--keep_going", action="store_true", help="go on even if the first 25 files all fail"
    )
    parser.add_argument(
        "--time_zone",
        default="UTC",
        metavar="NAME",
        help="of times in file names that do not say theirs, as Europe/Berlin or +01:00 "
        "(%(default)s)",
    )
    parser.add_argument(
        "--hang_seconds",
        type=float,
        default=120.0,
        metavar="FLOAT",
        help="give up a file that yields no samples for this long (%(default)s)",
    )
    parser.add_argument(
        "--memory_mb",
        type=int,
        default=2048,
        metavar="INT",
        help="give up a file at which a worker takes more memory (%(default)s)",
    )
    parser.add_argument(
        "--checkpoint_seconds",
        type=float,
        default=30.0,
        metavar="FLOAT",
        help="how often to save where a long file stands (%(default)s)",
    )
    parser.add_argument(
        "--history",
        action="store_true",
        help="say what was run into this archive, and into which set of results, and end",
    )
    add_cuda(parser)
    add_restriction(parser)
    add_event_settings(parser)
    parser.epilog = (
        "Killed at any moment, the same command goes on where it stopped, inside long files too.\n"
        "Files that have changed are labelled anew. One that fails becomes a row with its cause;\n"
        "the exit code is 0 unless the run stopped or all files failed. Results of several\n"
        "models lie side by side. earmark results reads the archive.\n\n"
        "examples:\n"
        "  earmark label recordings/ --out archive/\n"
        "  earmark label --manifest year.csv --out archive/ --workers 16\n"
        "  earmark label recordings/ --out archive/ --engine ray --ray_address auto\n"
        "  earmark label --out archive/ --history"
    )


def run(args: argparse.Namespace) -> int:
    """Label what is not labelled yet; return the exit code."""
    refuse_without_archive()
    if args.history:
        return _history(Path(args.out))
    _refuse_odd(args)
    from earmark.archive.store import Writing

    with _terminated_as_interrupted(), Writing(Path(args.out)) as archive:  # before any long work
        return _label(archive, args)


def _label(archive: Writing, args: argparse.Namespace) -> int:
    """Label what is not labelled yet in an archive that is held; return the exit code."""
    from earmark.archive.driver import Order, Run
    from earmark.archive.origin import time_zone
    from earmark.archive.plan import plan_manifest, plan_sources
    from earmark.archive.result_set import result_set
    from earmark.archive.worker import Setup
    from earmark.runtime.workers import cores_here

    settings, zone = event_settings(args), time_zone(args.time_zone)
    cores = cores_here()
    workers = args.workers or cores
    asked = {"events": True, "scores": args.scores, "embeddings": args.embeddings}
    outputs = tuple(name for name, wanted in asked.items() if wanted)
    classifier = load_classifier(args)
    classifier.stream(settings=settings)  # says why a bidirectional model cannot
    if args.embeddings:
        classifier.embedding_size  # noqa: B018  # says why an earlier file gives none
    results = result_set(
        classifier.info,
        settings,
        name=bundled.name_of(args.model_dir) or "",
        closed_set=args.closed_set,
    )
    plan = plan_manifest(args.manifest) if args.manifest else plan_sources(args.sources)
    _say_plan(plan)
    about = {
        "command": shlex.join(["earmark", *sys.argv[1:]]),
        "engine": args.engine,
        "workers": args.workers or (cores if args.engine == "local" else None),
    }
    order = Order(retry_failed=args.retry_failed, keep_going=args.keep_going, about=about)
    work = Run(archive, results, plan, order)
    left = work.todo(outputs)
    setup = Setup(
        classifier=classifier,
        settings=settings,
        outputs=outputs,
        progress=str(work.progress_folder.absolute()),
        zone=zone,
        hang_seconds=args.hang_seconds,
        memory_mb=args.memory_mb,
        threads=max(1, cores // workers),
        checkpoint_seconds=args.checkpoint_seconds,
    )
    for line in synthetic_note(classifier):
        print(line, file=sys.stderr)
    print(
        f"{results.name}: {len(plan.units)} files, {len(left)} to label"
        + (f", {len(plan.units) - len(left)} done before" if len(left) < len(plan.units) else ""),
        file=sys.stderr,
    )
    if outdated := work.outdated(left, zone):
        print(
            f"times and sites of {outdated} done files stay as they were; give a new --out to "
            "have them changed",
            file=sys.stderr,
        )
    show = _Show(len(left))
    try:
        tally = work.work(left, setup, _starter(args, min(workers, max(1, len(left)))), show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; the same command goes on from here") from None
    finally:
        show.end()
    _say_result(tally, args.out)
    if tally.finished and not work.holds_any:
        raise ArchiveError(
            f"all {tally.finished} files failed; see their causes: earmark results "
            f"{args.out} --failures"
        )
    return 0


def _starter(args: argparse.Namespace, workers: int) -> Callable[[Setup], Engine]:
    """Return what starts the engine that is asked for."""
    if args.engine == "ray":
        from earmark.archive.ray_engine import RayEngine

        return lambda setup: RayEngine(setup, args.workers, args.ray_address)
    from earmark.archive.local import LocalEngine

    return lambda setup: LocalEngine(setup, workers)


def _refuse_odd(args: argparse.Namespace) -> None:
    """Refuse flags that contradict each other."""
    if bool(args.sources) == bool(args.manifest):
        raise SettingsError("give folders of recordings, or --manifest, not both or neither")
    if args.ray_address and args.engine != "ray":
        raise SettingsError("--ray_address needs --engine ray")
    for name in ("workers", "memory_mb"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name} must be at least 1, got {value}")
    for name in ("hang_seconds", "checkpoint_seconds"):
        if not getattr(args, name) > 0:
            raise SettingsError(f"--{name} must be above 0, got {getattr(args, name)}")


def refuse_without_archive() -> None:
    """Refuse to work without the extra `archive`.

    Raises:
        EarmarkError: a package of it is missing.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise EarmarkError(f"archives need {error.name}; pip install 'earmark[archive]'") from None


def _say_plan(plan: Plan) -> None:
    for fault in plan.faults:
        print(f"unreadable: {fault}", file=sys.stderr)
    if plan.found is not None:
        print_found(plan.found)


def _say_result(tally: Tally, out: str) -> None:
    took = time.monotonic() - tally.begun
    speed = f", {tally.seconds / took:.0f} times real time" if tally.seconds and took else ""
    print(
        f"{out}: {tally.finished} files, {tally.seconds / 3600:.2f} h, {tally.events} events, "
        f"{tally.failed} with faults, in {took:.0f} s{speed}",
        file=sys.stderr,
    )
    for cause, count in tally.causes.most_common(_SHOWN_FAILURES):
        print(f"  {cause}: {count}", file=sys.stderr)


class _Show:
    """Says how a run goes: one line that is rewritten in a terminal, else one now and then."""

    def __init__(self, left: int) -> None:
        self._left, self._last = left, time.monotonic()
        self._live, self._open = sys.stderr.isatty(), False

    def __call__(self, tally: Tally) -> None:
        waited = time.monotonic() - self._last
        if waited < (1.0 if self._live else _SHOWN_SECONDS):
            return
        self._last = time.monotonic()
        took = time.monotonic() - tally.begun
        rest = took / tally.finished * (self._left - tally.finished) if tally.finished else 0.0
        line = (
            f"{tally.finished} of {self._left} files, {tally.seconds / 3600:.2f} h, "
            f"{tally.events} events, {tally.failed} with faults"
            + (f", about {_span(rest)} left" if rest else "")
        )
        if self._live:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._open = True
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line that was rewritten, so that what follows stands on one of its own."""
        if self._open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._open = False


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, as a cluster sends it before it takes a machine away, end a run like Ctrl-C."""

    from earmark.archive.driver import Terminated

    def interrupt(*_: Any) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _history(out: Path) -> int:
    """Say what was run into an archive."""
    from earmark.archive.store import Archive

    archive = Archive(out)
    sets = {one.record["set"]: one.name for one in archive.sets}
    for one in archive.runs:
        end = one.get("outcome") or "killed, or still going on"
        reason = f" ({one['reason']})" if one.get("reason") else ""
        written = one.get("written", one.get("finished", "?"))
        print_line(
            f"{one['started']}  {end}{reason}: {written} of {one['left']} files, "
            f"{one.get('failed', '?')} with faults, {one.get('events', '?')} events, "
            f"{float(one.get('audio_seconds', 0)) / 3600:.2f} h in "
            f"{_span(float(one.get('took_seconds', 0)))}"
        )
        print_line(f"  {one['command']}")
        print_line(f"  run {one['run']}, set {sets.get(one['set'], one['set'][:12])}")
        print_line(
            f"  model {one['model_name']} {one['model'][:12]}, calibration "
            f"{one['calibration'][:12]}, settings {one['settings'][:12]}, {one['engine']}, "
            f"earmark {one['versions'].get('earmark', '?')}"
        )
    return 0
