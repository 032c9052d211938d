"""Questions to an archive, in SQL, that can change nothing and read nothing else.

DuckDB is given the tables as PyArrow's data sets; files, the network and extensions are closed to
it before the first question. A question is one SELECT.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from earmark.archive.result_set import ResultSet
from earmark.archive.schema import EMBEDDINGS, EVENTS, FILES, SCORES, TABLES, schema_of
from earmark.archive.store import Archive, Source
from earmark.errors import ArchiveError

ORDER = "model, calibration, settings, path, entry"  # of files
_ROWS = 10_000  # at a time
_EVENTS = 100_000  # sorted at a time: those of so many files as come to it
_COMMENT = re.compile(r"--|/\*|;")


@dataclass(frozen=True)
class Answer:
    """The rows of a question, as they are asked for.

    Attributes:
        names: of the columns.
        rows: the rows.
    """

    names: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Questions:
    """The tables `files` and `events`, and where there are any `scores` and `embeddings`.

    Of each address the row that was written last counts, and the events that belong to it. What a
    run adds or joins from here on changes nothing.

    Args:
        archive: the archive.
        sets: whose results to look at.

    Raises:
        ArchiveError: a part is damaged, or DuckDB is not installed.
    """

    def __init__(self, archive: Archive, sets: Sequence[ResultSet]) -> None:
        duckdb = _duckdb()
        self._errors = duckdb.Error
        self._duckdb = duckdb
        self._connection = duckdb.connect(":memory:")
        opened = [archive.opened(one) for one in sets]
        sources = {table: [source for one in opened for source in one[table]] for table in TABLES}
        self._inner: dict[str, Any] = {"_current": pa.table({"entry": _current(sources[FILES])})}
        for table, found in sources.items():
            if not found and table not in (FILES, EVENTS):
                continue
            schema = schema_of(table, ()) if table in (FILES, EVENTS) else None
            self._inner[f"_{table}"] = _rows(found, schema)
        for setting in (
            "enable_external_access = false",
            "python_enable_replacements = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "TimeZone = 'UTC'",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET GLOBAL {setting}")  # so in all cursors

    def _cursor(self, more: Mapping[str, Any]) -> Any:
        """Return a cursor of its own, so that several answers can be read in turn."""
        cursor = self._connection.cursor()
        for name, rows in {**self._inner, **more}.items():
            cursor.register(name, rows)  # seen by this cursor only
        for table in TABLES:
            if f"_{table}" in self._inner:
                cursor.execute(
                    f"CREATE TEMP VIEW {table} AS "
                    f"SELECT * FROM _{table} SEMI JOIN _current USING (entry)"
                )
        return cursor

    def sql(self, question: str) -> Answer:
        """Answer a question in SQL.

        Raises:
            ArchiveError: it is not one SELECT, is not valid, or asks for more than the tables.
        """
        try:
            statements = self._connection.extract_statements(question)
        except self._errors as error:
            raise self._fault(error) from None
        kinds = [statement.type for statement in statements]
        if kinds != [self._duckdb.StatementType.SELECT]:
            raise ArchiveError("--sql takes one SELECT, which changes nothing; ask one question")
        return self._answer(question, {})

    def _answer(self, question: str, more: Mapping[str, Any]) -> Answer:
        """Answer one SELECT to the tables, and to more of them."""
        try:
            cursor = self._cursor(more).execute(question)
        except self._errors as error:
            raise self._fault(error) from None
        names = tuple(str(column[0]) for column in cursor.description)
        return Answer(names, self._rows(cursor))

    def events(self, where: str = "", columns: str = "*") -> Iterator[dict[str, Any]]:
        """Yield the events that meet a condition, by file and time.

        Args:
            where: a condition of SQL on the columns of `events`; empty: all.
            columns: the ones to yield.

        Raises:
            ArchiveError: it is no condition.
        """
        if _COMMENT.search(_without_texts(where)):
            raise ArchiveError("--query takes one condition, without comments and semicolons")
        for entries in self._batches():
            batch = self._inner["_events"].filter(_among(entries))
            answer = self._answer(
                f"SELECT {columns} FROM (SELECT * FROM _batch) AS events WHERE ({where or True}) "
                f"ORDER BY {ORDER}, onset_seconds, label",
                {"_batch": batch},
            )
            for row in answer.rows:
                yield dict(zip(answer.names, row, strict=True))

    def _batches(self) -> Iterator[list[int]]:
        """Yield the entries of files in order, some at a time, by their events; at least once."""
        files = self.sql(f"SELECT entry, events FROM files ORDER BY {ORDER}").rows
        entries: list[int] = []
        held = 0
        for entry, events in files:
            if held and held + events > _EVENTS:
                yield entries
                entries, held = [], 0
            entries.append(entry)
            held += events
        yield entries

    def _rows(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        try:
            while rows := cursor.fetchmany(_ROWS):
                yield from rows
        except self._errors as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> ArchiveError:
        text = " ".join(str(error).split())
        if "disabled" in text and ("configuration" in text or "external" in text):
            return ArchiveError("--sql reads the tables of the archive and no other file")
        for table in (SCORES, EMBEDDINGS):
            if f"name {table} does not exist" in text:
                return ArchiveError(f"there are no {table} here; run earmark label --{table}")
        hint = "; texts stand in single quotes" if "Referenced column" in text else ""
        return ArchiveError(f"the question is not valid: {text[:300]}{hint}")


def plain(value: Any) -> Any:
    """Return a value of a row as JSON knows it."""
    if isinstance(value, datetime.datetime):
        at = value.astimezone(datetime.timezone.utc) if value.tzinfo else value
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def _rows(sources: Sequence[Source], schema: pa.Schema | None) -> ds.Dataset:
    """Return tables as one, with the columns of all where none are given."""
    parquet, here = ds.ParquetFileFormat(), fs.LocalFileSystem()
    parts = [
        parquet.make_fragment(str(source), here)
        if isinstance(source, Path)
        else parquet.make_fragment(source)
        for source in sources
    ]
    schema = schema or _joined([part.physical_schema for part in parts])
    return ds.FileSystemDataset(parts, schema, parquet, here)


def _joined(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of the first of all schemas, where `scores` has the classes of all."""
    schema = schemas[0]
    at = schema.get_field_index(SCORES)
    if at < 0:
        return schema
    classes = {field.name: field for one in schemas for field in one.field(SCORES).type}
    return schema.set(at, pa.field(SCORES, pa.struct(list(classes.values()))))


def _among(entries: Sequence[int]) -> ds.Expression:
    """Return the condition that a row belongs to one of some entries.

    Their bounds stand in it too: by these, but not by more than 50 entries, Arrow leaves row groups
    unread.
    """
    entry = ds.field("entry")
    condition = entry.isin(pa.array(entries, pa.int64()))
    if entries:
        condition = (entry >= min(entries)) & (entry <= max(entries)) & condition
    return condition


def _current(sources: Sequence[Source]) -> pa.Array:
    """Return the entries that count: the highest of each address in each set."""
    latest: dict[tuple[Any, ...], int] = {}
    names = ["entry", "path", "path_bytes", "model", "calibration", "settings"]
    for source in sources:
        for batch in pq.ParquetFile(source).iter_batches(columns=names):
            columns = [
                column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
                for column in batch.columns
            ]
            for entry, *key in zip(*(column.to_pylist() for column in columns), strict=True):
                latest[tuple(key)] = max(entry, latest.get(tuple(key), 0))
    return pa.array(sorted(latest.values()), pa.int64())


def _without_texts(condition: str) -> str:
    """Return a condition without what stands in quotes."""
    return re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "", condition)


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise ArchiveError("questions need duckdb; pip install 'earmark[archive]'") from None
    return duckdb
