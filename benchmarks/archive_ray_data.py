"""Labels files by Ray Data's `map_batches` with a pool of actors, beside our own pool of actors.

Some files end the process that works on them, by SIGKILL, as a fault in a decoder does. Ray Data
is tried with bounded retries (`--retries`, `--restarts`; -1 is its own choice, without end), and
with more or fewer files in a block.

    python benchmarks/archive_ray_data.py --files 48 --killers 1 --engine data --block 1
    python benchmarks/archive_ray_data.py --files 48 --killers 1 --engine ours
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from earmark.archive.driver import Order, Run
from earmark.archive.plan import Plan, Unit, plan_sources
from earmark.archive.query import Questions
from earmark.archive.ray_engine import RayEngine
from earmark.archive.result_set import result_set
from earmark.archive.store import Archive, Writing
from earmark.archive.worker import Setup, label_file
from earmark.classifier import Classifier
from earmark.config import EventSettings

KILLERS = "EARMARK_KILLERS"  # environment variable: the files that end their worker
WORKERS = 2


class Killed(Classifier):
    """Ends its process at some files."""

    def file_session(self, path: str | Path, settings: EventSettings | None = None) -> Any:
        """Begin with a file, or end."""
        if str(path) in os.environ[KILLERS].split("\n"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().file_session(path, settings)


class Labeller:
    """What Ray Data runs: a batch of paths in, numbers of events out."""

    def __init__(self) -> None:
        self._setup = Setup(Killed.load("base"), EventSettings())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Label a batch."""
        plan = plan_sources([str(path) for path in batch["path"]])
        events = [len(label_file(unit, self._setup).events) for unit in plan.units]
        return {"path": [unit.address for unit in plan.units], "events": events}


def main() -> int:
    """Label the files and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("data", "ours"), default="data")
    parser.add_argument("--files", type=int, default=48)
    parser.add_argument("--killers", type=int, default=0)
    parser.add_argument("--block", type=int, default=8, help="files of a block of Ray Data")
    parser.add_argument("--restarts", type=int, default=-1)
    parser.add_argument("--retries", type=int, default=-1)
    parser.add_argument("--seconds", type=float, default=180.0, help="after which Ray Data is left")
    args = parser.parse_args()
    units = plan_sources([os.environ["EARMARK_ESC10"]]).units[: args.files]
    step = args.files // max(1, args.killers)
    killers = {unit.address for unit in units[step // 2 :: step]} if args.killers else set()
    os.environ[KILLERS] = "\n".join(killers)
    begun = time.monotonic()
    label = with_ray_data if args.engine == "data" else with_our_actors
    found = label(units, args)
    good = {unit.address for unit in units} - killers
    print(
        f"{args.engine}: {time.monotonic() - begun:.0f} s, {len(found & good)} of {len(good)} good "
        f"files, driver at most "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )
    os._exit(0)  # Ray Data may still be trying


def with_ray_data(units: list[Unit], args: argparse.Namespace) -> set[str]:
    """Return the addresses of the rows that came."""
    import ray

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().max_errored_blocks = -1
    data = ray.data.from_items(
        [{"path": unit.address} for unit in units],
        override_num_blocks=max(1, len(units) // args.block),
    ).map_batches(
        Labeller,
        batch_size=args.block,
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=1,
        max_restarts=args.restarts,
        max_task_retries=args.retries,
    )
    rows: list[str] = []

    def read() -> None:
        rows.extend(row["path"] for row in data.iter_rows())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(args.seconds)
    if reader.is_alive():
        print(f"left after {args.seconds:g} s")
    return set(rows)


def with_our_actors(units: list[Unit], _: argparse.Namespace) -> set[str]:
    """Return the addresses of the files that were labelled."""
    classifier, settings = Killed.load("base"), EventSettings()
    with tempfile.TemporaryDirectory() as folder:
        with Writing(Path(folder) / "out") as archive:
            order = Order(about={"command": " ".join(sys.argv), "engine": "ray"})
            work = Run(archive, result_set(classifier.info, settings), Plan(units=units), order)
            left = work.todo(("events",))
            setup = Setup(classifier, settings, progress=str(work.progress_folder))
            tally = work.work(left, setup, lambda setup: RayEngine(setup, WORKERS))
        print(f"failures {dict(tally.causes)}, deaths of workers {tally.deaths}")
        written = Archive(Path(folder) / "out")
        question = "SELECT path FROM files WHERE status = 'ok'"
        return {path for (path,) in Questions(written, written.sets).sql(question).rows}


if __name__ == "__main__":
    sys.exit(main())
