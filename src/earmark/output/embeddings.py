"""Tables of embeddings: Parquet with pyarrow, or NumPy's .npz.

A row is a clip or a segment: `path`, `onset` in seconds, `model` (the identity of its weights) and
`embedding`. Parquet is written and read in parts, so that a table may be larger than the memory;
pyarrow is imported when it is asked for. Files are written whole or not at all.
"""

from __future__ import annotations

import itertools
import shlex
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.errors import EarmarkError, SettingsError
from earmark.io.files import write_whole

SUFFIXES = (".parquet", ".npz")
_ROWS = 4_096  # of Parquet that are written, and read, at a time
_KEYS = ("path", "onset", "model", "embedding")


class Row(NamedTuple):
    """The embedding `(size,)` of a clip, or of a segment that begins at `onset` seconds."""

    path: str
    onset: float
    embedding: NDArray[np.float32]


class Part(NamedTuple):
    """Some rows of a table: names, onsets `(rows,)`, embeddings `(rows, size)`."""

    paths: list[str]
    onsets: NDArray[np.float64]
    embeddings: NDArray[np.float32]


def refuse_suffix(path: Path) -> None:
    """Refuse a name for a table that says no format, or one that cannot be written here.

    Raises:
        SettingsError: the suffix is none of `SUFFIXES`.
        EarmarkError: pyarrow is not installed, and the suffix asks for it.
    """
    if path.suffix not in SUFFIXES:
        raise SettingsError(f"{path}: must end in {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        _import_parquet(path)


def write_table(path: Path, rows: Iterable[Row], *, model: str, size: int) -> int:
    """Write a table; return the number of its rows.

    Args:
        path: the file, see `SUFFIXES`.
        rows: taken one by one.
        model: identity of the weights.
        size: numbers of an embedding.

    Raises:
        SettingsError, EarmarkError: see `refuse_suffix`.
        OSError: the file cannot be written.
    """
    refuse_suffix(path)
    counted = _Counted(rows)
    if path.suffix == ".npz":
        part = _gather(list(counted), size)
        arrays: dict[str, Any] = {
            "path": np.array(part.paths, dtype=np.str_),
            "onset": part.onsets,
            "model": np.array(model),
            "embedding": part.embeddings,
        }
        write_whole(path, lambda file: np.savez(file, **arrays))
    else:
        write_whole(path, lambda file: _write_parquet(path, file, counted, model, size))
    return counted.count


def read_table(path: Path, *, model: str) -> Iterator[Part]:
    """Read a table part by part.

    Args:
        path: the file.
        model: identity of the weights that its embeddings must be of.

    Raises:
        EarmarkError: there is no such table, it is none of ours or cut, is of another model, or
            pyarrow is not installed.
    """
    refuse_suffix(path)
    if not path.exists():
        raise EarmarkError(
            f"{path}: no such file; write it with: earmark embed DIR --out {shlex.quote(str(path))}"
        )
    try:
        parts = _read_npz(path) if path.suffix == ".npz" else _read_parquet(path)
        for models, part in parts:
            if others := sorted(set(models) - {model}):
                raise EarmarkError(
                    f"{path}: holds embeddings of another model ({others[0][:16]}) than this one "
                    f"({model[:16]}); name that one with --model_dir, or embed the files again"
                )
            yield part
    except OSError as error:
        if error.strerror:
            raise EarmarkError(f"{path}: cannot be read ({error.strerror})") from None
        raise EarmarkError(f"{path}: is no table of embeddings, or was cut ({error})") from None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split())
        raise EarmarkError(
            f"{path}: is no table of embeddings, or was cut ({said}); write one with: earmark embed"
        ) from None


def _gather(rows: list[Row], size: int) -> Part:
    embeddings = np.array([row.embedding for row in rows], np.float32).reshape(-1, size)
    onsets = np.array([row.onset for row in rows], np.float64)
    return Part([row.path for row in rows], onsets, embeddings)


def _write_parquet(path: Path, file: BinaryIO, rows: Iterable[Row], model: str, size: int) -> None:
    pyarrow, parquet = _import_parquet(path)
    names = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    vectors = pyarrow.list_(pyarrow.float32(), size)
    kinds = (names, pyarrow.float64(), names, vectors)
    schema = pyarrow.schema(list(zip(_KEYS, kinds, strict=True)))
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        taken = iter(rows)
        while some := list(itertools.islice(taken, _ROWS)):
            part = _gather(some, size)
            flat = pyarrow.array(part.embeddings.ravel())
            columns = [
                pyarrow.array([_printable(name) for name in part.paths]).dictionary_encode(),
                pyarrow.array(part.onsets),
                pyarrow.array([model] * len(some)).dictionary_encode(),
                pyarrow.FixedSizeListArray.from_arrays(flat, size),
            ]
            writer.write_table(pyarrow.table(columns, schema=schema))


def _read_parquet(path: Path) -> Iterator[tuple[list[str], Part]]:
    _, parquet = _import_parquet(path)
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS, columns=list(_KEYS)):
            vectors = batch.column("embedding")
            flat = np.asarray(vectors.flatten(), np.float32)
            part = Part(
                batch.column("path").to_pylist(),
                np.asarray(batch.column("onset"), np.float64),
                flat.reshape(len(batch), -1),
            )
            yield batch.column("model").unique().to_pylist(), part


def _read_npz(path: Path) -> Iterator[tuple[list[str], Part]]:
    with np.load(path, allow_pickle=False) as file:
        paths, onsets, model, embeddings = (file[name] for name in _KEYS)
    if embeddings.ndim != 2 or not len(paths) == len(onsets) == len(embeddings):
        raise ValueError("its columns differ in length")
    yield [str(model)], Part(paths.tolist(), onsets, embeddings)


def _import_parquet(path: Path) -> tuple[Any, Any]:
    """Import pyarrow.

    Raises:
        EarmarkError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise EarmarkError(
            f"{path}: Parquet needs pyarrow (pip install 'earmark[archive]'); or give a name that "
            "ends in .npz"
        ) from None
    return pyarrow, pyarrow.parquet


def _printable(name: str) -> str:
    """Return a name as UTF-8 can hold it; bytes that are none are written as `\\udc..`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


class _Counted:
    """Iterates over rows and counts them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.count = rows, 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row
