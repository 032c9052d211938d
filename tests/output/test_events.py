"""Events in the formats of other programs."""

import csv
import io
import json

import pytest

from earmark.output.events import FORMATS, TEXT, event_writer
from earmark.runtime.events import Event

BARK = Event("Dog, big", 1.25, 2.5, 0.91234, {"Dog, big": 0.8}, "a\tb/one.wav", "f" * 64)
RAIN = Event("Rain", 0.0, 61.0, 0.5, {"Rain": 0.5}, "two.wav", "f" * 64)


def lines(format):
    written: list[str] = []
    writer = event_writer(format, written.append, low_hz=20.0, high_hz=16_000.0)
    writer.open()
    writer.write(BARK)
    writer.next_file(10.0)
    writer.write(RAIN)
    writer.close(["three.wav: is empty"])
    return written


def test_raven_counts_on_over_files_and_keeps_the_time_within_each():
    rows = list(csv.DictReader(lines("raven"), delimiter="\t"))
    assert list(rows[0]) == [
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)"),
        *("High Freq (Hz)", "Label", "Score", "Begin Path", "File Offset (s)"),
    ]
    assert [row["Selection"] for row in rows] == ["1", "2"]
    assert [row["Begin Time (s)"] for row in rows] == ["1.250", "10.000"]
    assert [row["End Time (s)"] for row in rows] == ["2.500", "71.000"]
    assert [row["File Offset (s)"] for row in rows] == ["1.250", "0.000"]
    assert rows[0]["Begin Path"] == "a b/one.wav"
    assert rows[0]["High Freq (Hz)"] == "16000.0"


def test_audacity_takes_start_end_and_text():
    assert lines("audacity") == ["1.250000\t2.500000\tDog, big", "0.000000\t61.000000\tRain"]


def test_dcase_has_its_four_columns():
    header, first, _ = lines("dcase")
    assert header == "filename\tonset\toffset\tevent_label"
    assert first == "a b/one.wav\t1.250\t2.500\tDog, big"


def test_csv_quotes_what_it_must():
    rows = list(csv.reader(io.StringIO("\n".join(lines("csv")))))
    assert rows[0] == ["source", "onset", "offset", "label", "score"]
    assert rows[1] == ["a\tb/one.wav", "1.250", "2.500", "Dog, big", "0.9123"]


def test_json_lines_say_all():
    first = json.loads(lines("jsonl")[0])
    assert first == {
        **{"label": "Dog, big", "onset": 1.25, "offset": 2.5, "score": 0.9123},
        **{"top": {"Dog, big": 0.8}, "source": "a\tb/one.wav", "model": "f" * 64},
    }


def test_text_is_for_people():
    assert lines(TEXT)[0] == "     1.25 to      2.50 s  Dog, big  0.91"


@pytest.mark.parametrize("format", FORMATS)
def test_an_event_is_one_line_whatever_its_names(format):
    written: list[str] = []
    odd = Event("a\nb", 0, 1, 0.5, {"a\nb": 0.5}, "c\r\nd.wav")
    event_writer(format, written.append).write(odd)
    (line,) = written
    assert format == "csv" or len(line.splitlines()) == 1
