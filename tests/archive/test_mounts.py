"""Real disks that fill up and real mounts that vanish, in the middle of a run.

Skipped where mounting is not allowed; it takes root on Linux.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.archive.collect import Collector
from earmark.archive.plan import plan_manifest, plan_sources
from earmark.errors import ArchiveError
from tests.archive.conftest import InProcess
from tests.archive.test_run import rows, statuses, whole  # noqa: F401

SPARE = 120_000  # bytes of a disk that is nearly full


def run(*words):
    return subprocess.run(list(map(str, words)), capture_output=True, check=False).returncode == 0


@pytest.fixture
def mount():
    """Mount something on a folder; all is unmounted in the end."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting takes root on Linux")
    made = []

    def mount(folder, *words):
        folder.mkdir(exist_ok=True)
        if not run("mount", *words, folder):
            pytest.skip("mounting is not allowed here")
        made.append(folder)

    yield mount
    for folder in made:
        run("umount", "-l", folder)


def after(count, action):
    """An engine that does something once it has labelled so many files."""

    class Engine(InProcess):
        def wait(self, seconds):
            if len(self.labelled) == count:
                action()
            return super().wait(seconds)

    return Engine


@pytest.fixture(autouse=True)
def each_file_is_a_part(monkeypatch):
    monkeypatch.setattr(Collector, "due", property(lambda self: self.waiting > 0))


def test_a_disk_that_fills_up(label, recordings, tmp_path, mount, whole):  # noqa: F811
    disk = tmp_path / "disk"
    mount(disk, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    ballast, out = disk / "ballast", disk / "out"
    ballast.write_bytes(bytes((2 << 20) - SPARE))
    with pytest.raises(ArchiveError, match=r"cannot be written .No space left on device.; what"):
        label(recordings, out)
    done = len(statuses(out))
    assert 1 <= done < 8
    with pytest.raises(ArchiveError, match="No space left on device"):
        label(recordings, out)  # it is full still
    assert len(statuses(out)) >= done
    ballast.unlink()
    tally, _ = label(recordings, out)
    assert tally.done_before >= done
    assert rows(out) == whole
    names = [path.name for path in out.rglob("*") if path.is_file()]
    assert [name for name in names if name.startswith(".") and name != ".lock"] == []


@pytest.mark.parametrize("planned", ["folder", "manifest"])
def test_recordings_that_are_unmounted(label, recordings, tmp_path, mount, whole, planned):  # noqa: F811
    disk = tmp_path / "disk"
    recordings.rename(disk)
    mount(recordings, "--bind", disk)
    names = sorted(str(path) for path in recordings.rglob("*.*"))
    (tmp_path / "list.csv").write_text("\n".join(["path", *names]))

    def plan():
        if planned == "manifest":
            return plan_manifest(str(tmp_path / "list.csv"))
        return plan_sources([str(recordings)])

    vanishing = after(3, lambda: run("umount", "-l", recordings))
    with pytest.raises(ArchiveError, match="is gone, or is another folder than when the run began"):
        label(None, plan=plan(), engine=vanishing)
    assert list(recordings.iterdir()) == []
    assert len(statuses(tmp_path / "out")) == 3
    assert {status for status, _ in statuses(tmp_path / "out").values()} <= {"ok", "partial"}
    mount(recordings, "--bind", disk)
    tally, _ = label(None, plan=plan())
    assert tally.done_before == 3
    assert rows(tmp_path / "out") == whole


def test_an_archive_that_is_unmounted(label, recordings, tmp_path, mount, whole):  # noqa: F811
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    mount(out, "--bind", disk)
    with pytest.raises(ArchiveError, match="it is gone, or another folder than"):
        label(recordings, engine=after(3, lambda: run("umount", "-l", out)))
    assert list(Path(out).iterdir()) == []
    mount(out, "--bind", disk)
    tally, _ = label(recordings)
    assert 2 <= tally.done_before <= 3
    assert rows(out) == whole
