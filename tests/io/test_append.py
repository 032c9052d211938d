"""Lines that are added whole: torn ends are repaired, a full disk leaves the file as it was."""

import errno
import json
import os

import pytest

from earmark.io.append import AppendedLines, read_objects


def test_lines_are_added_and_read_again(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    for number in range(2):
        lines = AppendedLines(path, sync=bool(number))
        lines.append({"number": number, "name": "Türklingel \udcff"})
        lines.close()
    assert [line["number"] for line in read_objects(path)] == [0, 1]
    assert lines.length == path.stat().st_size


@pytest.mark.parametrize("cut", range(1, 18))
def test_a_torn_last_line_is_taken_away_at_the_start(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    whole = '{"number": 0}\n'
    path.write_text(whole + '{"number": 1234}\n'[:cut], encoding="utf-8")
    lines = AppendedLines(path)
    assert lines.repaired == (cut if cut < 16 else 0)
    lines.append({"number": 2})
    lines.close()
    kept = [0, 2] if cut < 16 else [0, 1234, 2]  # but for the end of the line, it was whole
    assert [line["number"] for line in read_objects(path)] == kept
    assert path.read_bytes().count(b"\n") == len(kept)


def test_a_torn_line_may_be_long_and_what_a_loss_of_power_leaves(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"number": 0}\n' + b'{"text": "' + b"x" * 200_000 + bytes(500))
    lines = AppendedLines(path)
    assert path.read_bytes() == b'{"number": 0}\n'
    lines.close()


class FullDisk:
    """Stands for a file on a disk that has room for a few more bytes."""

    def __init__(self, file, room, truncate=None):
        self.file, self.room = file, room
        self.truncate = truncate or file.truncate

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_leaves_no_torn_line_and_later_lines_follow(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    lines = AppendedLines(path)
    lines.append({"number": 0})
    file = lines._file
    monkeypatch.setattr(lines, "_file", FullDisk(file, room=5))
    with pytest.raises(OSError, match="No space") as caught:
        lines.append({"number": 1})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b'{"number": 0}\n'
    monkeypatch.setattr(lines, "_file", file)
    lines.append({"number": 2})
    assert [line["number"] for line in read_objects(path)] == [0, 2]
    lines.close()


def test_what_cannot_be_cut_at_once_is_cut_before_the_next_line(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    lines = AppendedLines(path)
    file = lines._file
    gone = FullDisk(file, room=5, truncate=lambda length: os.truncate(path / "gone", length))
    monkeypatch.setattr(lines, "_file", gone)
    with pytest.raises(OSError, match="No space"):
        lines.append({"number": 1})
    assert path.read_bytes() == b'{"num'
    monkeypatch.setattr(lines, "_file", file)
    lines.append({"number": 2})
    assert path.read_bytes() == b'{"number": 2}\n'
    lines.close()


def test_lines_that_are_no_objects_are_passed_over(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'[1]\n\xff\xfe\n{"a": 1}\n\n{"a": 2}')
    assert list(read_objects(path)) == [{"a": 1}]
    assert json.loads(path.read_bytes().splitlines()[-1]) == {"a": 2}  # being written still
