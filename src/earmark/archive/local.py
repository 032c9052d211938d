"""The engine `local`: processes on this machine, each with one file at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from earmark.archive.engine import Report
from earmark.archive.guard import Guard, cause_of_death
from earmark.archive.labelled import Labelled
from earmark.archive.plan import Unit
from earmark.archive.worker import Setup, label_file
from earmark.errors import EarmarkError

_JOIN_SECONDS = 5.0
_READY, _DONE, _FAULT = "ready", "done", "fault"  # what a worker sends
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalEngine:
    """Runs workers as processes of this machine; one that dies is replaced.

    Args:
        setup: how they work.
        workers: how many.
    """

    bundle = 1

    def __init__(self, setup: Setup, workers: int) -> None:
        self._setup = setup
        self._context = multiprocessing.get_context("spawn")  # a fork would share the lock
        with _environment(setup.threads):
            self._workers = [self._new() for _ in range(workers)]

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._workers)

    @property
    def idle(self) -> int:
        """Workers without units."""
        return sum(not worker.units for worker in self._workers)

    def start(self, units: Sequence[Unit]) -> None:
        """Give units to an idle worker."""
        worker = next(worker for worker in self._workers if not worker.units)
        worker.units = tuple(units)
        with contextlib.suppress(OSError):  # it died; `wait` says so
            worker.pipe.send(worker.units)

    def wait(self, seconds: float) -> list[Report]:
        """Return what has come back; see `Engine`."""
        places: dict[Any, int] = {}
        for place, worker in enumerate(self._workers):
            places[worker.pipe] = places[worker.process.sentinel] = place
        ready = wait(list(places), timeout=seconds)
        found = [self._take(place) for place in sorted({places[one] for one in ready})]
        return [report for report in found if report is not None]

    def stop(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_JOIN_SECONDS)
            worker.pipe.close()

    def _take(self, place: int) -> Report | None:
        worker = self._workers[place]
        try:
            while worker.pipe.poll():
                kind, value = worker.pipe.recv()
                if kind == _READY:
                    worker.ready = True
                    continue
                units, worker.units = worker.units, ()
                return Report(units, fault=value) if kind == _FAULT else Report(units, value)
            if worker.process.exitcode is None:
                return None
        except (EOFError, OSError):
            pass
        except Exception:  # what it sent was cut by its death
            worker.process.kill()
        return self._replace(place)

    def _replace(self, place: int) -> Report | None:
        """Start another worker in the place of a dead one; say which units that one had."""
        worker = self._workers[place]
        worker.process.join(_JOIN_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_JOIN_SECONDS)
        worker.pipe.close()
        with _environment(self._setup.threads):
            self._workers[place] = self._new()
        if not worker.units:
            return None
        folder = Path(self._setup.progress) if self._setup.progress else None
        causes = (cause_of_death(folder, unit.fingerprint) for unit in worker.units)
        return Report(
            worker.units,
            cause=next(filter(None, causes), ""),
            began=worker.ready,
            killed=worker.process.exitcode == -signal.SIGKILL if os.name == "posix" else False,
        )

    def _new(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._setup, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)


class _Worker:
    """A process, its pipe, and the units that it has."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process, self.pipe = process, pipe
        self.units: tuple[Unit, ...] = ()
        self.ready = False


def _work(pipe: Connection, setup: Setup, parent: int) -> None:
    """Label units until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run itself answers it, and ends this
    prepare(setup)
    folder = Path(setup.progress) if setup.progress else None
    guard = Guard(
        folder,
        hang_seconds=setup.hang_seconds,
        memory_mb=setup.memory_mb,
        parent=parent if os.name == "posix" else 0,
    )
    with contextlib.suppress(EOFError, OSError):
        pipe.send((_READY, None))
        while True:
            units = pipe.recv()
            try:
                done = label_all(units, setup, guard)
            except EarmarkError as error:
                pipe.send((_FAULT, str(error)))
                continue
            pipe.send((_DONE, done))


def prepare(setup: Setup) -> None:
    """Make this process one that labels: no more threads than its share."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(setup.threads)


def label_all(units: Sequence[Unit], setup: Setup, guard: Guard) -> tuple[Labelled, ...]:
    """Label units one after another, each watched.

    Raises:
        EarmarkError: the model cannot be used.
    """
    done = []
    for unit in units:
        guard.begin(unit.fingerprint)
        try:
            done.append(label_file(unit, setup, guard.tick))
        finally:
            guard.end()
    return tuple(done)


@contextlib.contextmanager
def _environment(threads: int) -> Any:
    """Let processes that start meanwhile use so many threads."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
