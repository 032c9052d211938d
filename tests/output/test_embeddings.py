"""Tables of embeddings: written whole, read in parts, refused in one line."""

import subprocess
import sys

import numpy as np
import pytest

from earmark.errors import EarmarkError, SettingsError
from earmark.output.embeddings import Row, read_table, write_table

MODEL, SIZE = "a" * 64, 5
SUFFIXES = (".parquet", ".npz")


def rows(count):
    rng = np.random.default_rng(0)
    for number in range(count):
        vector = rng.normal(size=SIZE).astype(np.float32)
        yield Row(f"näme {number // 3}.wav", 0.96 * (number % 3), vector)


def parts_of(path):
    return list(read_table(path, model=MODEL))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_table_is_read_as_it_was_written(tmp_path, suffix, count):
    path = tmp_path / f"a{suffix}"
    assert write_table(path, rows(count), model=MODEL, size=SIZE) == count
    parts = parts_of(path)
    assert [name for part in parts for name in part.paths] == [row.path for row in rows(count)]
    for part in parts:
        assert part.embeddings.dtype == np.float32
        np.testing.assert_array_equal(part.onsets, [row.onset for row in rows(count)])
        np.testing.assert_array_equal(
            part.embeddings, np.reshape([row.embedding for row in rows(count)], (-1, SIZE))
        )
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_parquet_is_written_and_read_in_parts_and_is_a_list_of_fixed_size(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("earmark.output.embeddings._ROWS", 4)
    path = tmp_path / "a.parquet"
    write_table(path, rows(10), model=MODEL, size=SIZE)
    assert [len(part.paths) for part in parts_of(path)] == [4, 4, 2]
    schema = parquet.read_schema(path)
    assert schema.names == ["path", "onset", "model", "embedding"]
    assert str(schema.field("embedding").type).startswith("fixed_size_list<")
    assert schema.field("embedding").type.list_size == SIZE
    frame = parquet.read_table(path).to_pylist()
    assert {row["model"] for row in frame} == {MODEL}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fault_on_the_way_leaves_the_table_before(tmp_path, suffix):
    def broken():
        yield from rows(3)
        raise KeyboardInterrupt

    path = tmp_path / f"a{suffix}"
    write_table(path, rows(2), model=MODEL, size=SIZE)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_table(path, broken(), model=MODEL, size=SIZE)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_of_another_model_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_table(path, rows(3), model="b" * 64, size=SIZE)
    with pytest.raises(EarmarkError, match=r"another model \(bbbbbbbbbbbbbbbb\) than this one"):
        parts_of(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["nothing", "cut", "text", "other columns"])
def test_what_is_no_table_is_one_line(tmp_path, suffix, what):
    path = tmp_path / f"a{suffix}"
    if what == "cut":
        write_table(path, rows(9), model=MODEL, size=SIZE)
        path.write_bytes(path.read_bytes()[:-60])
    elif what == "text":
        path.write_text("path,onset\n")
    elif what == "other columns" and suffix == ".npz":
        np.savez(path, path=np.array(["a"]))
    elif what == "other columns":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"path": ["a"]}), path)
    remedy = "no such file; write it with: earmark embed DIR --out" if what == "nothing" else ""
    with pytest.raises(EarmarkError, match=rf"^\S+a\{suffix}: {remedy}") as caught:
        parts_of(path)
    assert "\n" not in str(caught.value)


def test_a_name_without_a_known_suffix_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"must end in \.parquet or \.npz"):
        write_table(tmp_path / "a.csv", rows(1), model=MODEL, size=SIZE)


def test_without_pyarrow_parquet_is_one_line_and_npz_is_written(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from earmark.output.embeddings import write_table\n"
        "write_table(Path('a.npz'), [], model='m', size=3)\n"
        "try:\n    write_table(Path('a.parquet'), [], model='m', size=3)\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("EarmarkError a.parquet: Parquet needs pyarrow (pip install")
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
