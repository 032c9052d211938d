"""Folders and manifests -> units."""

import datetime
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earmark.archive.plan import plan_manifest, plan_sources
from earmark.errors import ArchiveError


@pytest.fixture
def manifest(tmp_path, tone):
    """Write a manifest in CSV or Parquet."""
    tone("sounds/a.wav")
    tone("b.wav")

    def write(columns, name="list.csv"):
        path = tmp_path / name
        if name.endswith(".parquet"):
            pq.write_table(pa.table(columns), path)
        else:
            rows = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
            path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_manifest_names_files_from_its_own_folder(manifest, tmp_path, name):
    columns = {
        "path": ["sounds/a.wav", str(tmp_path / "b.wav"), "sounds/a.wav", "gone.wav"],
        "site": ["north", "", "", ""],
        "start": ["2024-01-31T05:45:00+01:00", "", "", ""],
    }
    units = plan_manifest(manifest(columns, name)).units
    assert [os.path.relpath(unit.address, tmp_path) for unit in units] == [
        str(Path("sounds") / "a.wav"),
        "b.wav",
        "gone.wav",
    ]
    assert units[0].site == "north"
    assert str(units[0].start) == "2024-01-31 05:45:00+01:00"
    assert [unit.size > 0 for unit in units] == [True, True, False]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"file": ["a.wav"]}, "lacks the column path, its columns are file"),
        ({"path": [""], "site": ["x"]}, "row 2 has no path"),
        ({"path": ["a.wav"], "start": ["yesterday"]}, "row 2 has the start 'yesterday'"),
        ({"path": []}, "names no files"),
    ],
)
def test_a_manifest_that_cannot_be_used(manifest, columns, said):
    with pytest.raises(ArchiveError, match=said):
        plan_manifest(manifest(columns))


def test_a_manifest_that_is_damaged_or_missing(manifest, tmp_path):
    path = manifest({"path": ["a.wav"] * 99}, "list.parquet")
    data = (tmp_path / "list.parquet").read_bytes()
    (tmp_path / "list.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match="is no whole Parquet file"):
        plan_manifest(path)
    with pytest.raises(ArchiveError, match="cannot be read"):
        plan_manifest(str(tmp_path / "none.csv"))


def test_a_store_whose_package_is_missing(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def missing(*_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "open", missing)
    with pytest.raises(ArchiveError, match=r"m\.csv: cannot be reached .Install s3fs"):
        plan_manifest("s3://bucket/m.csv")


def test_times_and_row_numbers_of_parquet(manifest):
    times = pa.array([1_706_679_900_000_000_001], pa.timestamp("ns", "UTC"))
    (unit,) = plan_manifest(manifest({"path": ["b.wav"], "start": times}, "a.parquet")).units
    assert unit.start == datetime.datetime(2024, 1, 31, 5, 45, tzinfo=datetime.timezone.utc)
    with pytest.raises(ArchiveError, match="row 2 has no path"):
        plan_manifest(manifest({"path": ["b.wav", ""]}, "b.parquet"))


def test_addresses_of_fsspec(manifest, tmp_path):
    pytest.importorskip("fsspec")
    address = f"file://{tmp_path}/sounds/a.wav"
    (unit,) = plan_manifest(manifest({"path": [address]})).units
    assert unit.remote
    assert (unit.size, unit.address) == ((tmp_path / "sounds" / "a.wav").stat().st_size, address)


def test_a_change_makes_another_fingerprint(tone, tmp_path):
    path = tone("a.wav")
    (before,) = plan_sources([str(tmp_path)]).units
    os.utime(path, ns=(1, 1))
    (after,) = plan_sources([str(tmp_path)]).units
    assert before.fingerprint != after.fingerprint
    assert before.address == after.address == str(path)


def test_a_folder_that_is_another_one_now_has_vanished(tone, tmp_path):
    tone("disk/a.wav")
    plan = plan_sources([str(tmp_path / "disk")])
    assert plan.vanished(plan.units[0]) == ""
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    assert plan.vanished(plan.units[0]) == str(tmp_path / "disk")
    (tmp_path / "disk").mkdir()  # where the disk was mounted
    assert plan.vanished(plan.units[0]) == str(tmp_path / "disk")


def test_nothing_at_all_is_a_fault(tmp_path):
    with pytest.raises(ArchiveError, match="holds no audio files"):
        plan_sources([str(tmp_path)])
