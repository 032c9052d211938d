"""Files are written whole or not at all, and digests name their content."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.io import files


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_written_bytes_come_back_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "new" / "deep" / "data.bin"
    files.write_bytes(path, b"\x00\xff\r\n")
    assert path.read_bytes() == b"\x00\xff\r\n"
    assert names_in(path.parent) == ["data.bin"]


def test_text_is_utf8_and_line_ends_stay(tmp_path):
    files.write_text(tmp_path / "a.txt", "Füße\nπ\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "Füße\nπ\r\n".encode()


def test_json_that_is_nested_too_deep_is_none(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        files.read_json(tmp_path / "a.json")


def test_json_comes_back_and_ends_with_a_line_end(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": "Füße"}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Füße" in text
    assert text.endswith("}\n")


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")
    seen = []

    def write(file):
        file.write(b"new but")
        file.flush()
        seen.append(path.read_bytes())
        file.write(b" complete")

    files.write_whole(path, write)
    assert seen == [b"old"]
    assert path.read_bytes() == b"new but complete"


@pytest.mark.parametrize("error", [RuntimeError("bug"), OSError("disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_write_that_fails_leaves_everything_as_it_was(tmp_path, error, old):
    path = tmp_path / "data.bin"
    if old is not None:
        path.write_bytes(old)

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        files.write_whole(path, write)
    assert names_in(tmp_path) == ([] if old is None else ["data.bin"])
    assert old is None or path.read_bytes() == old


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    def write(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        files.write_whole(tmp_path / "data.bin", write)
    assert caught.value.filename == str(tmp_path / "data.bin")


def test_json_with_nan_is_refused_and_the_old_file_stays(tmp_path):
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "1\n"


def test_a_file_where_a_folder_is_needed_is_an_os_error(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OSError, match="taken"):
        files.write_bytes(tmp_path / "taken" / "data.bin", b"x")


def test_a_folder_in_the_file_s_place_is_an_os_error_and_no_part_is_left(tmp_path):
    (tmp_path / "data.bin" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"data\.bin"):
        files.write_bytes(tmp_path / "data.bin", b"x")
    assert names_in(tmp_path) == ["data.bin"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_permissions_are_those_that_open_would_have_given(tmp_path):
    files.write_bytes(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "theirs")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_of_a_file_is_sha256_of_its_bytes(tmp_path, size):
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "data").write_bytes(data[:size])
    assert files.sha256_of_file(tmp_path / "data") == hashlib.sha256(data[:size]).hexdigest()


def test_the_digest_of_json_ignores_key_order_but_no_value():
    digest = files.sha256_of_json({"a": 1, "b": {"c": [1, 2], "d": "ü"}})
    assert digest == files.sha256_of_json({"b": {"d": "ü", "c": [1, 2]}, "a": 1})
    assert digest != files.sha256_of_json({"a": 1, "b": {"c": [2, 1], "d": "ü"}})
    assert len(digest) == 64


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
def test_a_link_is_followed_and_a_device_is_written_to(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    device = Path("/dev/null")
    files.write_text(device, "gone")
    assert device.is_char_device()
    code = "from earmark.io.files import *; refuse_unwritable(p := Path('/dev/stdout'))"
    command = [sys.executable, "-c", f"{code}; write_text(p, 'through a pipe')"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"through a pipe"


def test_an_unwritable_place_is_found_before_the_work(tmp_path):
    files.refuse_unwritable(tmp_path / "fine.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "fine.json").write_text("kept")
    files.refuse_unwritable(tmp_path / "fine.json")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]
    files.refuse_unwritable(Path(os.devnull))
    with pytest.raises(IsADirectoryError):
        files.refuse_unwritable(tmp_path)
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "deep" / "below.json"
    for refused in (files.refuse_unwritable, lambda path: files.write_text(path, "never")):
        with pytest.raises(NotADirectoryError, match="a folder is needed") as caught:
            refused(below)
        assert caught.value.filename == str(tmp_path / "file")
    files.refuse_unwritable(tmp_path / "new" / "deep" / "fine.json")
    assert not (tmp_path / "new").exists()
