"""The engine `ray`: actors of a Ray cluster, or of Ray on this machine; the extra `earmark[ray]`.

Ray only schedules. It starts the actors where there are cores, carries units there and rows back,
and says when an actor or a whole machine is gone; what is done, and what to try again, the archive
alone decides. Ray Data is not used: it tries a file that kills its worker for ever, or, with
bounds, loses good files that wait behind it, as was tried (docs/how-to/archive.md).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earmark.archive.engine import Report
from earmark.archive.guard import Guard, cause_of_death
from earmark.archive.labelled import Labelled
from earmark.archive.local import label_all, prepare
from earmark.archive.plan import Unit
from earmark.archive.worker import Setup
from earmark.errors import ArchiveError, EarmarkError

_BUNDLE = 8
_FALSE_STARTS = 20  # of actors one after another, after which a run stops
_HELD = 2  # lists of units that an actor has at a time, so that it need not wait for the next


class RayEngine:
    """Runs workers as actors; one that dies is replaced, elsewhere if its machine is gone.

    Args:
        setup: how they work; its folder of progress is used on machines that share it.
        workers: how many; None: one for each core of the cluster.
        address: of a running cluster, or "auto"; None: Ray is started on this machine.

    Raises:
        ArchiveError: Ray is not installed, or there is no such cluster.
    """

    bundle = _BUNDLE

    def __init__(self, setup: Setup, workers: int | None, address: str | None = None) -> None:
        self._ray = ray = _ray()
        self._setup = setup
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(address=address or "local", ignore_reinit_error=True, **own, **quiet)
        except Exception as error:  # Ray's faults have no class in common
            said = " ".join(str(error).split())[:200]
            remedy = "start it there with: ray start --head" if address else "try --engine local"
            raise ArchiveError(
                f"Ray cannot be reached at {address or 'this machine'} ({said}); {remedy}"
            ) from None
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._setup_reference = ray.put(setup)
        environment = {"OMP_NUM_THREADS": str(setup.threads)}
        if path := os.environ.get("PYTHONPATH"):
            environment["PYTHONPATH"] = path
        self._actor = ray.remote(
            num_cpus=1, max_restarts=0, max_concurrency=1, runtime_env={"env_vars": environment}
        )(_Actor)
        self._given: dict[Any, tuple[int, tuple[Unit, ...]]] = {}
        made = [self._new() for _ in range(count)]
        self._actors = [actor for actor, _ in made]
        self._starting = {place: ready for place, (_, ready) in enumerate(made)}
        self._false_starts = 0

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._actors)

    @property
    def idle(self) -> int:
        """Lists of units that actors can take now; one that has not started yet takes none.

        It may have to wait for a core for ever, where a machine has gone.
        """
        return sum(max(0, _HELD - count) for count in self._load().values())

    def start(self, units: Sequence[Unit]) -> None:
        """Give units to the actor that has the fewest."""
        load = self._load()
        place = min(load, key=lambda one: load[one])
        reference = self._actors[place].label.remote(list(units))
        self._given[reference] = place, tuple(units)

    def wait(self, seconds: float) -> list[Report]:
        """Return what has come back; see `Engine`."""
        watched = [*self._given, *self._starting.values()]
        ready, _ = self._ray.wait(watched, num_returns=1, timeout=seconds)
        more, _ = self._ray.wait(watched, num_returns=len(watched), timeout=0)
        reports: list[Report] = []
        for reference in {*ready, *more}:
            if reference in self._given:
                reports += self._take(reference)
            elif reference in self._starting.values():
                reports += self._take_started(reference)
        return reports

    def _load(self) -> dict[int, int]:
        """Return how many lists of units each actor has that has started."""
        load = {place: 0 for place in range(len(self._actors)) if place not in self._starting}
        for place, _ in self._given.values():
            load[place] += 1
        return load

    def _take_started(self, reference: Any) -> list[Report]:
        """Take note that an actor has started, or start another where it could not."""
        place = next(place for place, one in self._starting.items() if one == reference)
        del self._starting[place]
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                said = " ".join(str(error).split())[-200:]
                return [Report((), fault=f"workers of Ray end as they start: {said}")]
            self._actors[place], self._starting[place] = self._new()
            return []
        self._false_starts = 0
        return []

    def stop(self) -> None:
        """End all actors, and Ray where it was started here."""
        with contextlib.suppress(Exception):
            for actor in self._actors:
                self._ray.kill(actor)
            self._ray.shutdown()

    def _take(self, reference: Any) -> list[Report]:
        place, units = self._given.pop(reference)
        try:
            kind, value = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.RayTaskError):
            return self._replace(place, units)
        except self._ray.exceptions.RayError as error:
            if not self._ray.is_initialized():
                raise ArchiveError(
                    "Ray is gone; start it again, and run the same command: it goes on"
                ) from error
            return self._replace(place, units)
        if kind == "fault":
            return [Report(units, fault=value)]
        return [Report(units, value)]

    def _replace(self, place: int, units: tuple[Unit, ...]) -> list[Report]:
        """Start another actor in the place of a dead one; report all units that it had."""
        with contextlib.suppress(Exception):
            self._ray.kill(self._actors[place])
        waiting = [ref for ref, (at, _) in self._given.items() if at == place]
        behind = [unit for ref in waiting for unit in self._given.pop(ref)[1]]
        self._actors[place], self._starting[place] = self._new()
        folder = Path(self._setup.progress) if self._setup.progress else None
        causes = {unit: cause_of_death(folder, unit.fingerprint) for unit in units}
        guilty = tuple(unit for unit, cause in causes.items() if cause)
        reports = [Report((unit,), cause=causes[unit], killed=True) for unit in guilty]
        others = tuple(unit for unit in units if not causes[unit])
        if others:
            blame = not guilty
            reports.append(Report(others, killed=True, blame=blame))
        if behind:
            reports.append(Report(tuple(behind), blame=False))
        return reports

    def _new(self) -> tuple[Any, Any]:
        """Start an actor; return it, and what is there when it is ready."""
        actor = self._actor.remote(self._setup_reference)
        return actor, actor.ready.remote()


class _Actor:
    """Labels units on some machine."""

    def __init__(self, setup: Setup) -> None:
        prepare(setup)
        folder = Path(setup.progress) if setup.progress else None
        if folder is not None and not folder.is_dir():  # a machine that does not share it
            folder = None
        self._setup = setup
        self._guard = Guard(folder, hang_seconds=setup.hang_seconds, memory_mb=setup.memory_mb)

    def ready(self) -> bool:
        """Tell that it can work."""
        return True

    def label(self, units: list[Unit]) -> tuple[str, tuple[Labelled, ...] | str]:
        """Label units; return their rows, or why no worker can."""
        try:
            return "done", label_all(units, self._setup, self._guard)
        except EarmarkError as error:
            return "fault", str(error)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise ArchiveError("--engine ray needs Ray; pip install 'earmark[ray]'") from None
    return ray
