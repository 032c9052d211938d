"""Event tables of `earmark predict`: a label file for each recording, and names for sed_eval."""

import csv
from pathlib import Path

import pytest
import soundfile

from earmark import cli
from tests.builders import bursts

LOW = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two recordings of one name, one with a quote, and one that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rec/east").mkdir(parents=True)
    for name in ("rec/a.wav", "rec/east/a.wav", 'rec/"b  c.wav'):
        soundfile.write(tmp_path / name, bursts()[: 8 * 44_100], 44_100)
    return tmp_path


def events(capsys, *words):
    """Run the command; return its exit code, its output and the lines on standard error."""
    code = cli.main(["predict", "--events", *LOW, *words])
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


def test_each_recording_gets_labels_of_its_own(folder, capsys):
    (folder / "rec/bad.wav").write_bytes(b"RIFF no audio at all")
    alone = events(capsys, "rec/a.wav", "--format", "audacity")[1]
    words = ("rec", "--format", "audacity", "--output_file", "labels/")
    code, out, lines = events(capsys, *words)
    assert (code, out) == (1, "")
    assert lines[0].startswith("unreadable: rec/bad.wav: ")
    assert lines[1] == "rec/east/a.wav: its labels are in labels/a-2.txt"
    names = sorted(path.name for path in (folder / "labels").iterdir())
    assert names == ['"b  c.txt', "a-2.txt", "a.txt"]  # none of what could not be read
    assert alone.count("\n") > 0
    for name in names:
        assert (folder / "labels" / name).read_text() == alone


def test_several_recordings_have_no_labels_in_one_place(folder, capsys):
    for words in ([], ["--output_file", "labels.txt"]):
        code, out, lines = events(capsys, "rec", "--format", "audacity", *words)
        assert (code, out, len(lines)) == (1, "", 1)
        assert "labels of Audacity name no recording, and 3 are given" in lines[0]
    assert not (folder / "labels.txt").exists()


def test_a_label_file_never_replaces_what_is_read(folder, capsys):
    (folder / "rec/a.wav").rename(folder / "rec/a.txt")
    before = (folder / "rec/a.txt").read_bytes()
    words = ("rec/a.txt", "rec/east/a.wav", "--format", "audacity", "--output_file")
    for output in ("rec", "rec/east/.."):
        code, _, lines = events(capsys, *words, output)
        assert (code, len(lines)) == (1, 1)
    (folder / "labels").symlink_to("rec")
    code, _, lines = events(capsys, *words, "labels")
    assert (code, len(lines)) == (1, 1)
    (folder / "other").mkdir()
    (folder / "other/a.txt").symlink_to("../rec/a.txt")
    code, _, lines = events(capsys, *words, "other")
    assert "would be replaced" in lines[0]
    assert (folder / "rec/a.txt").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "recording", "warned"),
    [
        ("events.csv", "rec/a.wav", False),
        ("events.CSV", "rec/a.wav", False),
        ("events.tsv", "rec/a.wav", False),
        ("events.tsv", "rec/é.wav", True),
        ("events.csv", "rec/é.wav", False),
        ("events.txt", "rec/a.wav", True),
        ("events.ann", "rec/a.wav", True),
        ("events", "rec/a.wav", True),
    ],
)
def test_a_table_that_sed_eval_will_not_open_is_said(folder, capsys, name, recording, warned):
    if not Path(recording).exists():
        Path("rec/a.wav").rename(recording)
    words = (recording, "--format", "dcase", "--output_file", name)
    code, _, lines = events(capsys, *words)
    assert code == 0
    stem = name.partition(".")[0]
    assert (
        lines
        == [
            f"warning: {name}: sed_eval opens this table only under a name that ends in .csv; for "
            f"sed_eval, rename it to {stem}.csv"
        ]
        * warned
    )


@pytest.mark.parametrize(("format", "column"), [("dcase", "filename"), ("raven", "Begin Path")])
def test_a_table_names_the_files_as_they_are_called(folder, capsys, format, column):
    code, _, _ = events(capsys, "rec", "--format", format, "--output_file", "events.csv")
    assert code == 0
    with Path("events.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    named = {row[column] for row in rows}
    assert named == {"rec/a.wav", "rec/east/a.wav", 'rec/"b  c.wav'}


@pytest.mark.parametrize("words", [["--format", "csv"], ["--events", *LOW], ["--format", "json"]])
def test_workers_change_nothing_but_the_time(folder, capsys, words):
    (folder / "rec/east/bad.wav").write_bytes(b"RIFF no audio at all")
    said = []
    for workers in ("1", "3", None):
        given = [] if workers is None else ["--workers", workers]
        assert cli.main(["predict", "rec", *words, *given]) == 1
        said.append(capsys.readouterr())
    assert said[0] == said[1] == said[2]
    assert "rec/east/bad.wav" in said[0].err
    assert said[0].out.count("\n") > 2
