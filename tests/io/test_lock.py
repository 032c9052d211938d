"""A folder that one process holds."""

import os
import subprocess
import sys

import pytest

from earmark.errors import StorageError
from earmark.io.lock import FolderLock

HOLD = """
import sys, pathlib
from earmark.io.lock import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]), "wait")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process_until_it_is_gone(tmp_path):
    folder = tmp_path / "new" / "folder"
    words = [sys.executable, "-c", HOLD, str(folder)]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StorageError) as caught:
            FolderLock(folder, "take another")
        assert str(folder) in str(caught.value)
        assert f"process {other.pid}" in str(caught.value)
        assert "take another" in str(caught.value)
    finally:
        other.kill()
        other.communicate()
    lock = FolderLock(folder, "wait")  # a kill lets go of it
    assert f"process {os.getpid()}" in (folder / ".lock").read_text(encoding="utf-8")
    lock.release()
    FolderLock(folder, "wait").release()
