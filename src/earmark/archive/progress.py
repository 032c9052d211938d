"""Where a long file stands that is not finished: saved now and then, gone on from after a kill.

The state of the stream lies in one file, all else in another that names it and is replaced last, so
that a kill leaves one whole pair at any moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import ModelError
from earmark.io.files import read_json, write_bytes, write_json
from earmark.runtime.events import Event
from earmark.runtime.session import Session

_SCHEMA = 1


@dataclass(frozen=True)
class Standing:
    """Where a file stands.

    Attributes:
        samples: samples that were taken, at the model's rate.
        events: the events that have ended.
        seconds: highest scores of each second so far, `(seconds, classes)`; None: not asked for.
    """

    samples: int = 0
    events: tuple[Event, ...] = ()
    seconds: NDArray[np.float32] | None = None


class Progress:
    """Keeps the standing of files in a folder.

    Args:
        folder: the folder; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def save(self, file: str, session: Session, standing: Standing) -> None:
        """Write where a file stands.

        Args:
            file: its fingerprint.
            session: scores it.
            standing: all else.

        Raises:
            OSError: the folder is gone or full; what was kept before is still there.
        """
        if self._folder is None or not self._folder.is_dir():  # gone with its disk
            return
        name = f"{file}-{standing.samples}"
        session.save(self._folder / f"{name}.npz")
        kept = [f"{name}.npz"]
        if standing.seconds is not None:
            rows = standing.seconds
            write_bytes(self._folder / f"{name}.f32", rows.astype("<f4").tobytes())
            kept.append(f"{name}.f32")
        record = {
            "schema": _SCHEMA,
            "samples": standing.samples,
            "state": f"{name}.npz",
            "seconds": None if standing.seconds is None else f"{name}.f32",
            "events": [dataclasses.asdict(event) for event in standing.events],
        }
        write_json(self._folder / f"{file}.json", record)
        self._remove(file, {*kept, f"{file}.json"})

    def restore(self, file: str, session: Session, *, seconds: bool) -> Standing | None:
        """Bring a session to where a file stands; None: it begins anew.

        Args:
            file: its fingerprint.
            session: is to score it.
            seconds: whether scores of seconds are asked for.
        """
        if self._folder is None:
            return None
        try:
            record = read_json(self._folder / f"{file}.json")
            if record["schema"] != _SCHEMA or (seconds and not record["seconds"]):
                return None
            rows = None
            if seconds:
                data = np.fromfile(self._folder / record["seconds"], "<f4")
                rows = data.reshape(-1, len(session.classes)).astype(np.float32)
            events = tuple(_event(values, session.source) for values in record["events"])
            session.restore(self._folder / record["state"])
            return Standing(int(record["samples"]), events, rows)
        except (OSError, ValueError, KeyError, TypeError, ModelError):  # gone, cut, or of another
            return None

    def forget(self, file: str) -> None:
        """Remove what is kept of a file."""
        self._remove(file, set())

    def samples(self, file: str) -> int:
        """Return how many samples of a file were taken when it was saved; -1: it was not."""
        if self._folder is None:
            return -1
        try:
            record = read_json(self._folder / f"{file}.json")
            return int(record["samples"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1

    def files(self) -> set[str]:
        """Return the fingerprints of the files of which something is kept."""
        if self._folder is None or not self._folder.is_dir():
            return set()
        return {
            path.name.lstrip(".").partition("-")[0].partition(".")[0]
            for path in self._folder.iterdir()
        }

    def _remove(self, file: str, but: set[str]) -> None:
        if self._folder is None:
            return
        for path in [*self._folder.glob(f"{file}*"), *self._folder.glob(f".{file}*")]:
            if path.name not in but:
                with contextlib.suppress(OSError):
                    path.unlink()


def _event(values: dict[str, Any], source: str) -> Event:
    return Event(**{**values, "source": source})
