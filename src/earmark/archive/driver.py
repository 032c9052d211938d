"""A run: what is left to do goes to workers, what comes back goes to the archive.

The archive alone says what is done. Whatever kills a worker, this process or the machine, the same
call goes on: a file counts from the moment its rows do.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from earmark.archive.collect import Collector, is_done
from earmark.archive.engine import Engine, Report
from earmark.archive.labelled import DIED, HANG, MEMORY, Labelled, failure
from earmark.archive.origin import is_another, origin_of
from earmark.archive.plan import Plan, Unit
from earmark.archive.progress import Progress
from earmark.archive.result_set import ResultSet
from earmark.archive.schema import FAILED
from earmark.archive.store import Writing, new_run
from earmark.archive.worker import Setup, gone
from earmark.errors import ArchiveError
from earmark.provenance import installed_versions, now

ALL_FAILED = 25  # files in a row, after which a run into a set without a good one stops
_CRASHES = 3  # of workers at one file without progress, after which it is given up
_KILLS = 8  # the same, where it may be that something else ended them
_FALSE_STARTS = 20  # of workers one after another, after which a run stops
_WAIT = 0.5
_SMALL_BYTES = 4 << 20  # files that are given to a worker several at a time

FINISHED, STOPPED, INTERRUPTED = "finished", "stopped", "interrupted"


@dataclass
class Tally:
    """How a run goes.

    Attributes:
        asked: files of the plan.
        done_before: files of which nothing was to be done.
        finished: files of this run, failures among them.
        events: events of this run.
        seconds: seconds of audio of this run.
        causes: failures of this run by cause, of which some gave part of their events.
        deaths: workers that died.
        begun: when it began.
    """

    asked: int = 0
    done_before: int = 0
    finished: int = 0
    events: int = 0
    seconds: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> int:
        """Files of this run with a fault."""
        return sum(self.causes.values())


@dataclass(frozen=True)
class Order:
    """What is asked of a run.

    Attributes:
        retry_failed: failures of earlier runs are tried again.
        keep_going: go on even if all files fail.
        about: what the history says of the run, such as its command.
    """

    retry_failed: bool = False
    keep_going: bool = False
    about: dict[str, Any] = field(default_factory=dict)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


class Run:
    """Labels the files of a plan that are not done yet.

    Args:
        archive: held for writing.
        results: the set that the rows belong to.
        plan: the files.
        order: what else is asked for.

    Raises:
        ArchiveError: a part of the archive is damaged.
        OSError: the archive cannot be written.
    """

    def __init__(self, archive: Writing, results: ResultSet, plan: Plan, order: Order) -> None:
        self._archive, self._results, self._plan, self._order = archive, results, plan, order
        self.progress_folder = archive.begin(results)
        self.name = new_run()
        self._collector = Collector(archive, results, self.name)
        self.tally = Tally(asked=len(plan.units))
        self._queue: deque[tuple[Unit, ...]] = deque()
        self._deaths: dict[str, tuple[int, int | None]] = {}
        self._false_starts = 0
        self._held: list[Labelled] = []
        self._settled: list[str] = []
        self._written = 0
        self._ok = any(status != FAILED for status in self._collector.counts())
        self._zone: datetime.tzinfo = datetime.timezone.utc
        self._progress = Progress(self.progress_folder)

    @property
    def holds_any(self) -> bool:
        """Whether the set has a file that did not fail, of this run or an earlier one."""
        return self._ok

    def todo(self, outputs: tuple[str, ...]) -> list[Unit]:
        """Return the files that are not done."""
        left = []
        for unit in self._plan.units:
            known = self._collector.known(unit.address)
            if unit.size < 0 and known is not None and known.status != FAILED:
                continue  # it cannot be reached now; what was found in it then stays
            if not is_done(known, unit.fingerprint, outputs, self._order.retry_failed):
                left.append(unit)
        self.tally.done_before = len(self._plan.units) - len(left)
        wanted = {unit.fingerprint for unit in left}
        for file in self._progress.files() - wanted:
            self._progress.forget(file)
        return left

    def outdated(self, left: Sequence[Unit], zone: datetime.tzinfo) -> int:
        """Return how many done files would now get another start or site.

        Args:
            left: from `todo`.
            zone: of times that do not say theirs.
        """
        wanted = {unit.address for unit in left}
        return sum(
            known.status != FAILED and is_another(unit, zone, known.origin)
            for unit in self._plan.units
            if unit.address not in wanted and (known := self._collector.known(unit.address))
        )

    def work(
        self,
        left: list[Unit],
        setup: Setup,
        start: Callable[[Setup], Engine],
        show: Callable[[Tally], object] = lambda _: None,
    ) -> Tally:
        """Label files; return how it went.

        Args:
            left: from `todo`.
            setup: how.
            start: starts an engine.
            show: is told now and then how it goes.

        Raises:
            ArchiveError: no worker can work, all files fail, the disk is full, or a folder of
                recordings has vanished. What was finished before is kept, but for some seconds.
            KeyboardInterrupt: the user interrupted it; what was finished is kept.
        """
        record = {
            "run": self.name,
            "started": now(),
            **self._order.about,
            "set": self._results.record["set"],
            "model_name": self._results.record["model_name"],
            "model": self._results.record["model"],
            "calibration": self._results.record["calibration"],
            "settings": self._results.record["settings"],
            "event_settings": self._results.record["event_settings"],
            "outputs": list(setup.outputs),
            "versions": installed_versions(),
            "files": len(self._plan.units),
            "left": len(left),
        }
        outcome, reason = STOPPED, ""
        try:
            self._archive.write_run(record)
            if left:
                self._work(left, setup, start, show)
            self._flush()
            outcome = FINISHED
        except KeyboardInterrupt as interrupt:
            terminated = isinstance(interrupt, Terminated)
            outcome, reason = INTERRUPTED, "by SIGTERM" if terminated else "by the user"
            self._release()
            self._flush()
            raise
        except ArchiveError as error:
            reason = str(error)
            raise
        except OSError as error:
            reason = f"{error.strerror or error}"
            raise ArchiveError(
                f"{self._archive.folder}: cannot be written ({reason}); what was written is kept, "
                "the rest is labelled again: free space or mount it again, and run the same command"
            ) from None
        finally:
            ended = {**record, "ended": now(), "outcome": outcome, "reason": reason, **self._sums()}
            with contextlib.suppress(OSError):
                self._archive.write_run(ended)
        return self.tally

    def _work(
        self,
        left: list[Unit],
        setup: Setup,
        start: Callable[[Setup], Engine],
        show: Callable[[Tally], object],
    ) -> None:
        self._zone = setup.zone
        engine = start(setup)
        try:
            self._queue = deque(_bundles(left, engine.bundle))
            busy = 0
            while self._queue or busy:
                while self._queue and engine.idle:
                    engine.start(units := self._queue.popleft())
                    busy += len(units)
                for report in engine.wait(_WAIT):
                    busy -= len(report.units)
                    self._take(report)
                if self._collector.due:
                    self._flush()
                show(self.tally)
            self._release()
            self._flush()
        except ArchiveError:
            self._flush()
            raise
        finally:
            engine.stop()
            show(self.tally)

    def _take(self, report: Report) -> None:
        """Take what came back.

        Raises:
            ArchiveError: the run has to stop.
        """
        if report.fault:
            raise ArchiveError(report.fault)
        if not report.done:
            self._take_death(report)
        for done in report.done:
            self._false_starts = 0
            self._take_file(done)

    def _take_file(self, done: Labelled) -> None:
        if done.failed and gone(done) and (folder := self._plan.vanished(done.unit)):
            raise ArchiveError(
                f"{folder}: is gone, or is another folder than when the run began; mount it again, "
                "and run the same command: it goes on"
            )
        tally = self.tally
        tally.finished += 1
        tally.events += len(done.events)
        tally.seconds += float(done.row["seconds"])
        if done.row["cause"]:
            tally.causes[done.row["cause"]] += 1
        self._held.append(done)
        if not done.failed:
            self._ok = True
        if self._ok or self._order.keep_going:
            self._release()
        elif len(self._held) >= ALL_FAILED:
            raise ArchiveError(
                f"the first {len(self._held)} files all failed, the last with: "
                f"{done.row['error']}; nothing was written; give --keep_going to go on all the same"
            )

    def _release(self) -> None:
        """Let the archive have what was held back while all failed."""
        for done in self._held:
            self._collector.add(done)
            self._settled.append(done.unit.fingerprint)
        self._held = []

    def _flush(self) -> None:
        """Write what waits; only then is it of no use where these files stood."""
        self._collector.flush()
        self._written += len(self._settled)
        for file in self._settled:
            self._progress.forget(file)
        self._settled = []

    def _take_death(self, report: Report) -> None:
        """Give the units of a dead worker to others, or give up the one that kills workers."""
        self.tally.deaths += report.blame
        if len(report.units) > 1 or not report.blame:  # which of them it was comes out one by one
            self._queue.extendleft([(unit,) for unit in reversed(report.units)])
            return
        unit = report.units[0]
        if not report.began:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                raise ArchiveError(
                    f"{_FALSE_STARTS} workers ended one after another before they began; see that "
                    "there is enough memory, or give fewer --workers"
                )
            self._queue.appendleft((unit,))
            return
        if report.cause:
            self._give_up(unit, report.cause)
            return
        at = self._progress.samples(unit.fingerprint)
        deaths, before = self._deaths.get(unit.fingerprint, (0, None))
        deaths = 1 if before is not None and at > before else deaths + 1
        self._deaths[unit.fingerprint] = deaths, at
        if deaths >= (_KILLS if report.killed else _CRASHES):
            self._give_up(unit, DIED)
        else:
            self._queue.appendleft((unit,))

    def _give_up(self, unit: Unit, cause: str) -> None:
        origin = origin_of(unit, None, self._zone)  # which does not open it
        self._take_file(failure(unit, cause, _said(unit, cause), origin=origin))

    def _sums(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "finished": tally.finished,
            "written": self._written,
            "failed": tally.failed,
            "events": tally.events,
            "audio_seconds": round(tally.seconds, 3),
            "took_seconds": round(time.monotonic() - tally.begun, 3),
            "causes": dict(tally.causes),
            "worker_deaths": tally.deaths,
        }


def _bundles(units: list[Unit], most: int) -> list[tuple[Unit, ...]]:
    """Return units, small ones several at a time."""
    made: list[tuple[Unit, ...]] = []
    bundle: list[Unit] = []
    for unit in units:
        if unit.size < 0 or unit.size > _SMALL_BYTES or unit.remote:
            made.append((unit,))
            continue
        bundle.append(unit)
        if len(bundle) >= most:
            made.append(tuple(bundle))
            bundle = []
    return [*made, tuple(bundle)] if bundle else made


def _said(unit: Unit, cause: str) -> str:
    name = unit.address.encode("utf-8", "backslashreplace").decode()
    words = {
        HANG: "gave no samples for too long and was given up; convert it, or raise --hang_seconds",
        MEMORY: "took too much memory and was given up; convert it, or raise --memory_mb",
        DIED: "was given up, because workers died at it again and again; convert it",
    }
    return f"{name}: {words[cause]}"
