"""Alerts that wait on disk: across kills, full disks and long waits."""

import errno
import json
import threading
from unittest import mock

import pytest

from earmark.alerts import outbox as module
from earmark.alerts.outbox import Outbox
from earmark.io.append import AppendedLines
from tests.alerts.builders import alert


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    made = []

    def open_again(**options):
        values = {"most": 100, "report": said.append, **options}
        made.append(Outbox(tmp_path / "box.jsonl", "phone", **values))
        return made[-1]

    yield open_again
    for one in made:
        one.close()


def waiting(box):
    """The ids that wait, in order; nothing is left."""
    found = []
    while entry := box.wait(0):
        found.append(entry.id)
        box.take_out(entry.id, "delivered")
    return found


def put(box, *numbers):
    for number in numbers:
        box.put(f"ab-{number}.1", alert(number))


def test_what_was_put_in_and_is_not_out_waits_after_a_kill(opened):
    first = opened()
    put(first, 0, 1, 2)
    first.take_out("ab-1.1", "delivered")
    second = opened()  # nothing was closed
    assert len(second) == 2
    assert second.wait(0).alert == alert(0)
    assert waiting(second) == ["ab-0.1", "ab-2.1"]
    assert waiting(opened()) == []


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_kill_within_a_line_costs_that_line_alone(opened, tmp_path, cut):
    box = opened()
    put(box, 0, 1)
    path = tmp_path / "box.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert waiting(opened()) == ["ab-0.1"] + ["ab-1.1"] * (cut == 1)


def test_one_name_is_put_in_once(opened):
    box = opened()
    put(box, 0, 0)
    assert waiting(box) == ["ab-0.1"]
    put(box, 0)
    assert waiting(box) == []
    again = opened()
    put(again, 0)
    assert waiting(again) == []


def test_the_oldest_go_when_too_many_wait_and_it_is_said_once(opened, said):
    box = opened(most=3)
    put(box, *range(10))
    assert said == ["phone: 3 alerts wait; the oldest are dropped"]
    assert len(opened(most=3)) == 3
    assert waiting(box) == ["ab-7.1", "ab-8.1", "ab-9.1"]
    assert said[1:] == ["phone: 7 alert(s) were dropped"]
    box.take_out("ab-0.1", "delivered")  # one that was under way when it was dropped


def test_waiting_ends_when_something_comes_or_all_is_out(opened):
    box = opened()
    assert box.wait_until_empty(0)
    threading.Timer(0.05, put, (box, 0)).start()
    assert box.wait(10).id == "ab-0.1"
    assert not box.wait_until_empty(0.01)
    threading.Timer(0.05, box.take_out, ("ab-0.1", "delivered")).start()
    assert box.wait_until_empty(10)


def test_the_file_is_written_anew_when_most_of_it_is_over(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COMPACT_BYTES", 5_000)
    box, path = opened(), tmp_path / "box.jsonl"
    put(box, 0)
    largest = 0
    for number in range(1, 200):
        put(box, number)
        box.take_out(f"ab-{number}.1", "delivered")
        largest = max(largest, path.stat().st_size)
    assert largest < 7_000
    assert waiting(opened()) == ["ab-0.1"]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once_and_nothing_is_lost_while_the_process_lives(
    opened, said, tmp_path
):
    box = opened()
    put(box, 0)
    with (
        mock.patch.object(AppendedLines, "append", full),
        mock.patch.object(module, "write_text", full),
    ):
        put(box, 1, 2)
        box.take_out("ab-0.1", "delivered")
    assert len(said) == 1
    assert "no space left on device" in said[0]
    put(box, 3)
    assert said[1:] == [f"{tmp_path / 'box.jsonl'}: can be written to again"]
    assert waiting(opened()) == ["ab-1.1", "ab-2.1", "ab-3.1"]  # as another process finds it
    assert waiting(box) == ["ab-1.1", "ab-2.1", "ab-3.1"]


def test_lines_that_say_nothing_known_are_passed_over(opened, tmp_path):
    lines = [{"put": 3}, {"put": "x"}, {"out": "y"}, {"other": 1}, {"put": "ab-0.1", "alert": {}}]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "box.jsonl").write_text(text, encoding="utf-8")
    assert waiting(opened()) == ["ab-0.1"]
