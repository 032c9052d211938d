"""Actors of Ray label the same rows; skipped where Ray is not installed."""

import datetime

import pytest

from earmark import Classifier
from earmark.archive.plan import plan_sources
from earmark.archive.worker import Setup, label_file
from tests.runtime.builders import SETTINGS

pytest.importorskip("ray")


def plain(done):
    """What must not depend on who labelled a file."""
    row = {k: v for k, v in done.row.items() if k not in ("labelled_utc", "took_seconds")}
    return row, done.events


def test_rows_are_those_of_this_process_and_a_killed_actor_is_replaced(model, recordings):
    from earmark.archive.ray_engine import RayEngine

    setup = Setup(Classifier.load(model), SETTINGS, zone=datetime.timezone.utc)
    units = plan_sources([str(recordings)]).units
    engine = RayEngine(setup, 1)
    try:
        engine._starting[1] = engine._actor.options(num_cpus=99).remote(None).ready.remote()
        engine._actors.append(None)  # one that waits for cores which are not there gets no units
        reports = run(engine, units[:2])
        assert [plain(one) for one in reports[0].done] == [
            plain(label_file(unit, setup)) for unit in units[:2]
        ]
        assert engine.idle == 2
        engine._ray.kill(engine._actors[0])
        (dead,) = run(engine, units[2:3])
        assert (dead.done, dead.units, dead.killed) == ((), tuple(units[2:3]), True)
        (after,) = run(engine, units[2:3])
        assert plain(after.done[0]) == plain(label_file(units[2], setup))
    finally:
        engine._actors.pop()
        engine.stop()


def run(engine, units):
    while not engine.idle:
        engine.wait(1.0)
    engine.start(units)
    while True:
        if reports := engine.wait(1.0):
            return reports
