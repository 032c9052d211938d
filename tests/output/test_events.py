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


# What files and classes are called, and what the readers of tables make of it.
NAMES = (
    '"a.wav',
    '"b.wav',
    'one "two" three.wav',
    'end".wav',
    '"whole".wav',
    "Baker's pond.wav",
    "#1.wav",
    "card #2.wav",
    "Site 1  2024.wav",
    " before and after ",
    "Dog, big; brown",
    "C:\\cards\\a.wav",
    "F\u00fc\u00dfe \u03c0 \u72ac.wav",
)
BREAKS = ("a\tb.wav", "a\nb.wav", "a\rb.wav", "a\r\nb.wav", "a\u2028b.wav")
TABLES = {"csv": ",", "dcase": "\t", "raven": "\t"}
COLUMNS = {
    "csv": ("source", "label"),
    "dcase": ("filename", "event_label"),
    "raven": ("Begin Path", "Label"),
}


def table(format, names):
    """A table of events whose files and classes have these names."""
    written: list[str] = []
    writer = event_writer(format, written.append)
    writer.open()
    for name in names:
        writer.write(Event(name, 0.5, 1.5, 0.9, {name: 0.9}, name, "f" * 64))
    writer.close()
    return "".join(line + "\n" for line in written)


@pytest.mark.parametrize("format", TABLES)
def test_names_come_back_from_every_table_as_they_are(format):
    text = table(format, NAMES)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=TABLES[format]))
    for column in COLUMNS[format]:
        assert [row[column] for row in rows] == list(NAMES)
    assert text.count("\n") == len(NAMES) + 1


@pytest.mark.parametrize("format", TABLES)
def test_pandas_reads_the_same(format):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.StringIO(table(format, NAMES)), sep=TABLES[format])
    for column in COLUMNS[format]:
        assert frame[column].tolist() == list(NAMES)


def fields_of_r(line, separator, quotes, comment):
    """The fields of a line as R's scan takes them: quotes count in the middle of a field too."""
    fields: list[str] = []
    field, quote, place = "", "", 0
    while place < len(line):
        here = line[place]
        if quote:
            if here != quote:
                field += here
            elif line[place + 1 : place + 2] == quote:
                field, place = field + quote, place + 1
            else:
                quote = ""
        elif here == comment:
            break
        elif here in quotes:
            quote = here
        elif here == separator:
            fields, field = [*fields, field], ""
        else:
            field += here
        place += 1
    return None if quote else [*fields, field]


@pytest.mark.parametrize(
    ("format", "quotes", "comment"),
    [
        ("raven", '"', ""),  # read.delim, read_tsv
        ("dcase", '"', ""),
        ("csv", '"', ""),  # read.csv, read_csv
        ("dcase", "\"'", "#"),  # read.table
        ("csv", "\"'", "#"),
    ],
)
def test_readers_of_r_find_the_same_fields(format, quotes, comment):
    lines = table(format, NAMES).splitlines()
    header, *rows = [fields_of_r(line, TABLES[format], quotes, comment or None) for line in lines]
    for column in COLUMNS[format]:
        assert [row[header.index(column)] for row in rows] == list(NAMES)


@pytest.mark.parametrize("format", ["dcase", "raven", "audacity", TEXT])
def test_of_tabs_and_line_breaks_a_blank_is_left(format):
    lines = table(format, BREAKS).splitlines()
    assert len(lines) == len(BREAKS) + (format in TABLES)
    assert all("a b.wav" in line for line in lines[-len(BREAKS) :])
    if format in TABLES:
        assert {line.count("\t") for line in lines} == {lines[0].count("\t")}


def test_csv_keeps_tabs_and_line_breaks_in_quotes():
    rows = list(csv.DictReader(io.StringIO(table("csv", BREAKS), newline="")))
    assert [row["source"] for row in rows] == list(BREAKS)


def test_only_a_name_with_a_quote_is_quoted_for_raven():
    _, *rows = table("raven", NAMES).splitlines()
    quoted = {row.split("\t")[9].strip('"').replace('""', '"') for row in rows if '"' in row}
    assert quoted == {name.strip('"') for name in NAMES if '"' in name}


def test_audacity_has_labels_as_they_are():
    rows = [line.split("\t") for line in table("audacity", NAMES).splitlines()]
    assert rows == [["0.500000", "1.500000", name] for name in NAMES]


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
