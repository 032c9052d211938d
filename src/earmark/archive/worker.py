"""The one function that labels a file, whatever schedules it: a file in, rows out, nothing shared.

A long file is gone on from where it stood when an earlier worker was killed. It is decoded again
from its start, which costs a fraction of scoring it and makes the samples the very same ones,
whatever the coder and the sample rate; so scores and events are those of one pass, to the bit.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.archive.labelled import (
    INTERNAL,
    MEMORY,
    MISSING,
    Labelled,
    cause_of,
    failure,
)
from earmark.archive.origin import Origin, origin_columns, origin_of
from earmark.archive.plan import Unit, as_row
from earmark.archive.progress import Progress, Standing
from earmark.archive.schema import EMBEDDINGS, EVENTS, OK, PARTIAL, SCORES
from earmark.archive.seconds import SecondScores
from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.errors import AudioError, EarmarkError
from earmark.io.shape import shape_of
from earmark.provenance import now_datetime
from earmark.runtime.events import Event
from earmark.runtime.session import Session, file_chunks

CHECKPOINT_SECONDS = 30.0
_BLOCK_BYTES = 1 << 20

Tick = Callable[[], object]


@dataclass(frozen=True)
class Setup:
    """All that a worker needs, as a value that can be sent to another process or machine.

    Attributes:
        classifier: the model under its calibration.
        settings: how scores become events.
        outputs: tables that are asked for: events, scores, embeddings.
        progress: folder that keeps where long files stand; empty: none.
        zone: of times that do not say theirs.
        hang_seconds: a file that gives no samples for this long is given up.
        memory_mb: so is one that takes more memory than this.
        threads: share of the machine's cores.
        checkpoint_seconds: time between two checkpoints in a file.
    """

    classifier: Classifier
    settings: EventSettings
    outputs: tuple[str, ...] = (EVENTS,)
    progress: str = ""
    zone: datetime.tzinfo = datetime.timezone.utc
    hang_seconds: float = 120.0
    memory_mb: int = 2048
    threads: int = 1
    checkpoint_seconds: float = CHECKPOINT_SECONDS


def label_file(unit: Unit, setup: Setup, tick: Tick = lambda: None) -> Labelled:
    """Label one file.

    Args:
        unit: the file.
        setup: how.
        tick: is called whenever there was progress.

    Returns:
        Its rows. Whatever is wrong with the file is in them.

    Raises:
        EarmarkError: the model is not there, or not the one that was asked for.
    """
    begun, origin = time.monotonic(), None
    setup.classifier.engine  # noqa: B018  # of a fault in it no file is guilty
    try:
        with _here(unit, tick) as path:
            origin = origin_of(unit, path, setup.zone)
            return _label(unit, path, origin, setup, tick, begun)
    except AudioError as error:
        text = str(error)
        cause = cause_of(text, unit.address)
    except MemoryError:
        text, cause = f"{_shown(unit)}: needs more memory than there is", MEMORY
    except EarmarkError:
        raise
    except Exception as error:  # a fault of ours must not stop the other files
        said = " ".join(str(error).split())[:200]
        text = f"{_shown(unit)}: failed with {type(error).__name__} ({said}); please report it"
        cause = INTERNAL
    if origin is None:  # it could not be fetched, or is what failed
        with contextlib.suppress(Exception):
            origin = origin_of(unit, None, setup.zone)
    took = time.monotonic() - begun
    return failure(unit, cause, _clean(text), origin=origin or Origin(), took_seconds=took)


def _label(
    unit: Unit, path: Path, origin: Origin, setup: Setup, tick: Tick, begun: float
) -> Labelled:
    """Label a file that lies here.

    Raises:
        AudioError: nothing of it could be decoded.
    """
    session = setup.classifier.file_session(unit.address, setup.settings)
    notes: list[str] = []
    embedder = _Embedder(unit, setup) if EMBEDDINGS in setup.outputs else None
    events, seconds, error = _score(unit, path, session, setup, tick, notes, embedder)
    if error and not session.seconds:
        raise AudioError(error)
    sample_rate, channels = shape_of(path)
    row = {
        **as_row(unit),
        **origin_columns(origin),
        "seconds": round(session.seconds, 6),
        "sample_rate": sample_rate,
        "channels": channels,
        "status": PARTIAL if error else OK,
        "cause": cause_of(error, unit.address) if error else None,
        "error": _clean(error) or None,
        "notes": [_clean(note) for note in notes],
        "events": len(events),
        "outputs": list(setup.outputs),
        "labelled_utc": now_datetime(),
        "took_seconds": time.monotonic() - begun,
    }
    made = [_event_row(event, origin) for event in events]
    return Labelled(unit, row, made, seconds, None if embedder is None else embedder.finish())


def _score(
    unit: Unit,
    path: Path,
    session: Session,
    setup: Setup,
    tick: Tick,
    notes: list[str],
    embedder: _Embedder | None,
) -> tuple[list[Event], NDArray[np.float32] | None, str]:
    """Take a file from where it stands to its end, or to a fault in it.

    Returns:
        Its events; the scores of its seconds, if they are asked for; the fault, or nothing.
    """
    progress = Progress(Path(setup.progress) if setup.progress else None)
    file, wanted = unit.fingerprint, SCORES in setup.outputs
    standing = progress.restore(file, session, seconds=wanted) or Standing()
    events, skip, taken = list(standing.events), standing.samples, 0
    seconds = SecondScores(session, standing.seconds) if wanted else None
    saved, error = time.monotonic(), ""

    def note(line: str) -> None:
        notes.append(line.replace(str(path), unit.address).removeprefix(f"{unit.address}: "))

    try:
        for block in file_chunks(path, session.sample_rate, note):
            tick()
            if embedder is not None:  # which keeps no state, and so begins at the start again
                embedder.push(block)
            fresh = block[max(0, skip - taken) :]
            taken += len(block)
            if not len(fresh):
                continue
            events += session.push(fresh)
            if seconds is not None:
                seconds.add(session.rows)
            if time.monotonic() - saved > setup.checkpoint_seconds:
                rows = None if seconds is None else seconds.rows
                with contextlib.suppress(OSError):  # the run finds out itself, and stops
                    progress.save(file, session, Standing(taken, tuple(events), rows))
                saved = time.monotonic()
    except AudioError as fault:
        error = str(fault).replace(str(path), unit.address)
    events += session.finish()
    if seconds is None:
        return events, None, error
    seconds.add(session.rows)
    return events, seconds.rows, error


def _event_row(event: Event, origin: Origin) -> dict[str, Any]:
    """Return what the table of events says of one."""
    return {
        "start_utc": _later(origin, event.onset),
        "onset_seconds": event.onset,
        "offset_seconds": event.offset,
        "label": event.label,
        "score": event.score,
        "top": list(event.top.items()),
    }


class _Embedder:
    """Embeds every second of a file."""

    def __init__(self, unit: Unit, setup: Setup) -> None:
        self._stream = setup.classifier.embedding_stream(source=unit.address)
        self._rows: list[NDArray[np.float32]] = []

    def push(self, block: NDArray[np.float32]) -> None:
        """Take the next samples."""
        self._rows += [segment.vector for segment in self._stream.push(block)]

    def finish(self) -> NDArray[np.float32]:
        """End the file; return a row for each second, the last of which may be shorter."""
        self._rows += [segment.vector for segment in self._stream.finish()]
        rows = np.array(self._rows, np.float32)
        return rows.reshape(-1, self._stream.embedding_size)


def _later(origin: Origin, seconds: float) -> datetime.datetime | None:
    if origin.start is None:
        return None
    return origin.start + datetime.timedelta(seconds=seconds)


@contextlib.contextmanager
def _here(unit: Unit, tick: Tick) -> Iterator[Path]:
    """Yield where a file lies, which is fetched for as long as it is needed if it lies elsewhere.

    Raises:
        AudioError: it cannot be fetched.
    """
    if not unit.remote:
        yield Path(unit.address)
        return
    handle, name = tempfile.mkstemp(prefix="earmark-", suffix=Path(unit.address).suffix)
    os.close(handle)
    try:
        try:
            _fetch(unit.address, Path(name), tick)
        except Exception as error:  # each file system has faults of its own
            said = " ".join(str(error).split())[:160] or type(error).__name__
            raise AudioError(f"{unit.address}: cannot be reached ({said})") from None
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _fetch(address: str, path: Path, tick: Tick) -> None:
    import fsspec

    with fsspec.open(address, "rb") as source, path.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            tick()
            target.write(block)


def _shown(unit: Unit) -> str:
    return _clean(unit.address)


def _clean(text: str) -> str:
    """Return a text that any table can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def gone(done: Labelled) -> bool:
    """Tell whether a file was there when the work was planned, and is not any more."""
    return done.row["cause"] in (MISSING, "unreadable") and done.unit.size >= 0
