"""The columns of an archive's tables, and how files become their rows.

`files` has a row for each file that was finished, with its failure where it has one; `events` one
for each event; `scores` and `embeddings` one for each second, on request. A file's row and those of
its events carry the same `entry`, a number that is used once in an archive.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA = 1
OK, PARTIAL, FAILED = "ok", "partial", "failed"
FILES, EVENTS, SCORES, EMBEDDINGS = "files", "events", "scores", "embeddings"
TABLES = (EVENTS, SCORES, EMBEDDINGS, FILES)  # in the order they are written: files commits

_WORD = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_SOURCE = [
    pa.field("entry", pa.int64(), nullable=False),
    pa.field("file", pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("path_bytes", pa.binary()),
    pa.field("site", _WORD),
    pa.field("recorder", _WORD),
]
_ORIGIN = [
    pa.field("model", _WORD, nullable=False),
    pa.field("model_name", _WORD, nullable=False),
    pa.field("calibration", _WORD, nullable=False),
    pa.field("settings", _WORD, nullable=False),
    pa.field("run", _WORD, nullable=False),
]
_FILES = pa.schema(
    [
        *_SOURCE,
        pa.field("start_utc", _TIME),
        pa.field("start_source", _WORD),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("sample_rate", pa.int32()),
        pa.field("channels", pa.int32()),
        pa.field("status", _WORD, nullable=False),
        pa.field("cause", _WORD),
        pa.field("error", pa.string()),
        pa.field("notes", pa.list_(pa.string()), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
        pa.field("outputs", pa.list_(pa.string()), nullable=False),
        pa.field("labelled_utc", _TIME, nullable=False),
        pa.field("took_seconds", pa.float64(), nullable=False),
        *_ORIGIN,
    ]
)
_EVENTS = pa.schema(
    [
        *_SOURCE,
        pa.field("start_utc", _TIME),
        pa.field("onset_seconds", pa.float64(), nullable=False),
        pa.field("offset_seconds", pa.float64(), nullable=False),
        pa.field("label", _WORD, nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("top", pa.map_(pa.string(), pa.float64()), nullable=False),
        *_ORIGIN,
    ]
)


def schema_of(table: str, classes: Sequence[str], width: int = 0) -> pa.Schema:
    """Return the columns of a table.

    Args:
        table: one of `TABLES`.
        classes: of the model, for `scores`.
        width: of an embedding.
    """
    if table == FILES:
        return _FILES
    if table == EVENTS:
        return _EVENTS
    per_second = [*_SOURCE, pa.field("start_utc", _TIME), pa.field("second", pa.int32())]
    if table == EMBEDDINGS:
        return pa.schema(
            [*per_second, pa.field("embedding", pa.list_(pa.float32(), width)), *_ORIGIN]
        )
    fields = [pa.field(name, pa.float32()) for name in classes]
    return pa.schema([*per_second, pa.field("scores", pa.struct(fields)), *_ORIGIN])


def second_rows(values: NDArray[np.float32], schema: pa.Schema, row: Mapping[str, Any]) -> pa.Table:
    """Return the rows of the seconds of one file.

    Args:
        values: a row of numbers for each second.
        schema: of `scores` or `embeddings`.
        row: of the file.
    """
    count, start = len(values), row["start_utc"]
    columns: list[Any] = []
    for field in schema:
        if field.name == "second":
            columns.append(pa.array(np.arange(count, dtype=np.int32)))
        elif field.name == "start_utc":
            times = [start and start + datetime.timedelta(seconds=n) for n in range(count)]
            columns.append(pa.array(times, field.type))
        elif field.name == "scores":
            parts = [pa.array(np.ascontiguousarray(column)) for column in values.T]
            columns.append(pa.StructArray.from_arrays(parts, fields=list(field.type)))
        elif field.name == "embedding":
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            columns.append(pa.array([row[field.name]] * count, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def source_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the rows of all tables say of a file, from its own row."""
    return {field.name: row[field.name] for field in [*_SOURCE, *_ORIGIN]}
