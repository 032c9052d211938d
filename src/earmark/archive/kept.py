"""The folder of `--keep` as an archive: each kept event is a recording, which is its clip.

Times are those within the clip, so that tables for Raven and Audacity open on the clips; the time
of day is that of the event. Events whose clip was not kept have their own name for a path, and the
times of the stream.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from earmark.archive.result_set import ResultSet
from earmark.archive.schema import EVENTS, FILES, OK, schema_of, source_columns
from earmark.archive.store import Archive, Writing
from earmark.errors import ArchiveError
from earmark.io.append import read_objects
from earmark.io.files import read_json, sha256_of_json, write_json
from earmark.live.keeper import EVENTS_NAME, RUNS_NAME
from earmark.output.event_log import SCHEMA

_PARTS = ("model", "calibration", "settings")
_ROWS = 50_000  # of a part


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Archive]:
    """Yield the archive in a folder, of `earmark label` or of `--keep`.

    Raises:
        ArchiveError: it is neither, or of another version.
    """
    if not (folder / EVENTS_NAME).is_file():
        yield Archive(folder)
        return
    with tempfile.TemporaryDirectory(prefix="earmark-kept-") as temporary:
        place = Path(temporary) / "archive"
        with Writing(place) as archive:
            try:
                _write(folder, archive)
            except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
                raise ArchiveError(
                    f"{folder / EVENTS_NAME}: has a line that Earmark did not write "
                    f"({type(error).__name__}: {' '.join(str(error).split())[:80]})"
                ) from None
        yield Archive(place)


def _write(folder: Path, archive: Writing) -> None:
    """Write the events of a folder as parts of an archive."""
    runs = _runs(folder)
    rows: dict[str, list[dict[str, Any]]] = {}
    for entry, event in enumerate(read_objects(folder / EVENTS_NAME), 1):
        if event.get("schema") != SCHEMA:
            raise ArchiveError(
                f"{folder / EVENTS_NAME}: has events of schema {event.get('schema')}, this Earmark "
                f"reads {SCHEMA}; use the Earmark that wrote them"
            )
        run = runs.get(str(event["run"]))
        if run is None:
            raise ArchiveError(
                f"{folder / RUNS_NAME / event['run']}.json: is missing, it says which model found "
                "events; copy the whole folder"
            )
        group = rows.setdefault(_digest(run), [])
        group.append({**event, "entry": entry, "_folder": folder})
        if len(group) >= _ROWS:
            _write_part(archive, _set(run), group)
            group.clear()
    begun = {_digest(run): run for run in runs.values()}
    for digest, group in rows.items():
        if group:
            _write_part(archive, _set(begun[digest]), group)
    for name, run in runs.items():
        about = {"run": name, "set": _digest(run), "started": run.get("begun")}
        write_json(archive.folder / "runs" / f"{name}.json", about)


def _runs(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((folder / RUNS_NAME).glob("*.json")):
        try:
            found[path.stem] = dict(read_json(path))
        except (ValueError, TypeError):
            raise ArchiveError(f"{path}: is not JSON, it was cut or edited") from None
    return found


def _digest(run: Mapping[str, Any]) -> str:
    return sha256_of_json({name: run[name] for name in _PARTS})


def _set(run: Mapping[str, Any]) -> ResultSet:
    record = {**run, "set": _digest(run)}
    return ResultSet(f"kept-{_digest(run)[:12]}", record)


def _write_part(archive: Writing, results: ResultSet, kept: list[dict[str, Any]]) -> None:
    archive.begin(results)
    files = [_file_row(event) for event in kept]
    events = [_event_row(event, row) for event, row in zip(kept, files, strict=True)]
    archive.write_part(
        results,
        {
            FILES: pa.Table.from_pylist(files, schema=schema_of(FILES, ())),
            EVENTS: pa.Table.from_pylist(events, schema=schema_of(EVENTS, ())),
        },
    )


def _file_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the clip of an event as a file."""
    within = _within(event)
    start = datetime.datetime.fromisoformat(event["start_utc"])
    return {
        "entry": event["entry"],
        "file": event["id"],
        "path": str(event["_folder"] / event["clip"]) if event["clip"] else event["id"],
        "path_bytes": None,
        "site": event["source"],
        "recorder": None,
        "start_utc": start - datetime.timedelta(seconds=event["onset"] - within),
        "start_source": "kept",
        "size": 0,
        "modified_ns": 0,
        "seconds": event["offset"] - within,
        "sample_rate": None,
        "channels": 1,
        "status": OK,
        "cause": None,
        "error": None,
        "notes": [],
        "events": 1,
        "outputs": [EVENTS],
        "labelled_utc": start,
        "took_seconds": 0.0,
        **{name: event[name] for name in (*_PARTS, "model_name", "run")},
    }


def _event_row(event: Mapping[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    within = _within(event)
    return {
        **source_columns(file),
        "start_utc": datetime.datetime.fromisoformat(event["start_utc"]),
        "onset_seconds": event["onset"] - within,
        "offset_seconds": event["offset"] - within,
        "label": event["label"],
        "score": event["score"],
        "top": list(event["top"].items()),
    }


def _within(event: Mapping[str, Any]) -> float:
    """Return where the clip of an event begins, in seconds of the stream; 0 without one."""
    return float(event["clip_from"]) if event["clip"] else 0.0
