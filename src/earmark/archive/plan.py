"""What is to be labelled: folders or a manifest -> units of work, each one file.

Nothing is opened but the manifest. Local files are looked at once, for size and time of change,
which make up a unit's fingerprint together with its address.
"""

from __future__ import annotations

import csv
import datetime
import glob
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.errors import ArchiveError
from earmark.io.files import identity_of
from earmark.io.paths import Found, expand

REMOTE = "://"  # what addresses of fsspec have and paths do not
COLUMNS = ("path", "site", "recorder", "start")


@dataclass(frozen=True)
class Unit:
    """One file that is to be labelled.

    Attributes:
        address: an absolute path, or an address of fsspec.
        size: in bytes; -1: not known.
        modified_ns: when it was changed, in nanoseconds since 1970; 0: not known.
        folder: the folder below which it was found, of which its site is told.
        site: where it was recorded, if a manifest says so.
        recorder: what recorded it, if a manifest says so.
        start: when it begins, if a manifest says so.
    """

    address: str
    size: int
    modified_ns: int
    folder: str = ""
    site: str = ""
    recorder: str = ""
    start: datetime.datetime | None = None

    @property
    def fingerprint(self) -> str:
        """Tells the file from others, and from itself before it was changed: 32 hex digits."""
        text = f"{self.address}\0{self.size}\0{self.modified_ns}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    @property
    def remote(self) -> bool:
        """Whether fsspec fetches it."""
        return REMOTE in self.address


@dataclass
class Plan:
    """All units of a run.

    Attributes:
        units: the files, each once, in order.
        faults: what was asked for and is not there, a line each.
        folders: those that were searched or hold a file, with what each was then.
        found: what a search left out; None for a manifest.
    """

    units: list[Unit] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)
    found: Found | None = None

    def vanished(self, unit: Unit) -> str:
        """Return the folder that has gone since the plan was made, or nothing.

        A mount that vanishes leaves an empty folder, which is another one than before.
        """
        if unit.remote:
            return ""
        for folder in map(str, reversed(Path(unit.address).parents)):
            before = self.folders.get(folder)
            if before and (identity_of(Path(folder)) != before or not _lists(folder)):
                return folder
        return ""


def plan_sources(sources: Sequence[str]) -> Plan:
    """Plan the audio files that arguments stand for: files, folders and patterns, by the one walk.

    Raises:
        ArchiveError: nothing at all is there, or not one that is named.
    """
    for source in sources:
        if not glob.has_magic(source) and not _is_there(source):
            raise ArchiveError(
                f"{source}: no such file or folder; check the name, or mount its disk"
            )
    found = expand(sources)
    plan = Plan(faults=list(found.faults), found=found)
    folders = [os.path.abspath(source) for source in sources if Path(source).is_dir()]  # noqa: PTH100
    for path in found.files:
        address = os.path.abspath(path)  # noqa: PTH100  # links in it stay, unlike in `resolve`
        root = next((one for one in folders if address.startswith(one.rstrip("/") + "/")), "")
        plan.units.append(_local(address, root or os.path.dirname(address)))  # noqa: PTH120
    _note_folders(plan, folders)
    if not plan.units:
        raise ArchiveError(plan.faults[0] if plan.faults else "no audio files are given")
    return plan


def plan_manifest(address: str) -> Plan:
    """Plan the files that a manifest names.

    Args:
        address: a table in Parquet or CSV, as a path or an address of fsspec. Its column `path`
            holds addresses of fsspec, absolute paths, or paths from the manifest's own folder;
            `site`, `recorder` and `start` (ISO 8601) may be there too.

    Raises:
        ArchiveError: it cannot be read, lacks the column `path`, or names nothing.
    """
    rows, first = _rows(address)
    base = "" if REMOTE in address else os.path.dirname(os.path.abspath(address))  # noqa: PTH100, PTH120
    plan = Plan()
    seen: set[str] = set()
    for number, row in enumerate(rows, first):
        path = str(row.get("path") or "")
        if not path:
            raise ArchiveError(f"{address}: row {number} has no path; fill it in or remove the row")
        if REMOTE not in path:
            path = os.path.normpath(os.path.join(base, path))  # noqa: PTH118
        if path in seen:
            continue
        seen.add(path)
        about = {"site": str(row.get("site") or ""), "recorder": str(row.get("recorder") or "")}
        start = _time(row.get("start"), address, number)
        unit = _remote(path) if REMOTE in path else _local(path, os.path.dirname(path))  # noqa: PTH120
        plan.units.append(Unit(unit.address, unit.size, unit.modified_ns, start=start, **about))
    _note_folders(plan, [])
    if not plan.units:
        raise ArchiveError(f"{address}: names no files; add rows")
    return plan


def _is_there(source: str) -> bool:
    """Tell whether there is anything of this name, if only a link to nothing."""
    try:
        return os.path.lexists(source)
    except ValueError:  # a null byte
        return False


def _local(address: str, folder: str) -> Unit:
    try:
        about = Path(address).stat()
    except (OSError, ValueError):  # the worker says what is wrong with it
        return Unit(address, -1, 0, folder)
    return Unit(address, about.st_size, about.st_mtime_ns, folder)


def _remote(address: str) -> Unit:
    """Look at a file through fsspec."""
    try:
        system, path = _fsspec(address).core.url_to_fs(address)
        about = system.info(path)
    except ArchiveError:
        raise
    except Exception:  # each file system has faults of its own; the worker says what is wrong
        return Unit(address, -1, 0)
    changed = about.get("mtime") or about.get("LastModified") or about.get("updated") or 0
    if isinstance(changed, datetime.datetime):
        changed = changed.timestamp()
    try:
        modified_ns = round(float(changed) * 1e9)
    except (TypeError, ValueError):  # a text: it still tells a changed file
        modified_ns = int(hashlib.sha256(str(changed).encode()).hexdigest()[:15], 16)
    return Unit(address, int(about.get("size") or -1), modified_ns)


def _rows(address: str) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a manifest, and the number of the first; in CSV row 1 is the header."""
    try:
        if REMOTE in address:
            with _fsspec(address).open(address, "rb") as file:
                data = file.read()
        else:
            data = Path(address).read_bytes()
    except OSError as error:
        raise ArchiveError(
            f"{address}: cannot be read ({error.strerror or error}); check the name"
        ) from None
    except (ImportError, ValueError) as error:  # a store whose package is missing, or no store
        said = " ".join(str(error).split())[:160]
        raise ArchiveError(f"{address}: cannot be reached ({said})") from None
    if data[:4] == b"PAR1":
        return _parquet_rows(address, data), 1
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline=""))
        _check_columns(address, table.fieldnames or [])
        return list(table), 2
    except csv.Error as error:
        raise ArchiveError(f"{address}: is no CSV ({error}); write it again") from None


def _parquet_rows(address: str, data: bytes) -> list[dict[str, Any]]:
    from pyarrow import ArrowException, BufferReader, timestamp
    from pyarrow.parquet import ParquetFile
    from pyarrow.types import is_timestamp

    try:
        file = ParquetFile(BufferReader(data))
        names = file.schema_arrow.names
        _check_columns(address, names)
        wanted = [name for name in COLUMNS if name in names]
        table = file.read(columns=wanted)
        for place, column in enumerate(table.schema):
            if is_timestamp(column.type):  # of which Python has no nanoseconds
                micros = table.column(place).cast(timestamp("us", column.type.tz), safe=False)
                table = table.set_column(place, column.name, micros)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    except (ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:120]
        raise ArchiveError(
            f"{address}: is no whole Parquet file ({text}); write it again"
        ) from None


def _check_columns(address: str, names: Iterable[str]) -> None:
    names = list(names)
    if "path" not in names:
        has = ", ".join(names[:8]) or "none"
        raise ArchiveError(
            f"{address}: lacks the column path, its columns are {has}; name the column of the "
            "recordings path"
        )


def _time(value: Any, address: str, number: int) -> datetime.datetime | None:
    """Return a time of a manifest."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise ArchiveError(
            f"{address}: row {number} has the start {str(value)!r}; write it as "
            "2024-01-31T05:45:00+00:00"
        ) from None


def _note_folders(plan: Plan, searched: Iterable[str]) -> None:
    holding = (str(Path(unit.address).parent) for unit in plan.units if not unit.remote)
    for folder in dict.fromkeys([*searched, *holding]):
        identity = identity_of(Path(folder))
        if identity is not None:
            plan.folders[folder] = identity


def _lists(folder: str) -> bool:
    """Tell whether a folder can be searched; a mount whose host is gone cannot."""
    try:
        with os.scandir(folder):
            return True
    except OSError:
        return False


def _fsspec(address: str) -> Any:
    try:
        import fsspec
    except ModuleNotFoundError:
        raise ArchiveError(
            f"{address}: addresses need fsspec; pip install 'earmark[archive]'"
        ) from None
    return fsspec


def as_row(unit: Unit) -> Mapping[str, Any]:
    """Return what a table says of a unit itself."""
    raw = unit.address.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "backslashreplace")
    return {
        "file": unit.fingerprint,
        "path": text,
        "path_bytes": raw if text.encode() != raw else None,
        "size": unit.size,
        "modified_ns": unit.modified_ns,
    }
