"""Finished files -> parts of an archive: what is done, what waits to be written, what is joined.

A part is written every few seconds, so a kill costs no more; parts of like size are then joined, so
that few are left: with eight of a size joined at a time, a row is written again a few times in all.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from earmark.archive.labelled import Labelled
from earmark.archive.origin import Origin
from earmark.archive.result_set import ResultSet
from earmark.archive.schema import (
    EMBEDDINGS,
    EVENTS,
    FAILED,
    FILES,
    OK,
    SCORES,
    TABLES,
    schema_of,
    second_rows,
    source_columns,
)
from earmark.archive.store import LARGEST_BYTES, Part, Writing, entries, highest_entry

FLUSH_SECONDS = 15.0
_FLUSH_ROWS = 200_000
_JOINED = 8  # parts


@dataclass(frozen=True)
class Known:
    """What is known of an address: the file that was there, and how it went."""

    file: str
    entry: int
    status: str
    outputs: tuple[str, ...]
    origin: Origin


def _known(row: Mapping[str, Any]) -> Known:
    """Return what a row of `files` says."""
    origin = Origin(row["start_utc"], row["start_source"] or "", row["site"] or "")
    return Known(row["file"], row["entry"], row["status"], tuple(row["outputs"]), origin)


class Collector:
    """Takes finished files of one set and writes them.

    Args:
        archive: the archive, held for writing.
        results: the set.
        run: name of the run.

    Attributes:
        waiting: files that were taken and are not written yet.

    Raises:
        ArchiveError: a part is damaged.
        OSError: the archive cannot be read.
    """

    def __init__(self, archive: Writing, results: ResultSet, run: str) -> None:
        self._archive, self._results, self._run = archive, results, run
        self._next = highest_entry(archive) + 1
        self._known: dict[bytes, Known] = {}
        self._superseded: set[int] = set()
        for row in entries(archive, results):
            raw = row["path_bytes"] or row["path"].encode()
            self._note(raw, _known(row))
        self._parts = archive.parts(results)
        self._clear()
        self._flushed = time.monotonic()

    def known(self, address: str) -> Known | None:
        """Return what is known of an address, from earlier runs and this one."""
        return self._known.get(address.encode("utf-8", "surrogateescape"))

    def add(self, done: Labelled) -> None:
        """Take a finished file, whether it failed or not.

        One that was labelled before and now fails, as it is, keeps the rows that it has.
        """
        before = self.known(done.unit.address)
        if done.failed and _holds(before, done.unit.fingerprint):
            return
        entry, self._next = self._next, self._next + 1
        row = {**done.row, "entry": entry, "run": self._run, **self._results.columns}
        self._rows[FILES].append(row)
        source = source_columns(row)
        for event in done.events:
            self._rows[EVENTS].append({**source, **event})
        for table, values in ((SCORES, done.scores), (EMBEDDINGS, done.embeddings)):
            if values is not None and len(values):
                schema = schema_of(table, self._results.classes, values.shape[1])
                self._seconds[table].append(second_rows(values, schema, row))
        self.waiting += 1
        address = done.unit.address.encode("utf-8", "surrogateescape")
        self._note(address, _known(row))

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        if not self.waiting:
            self._flushed = time.monotonic()
            return False
        late = time.monotonic() - self._flushed > FLUSH_SECONDS
        rows = sum(map(len, self._rows.values()))
        seconds = sum(map(len, itertools.chain(*self._seconds.values())))
        return late or rows + seconds > _FLUSH_ROWS

    def flush(self) -> None:
        """Write what waits, and join small parts.

        Raises:
            OSError: the disk is full or gone; what waits is then not written.
        """
        if self.waiting:
            tables = {
                table: pa.Table.from_pylist(rows, schema=schema_of(table, ()))
                for table, rows in self._rows.items()
                if rows or table == FILES
            }
            for table, parts in self._seconds.items():
                if parts:
                    tables[table] = pa.concat_tables(parts)
            self._parts.append(self._archive.write_part(self._results, tables))
            self._clear()
        self._flushed = time.monotonic()
        while group := _like_sizes(self._parts):
            self._join(group)

    def counts(self) -> dict[str, int]:
        """Return how many addresses there are by their status."""
        found: dict[str, int] = {}
        for known in self._known.values():
            found[known.status] = found.get(known.status, 0) + 1
        return found

    def _clear(self) -> None:
        """Begin to gather the next part."""
        self._rows: dict[str, list[dict[str, Any]]] = {EVENTS: [], FILES: []}
        self._seconds: dict[str, list[pa.Table]] = {SCORES: [], EMBEDDINGS: []}
        self.waiting = 0

    def _note(self, address: bytes, new: Known) -> None:
        """Keep the latest row of an address; the others count no more."""
        old = self._known.get(address)
        if old is None or old.entry < new.entry:
            self._known[address] = new
            if old is not None:
                self._superseded.add(old.entry)
        else:
            self._superseded.add(new.entry)

    def _join(self, group: Sequence[Part]) -> None:
        """Write parts as one; rows that count no more are left out."""
        tables: dict[str, tuple[pa.Schema, Iterator[pa.RecordBatch]]] = {}
        for table in TABLES:
            paths = [self._archive.table_path(self._results, table, part.name) for part in group]
            paths = [path for path in paths if path.exists()]
            if paths:
                schema = pq.read_schema(paths[0]).remove_metadata()
                tables[table] = schema, self._live(paths)
        replaces = [name for part in group for name in (part.name, *part.replaces)]
        joined = self._archive.write_batches(self._results, tables, replaces)
        left = self._archive.remove_parts(self._results, replaces)
        parts = [part for part in self._parts if part not in group]
        self._parts = [*parts, Part(joined.name, tuple(left), joined.size)]

    def _live(self, paths: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        gone = pa.array(sorted(self._superseded), pa.int64())
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches():
                keep = pc.invert(pc.is_in(batch.column("entry"), value_set=gone))
                yield batch.filter(keep)


def _holds(known: Known | None, file: str) -> bool:
    """Tell whether something was found in this very file."""
    return known is not None and known.file == file and known.status != FAILED


def is_done(known: Known | None, file: str, outputs: Sequence[str], retry_failed: bool) -> bool:
    """Tell whether a file needs no more work.

    Args:
        known: what is known of its address.
        file: fingerprint of the file that is there now.
        outputs: what is asked for.
        retry_failed: whether failures are tried again.
    """
    if known is None or known.file != file:
        return False
    if known.status != OK and retry_failed:
        return False
    return known.status == FAILED or set(outputs) <= set(known.outputs)


def _like_sizes(parts: Sequence[Part]) -> list[Part]:
    """Return the smallest parts, if there are enough of about one size to be joined."""
    group: list[Part] = []
    total = 0
    for part in sorted(parts, key=lambda part: part.size):
        if part.size > LARGEST_BYTES or (len(group) >= _JOINED and part.size > total):
            break
        if group and part.size > 4 * max(total, 1) / len(group) and len(group) < _JOINED:
            group, total = [], 0  # of another size; the smaller ones wait for more
        group.append(part)
        total += part.size
    return group if len(group) >= _JOINED else []
