"""The folder of an archive: what is in it, who may write to it, and how parts become visible.

    OUT/archive.json                   the format and its version
    OUT/.lock                          held by the run that writes
    OUT/runs/RUN.json                  what was run, one file each
    OUT/results/SET/set.json           model, calibration and settings
    OUT/results/SET/files/PART.parquet     a row for each finished file
    OUT/results/SET/events/PART.parquet    its events, under the same part's name
    OUT/results/SET/scores/..., embeddings/...     on request
    OUT/results/SET/progress/...       where long files stand that are not finished

A part is written table by table, each file whole or not at all, `files` last: with it the part is
there, with all its tables, and before it none of it counts. A part that joins others names them in
its `files`, so these stop to count in the same moment. So a kill leaves a whole archive at any
moment; what does not count is removed when the next run begins.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from earmark.archive.result_set import ResultSet, of_folder
from earmark.archive.schema import FILES, SCHEMA, TABLES
from earmark.errors import ArchiveError
from earmark.io.files import identity_of, make_folder, read_json, write_json, write_whole
from earmark.io.lock import FolderLock
from earmark.provenance import now

FORMAT = "earmark-archive"
_REPLACES = b"earmark.replaces"
_SCHEMA = b"earmark.schema"
_SUFFIX = ".parquet"
_LISTINGS = 10
LARGEST_BYTES = 128 << 20  # a part that is larger is joined no more

Source: TypeAlias = "Path | pa.NativeFile"  # of a table: by its name, or held open


@dataclass(frozen=True)
class Part:
    """A part of a set's results that counts.

    Attributes:
        name: of its files, without the suffix.
        replaces: names of parts that it has joined, of which some may still lie there.
        size: bytes of all its tables.
    """

    name: str
    replaces: tuple[str, ...]
    size: int


class Archive:
    """The folder of an archive, for reading.

    Args:
        folder: the folder.

    Raises:
        ArchiveError: it is no archive, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = _read_json(folder / "archive.json")
        if about is None:
            raise ArchiveError(f"{folder}: is no archive; make one with earmark label --out")
        if about.get("format") != FORMAT or not isinstance(about.get("schema"), int):
            raise ArchiveError(f"{folder}: is no archive of Earmark; give another folder")
        if about["schema"] != SCHEMA:
            raise ArchiveError(
                f"{folder}: has schema {about['schema']}, this Earmark writes and reads {SCHEMA}; "
                "use the Earmark that wrote it, or give another folder"
            )

    @property
    def sets(self) -> list[ResultSet]:
        """The sets of results, the one that was run last at the end."""
        found = []
        for path in (self.folder / "results").glob("*/set.json"):
            record = _read_json(path)
            if record is not None:
                found.append(of_folder(path.parent, record))
        last = {run.get("set"): str(run.get("started")) for run in self.runs}
        return sorted(found, key=lambda one: (last.get(one.record["set"], ""), one.name))

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What was run, the earliest first."""
        paths = sorted((self.folder / "runs").glob("*.json"))
        return [run for path in paths if (run := _read_json(path)) is not None]

    def set_folder(self, results: ResultSet) -> Path:
        """Return the folder of a set."""
        return self.folder / "results" / results.name

    def table_path(self, results: ResultSet, table: str, part: str) -> Path:
        """Return where a table of a part lies."""
        return self.set_folder(results) / table / f"{part}{_SUFFIX}"

    def parts(self, results: ResultSet) -> list[Part]:
        """Return the parts of a set that count, in the order of their names, which is that of time.

        Raises:
            ArchiveError: one of them is damaged.
        """
        for _ in range(_LISTINGS):
            with contextlib.suppress(FileNotFoundError):  # joined with others meanwhile: look again
                return self._parts(results)
        raise ArchiveError(f"{self.folder}: changes too fast to be read; try again")

    def _parts(self, results: ResultSet) -> list[Part]:
        found: list[Part] = []
        for path in sorted((self.set_folder(results) / FILES).glob(f"*{_SUFFIX}")):
            try:
                metadata = pq.read_schema(path).metadata or {}
            except FileNotFoundError:
                raise
            except (pa.ArrowException, OSError) as error:
                raise ArchiveError(
                    f"{path}: is damaged ({' '.join(str(error).split())[:100]}); remove it, and "
                    "its files are labelled again"
                ) from None
            replaces = tuple(json.loads(metadata.get(_REPLACES, b"[]")))
            tables = [self.table_path(results, table, path.stem) for table in TABLES]
            found.append(Part(path.stem, replaces, sum(map(_size, tables))))
        replaced = {name for part in found for name in part.replaces}
        return [part for part in found if part.name not in replaced]

    def table_paths(self, results: ResultSet, table: str) -> list[Path]:
        """Return the files of a table that count."""
        paths = [self.table_path(results, table, part.name) for part in self.parts(results)]
        return [path for path in paths if path.exists()]

    def opened(self, results: ResultSet) -> dict[str, list[Source]]:
        """Return the tables of a set as they are now, whatever a run joins while they are read.

        Parts that may be joined are held open, which keeps them; the others stay.

        Raises:
            ArchiveError: a part is damaged.
        """
        for _ in range(_LISTINGS):
            with contextlib.suppress(FileNotFoundError):  # joined with others meanwhile: look again
                return self._opened(results)
        raise ArchiveError(f"{self.folder}: changes too fast to be read; try again")

    def _opened(self, results: ResultSet) -> dict[str, list[Source]]:
        found: dict[str, list[Source]] = {table: [] for table in TABLES}
        for part in self.parts(results):
            for table in TABLES:  # files last: it goes first, so with it all the others were there
                path = self.table_path(results, table, part.name)
                if table != FILES and not path.exists():
                    continue
                small = part.size <= LARGEST_BYTES
                found[table].append(pa.OSFile(os.fsencode(path)) if small else path)
        return found


class Writing(Archive):
    """The folder of an archive, held by one run.

    Args:
        folder: the folder; a new one or an empty one becomes an archive. Where nothing comes into
            it, as when there are no recordings, it is as it was once it is let go.

    Raises:
        ArchiveError: it holds other things, or it is of another version.
        StorageError: another run holds it.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._new_folder, self._new = not folder.exists(), False
        make_folder(folder)
        if not (folder / "archive.json").exists():
            others = [name for name in os.listdir(folder) if name not in (".lock",)]  # noqa: PTH208
            if [name for name in others if not name.startswith(".archive.json.")]:
                raise ArchiveError(
                    f"{folder}: holds other things than an archive, such as {others[0]}; give "
                    "--out a new folder"
                )
        self._lock = FolderLock(folder, "give another --out")
        self._identity = identity_of(folder)
        try:
            if not (folder / "archive.json").exists():
                about = {"format": FORMAT, "schema": SCHEMA, "created": now()}
                write_json(folder / "archive.json", about)
                self._new = True
            super().__init__(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another run write."""
        if self._new and not (self.folder / "results").exists():
            with contextlib.suppress(OSError):
                (self.folder / "archive.json").unlink()
                (self.folder / ".lock").unlink()
                if self._new_folder:
                    self.folder.rmdir()
        self._lock.release()

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, results: ResultSet) -> Path:
        """Make the folder of a set, remove what does not count, and return its folder of progress.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self.set_folder(results)
        make_folder(folder / "progress")
        if not (folder / "set.json").exists():
            write_json(folder / "set.json", dict(results.record))
        counting = {part.name for part in self.parts(results)}
        for table in reversed(TABLES):  # files first: without it the rest does not count
            for path in _listed(folder / table):
                if path.stem not in counting or path.suffix != _SUFFIX:
                    path.unlink()
        return folder / "progress"

    def write_part(self, results: ResultSet, tables: Mapping[str, pa.Table]) -> Part:
        """Write a part; it counts from the end of this on.

        Args:
            results: its set.
            tables: its tables, `files` among them.

        Raises:
            OSError: the disk is full or gone; then nothing of it counts.
        """
        batches = {table: (rows.schema, rows.to_batches()) for table, rows in tables.items()}
        return self.write_batches(results, batches, ())

    def write_batches(
        self,
        results: ResultSet,
        tables: Mapping[str, tuple[pa.Schema, Iterable[pa.RecordBatch]]],
        replaces: Iterable[str],
    ) -> Part:
        """Write a part batch by batch; see `write_part`.

        Args:
            results: its set.
            tables: columns and rows of its tables.
            replaces: names of parts that it takes the place of.
        """
        self._refuse_gone()
        name, replaces = _part_name(), tuple(replaces)
        written: list[Path] = []
        try:
            for table in TABLES:
                if table not in tables:
                    continue
                schema, batches = tables[table]
                extra = {_SCHEMA: str(SCHEMA).encode()}
                if table == FILES:
                    extra[_REPLACES] = json.dumps(replaces).encode()
                path = self.table_path(results, table, name)
                schema = schema.with_metadata(extra)
                write_whole(path, lambda file, s=schema, b=batches: _write(file, s, b))  # type: ignore[misc]
                written.append(path)
        except BaseException:
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return Part(name, replaces, sum(map(_size, written)))

    def remove_parts(self, results: ResultSet, names: Iterable[str]) -> list[str]:
        """Remove parts that do not count any more; return the names of those that stay for now."""
        left = []
        for name in names:
            try:
                for table in reversed(TABLES):
                    self.table_path(results, table, name).unlink(missing_ok=True)
            except OSError:  # someone reads it, on a system where that holds it
                left.append(name)
        return left

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write what is run, or how it ended.

        Raises:
            OSError: it cannot be written.
        """
        self._refuse_gone()
        write_json(self.folder / "runs" / f"{run['run']}.json", dict(run))

    def _refuse_gone(self) -> None:
        """Refuse to write into the empty folder that a disk was mounted on.

        Raises:
            OSError: the folder is not the one that is held.
        """
        if identity_of(self.folder) != self._identity:
            raise FileNotFoundError(
                errno.ENOENT, "it is gone, or another folder than when the run began"
            )


def entries(archive: Archive, results: ResultSet) -> Iterator[dict[str, Any]]:
    """Yield what a run needs to know of each row of `files`, in no order."""
    names = ["entry", "file", "path", "path_bytes", "status", "outputs"]
    names += ["start_utc", "start_source", "site"]
    for path in archive.table_paths(results, FILES):
        for batch in pq.ParquetFile(path).iter_batches(columns=names):
            yield from batch.to_pylist()


def highest_entry(archive: Archive) -> int:
    """Return the highest number of an entry in all sets; 0: there is none."""
    highest = 0
    for results in archive.sets:
        for path in archive.table_paths(results, FILES):
            for batch in pq.ParquetFile(path).iter_batches(columns=["entry"]):
                highest = max(highest, *batch.column(0).to_pylist(), 0)
    return highest


def new_run() -> str:
    """Return a name for a run; names stand in the order of time."""
    return _part_name()


def _part_name() -> str:
    stamp = now().replace("-", "").replace(":", "").removesuffix("+0000")
    return f"{stamp}-{secrets.token_hex(4)}"


def _write(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (ValueError, NotADirectoryError):
        raise ArchiveError(f"{path}: is not JSON, it was cut or edited") from None
    if not isinstance(content, dict):
        raise ArchiveError(f"{path}: is no object of JSON, it was edited")
    return content
