"""`earmark label` and `earmark results` as a user calls them, with workers that are processes."""

import csv
import dataclasses
import io
import json
import os
import signal
import sys
import time

import numpy as np
import pytest
import soundfile

from earmark.archive import query
from earmark.archive.driver import Tally
from earmark.archive.query import Questions
from earmark.archive.store import Archive, Writing
from earmark.commands.label import _Show
from earmark.io.files import write_json
from tests.processes import assert_one_line, call_here, start
from tests.runtime.builders import SETTINGS

SETTING_WORDS = [
    word
    for name in (
        *("window_seconds", "smoothing_seconds", "off_ratio"),
        *("min_duration_seconds", "merge_gap_seconds"),
    )
    for word in (f"--{name}", str(getattr(SETTINGS, name)))
]


def rows(out):
    archive = Archive(out)
    question = "SELECT path, label, onset_seconds, score FROM events ORDER BY ALL"
    return list(Questions(archive, archive.sets).sql(question).rows)


@pytest.fixture
def archive(label, recordings, tmp_path):
    """An archive of the recordings, made in this process."""
    label(recordings)
    return tmp_path / "out"


def words(recordings, model, out):
    return ("label", recordings, "--model_dir", model, "--out", out, *SETTING_WORDS)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_called_again_the_rows_are_the_same(archive, recordings, model, tmp_path):
    command = words(recordings, model, "two")
    process = start("earmark", *command, "--workers", "2", cwd=tmp_path)
    while not list(tmp_path.glob("two/runs/*.json")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = call_here("earmark", *command, "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 files" in done.stderr
    assert "truncated: 1" in done.stderr
    assert rows(tmp_path / "two") == rows(archive)
    said = call_here("earmark", "label", "--out", "two", "--history", cwd=tmp_path).stdout
    assert "killed, or still going on" in said
    assert "finished: 8 of 8 files, 2 with faults" in said
    two = Archive(tmp_path / "two")
    (results,) = two.sets
    for run in two.runs:
        assert f"  run {run['run']}, set {results.name}\n" in said


def test_a_second_run_is_refused_before_it_walks_the_recordings(model, tmp_path):
    command = words("nowhere", model, "out")
    with Writing(tmp_path / "out"):
        assert_one_line(call_here("earmark", *command, cwd=tmp_path), "give another --out")
    assert_one_line(call_here("earmark", *command, cwd=tmp_path), "nowhere: no such file")


def test_a_run_without_recordings_leaves_no_archive(model, tmp_path):
    (tmp_path / "empty").mkdir()
    for out in ("new", "empty"):
        done = call_here("earmark", *words("nowhere", model, out), cwd=tmp_path)
        assert_one_line(done, "nowhere: no such file")
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "cause"), [(("--memory_mb", 1), "memory"), (("--hang_seconds", 1e-6), "hang")]
)
def test_a_worker_beyond_its_limits_is_ended_and_its_file_a_row(model, tmp_path, limit, cause):
    (tmp_path / "long").mkdir()  # so long that it is not done before the limits are looked at
    samples = 0.1 * np.random.default_rng(0).standard_normal(900 * 8_000)
    soundfile.write(tmp_path / "long" / "y.wav", samples, 8_000)
    command = words(tmp_path / "long", model, "out")
    done = call_here("earmark", *command, *limit, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 1
    assert "all 1 files failed" in done.stderr.splitlines()[-1]
    done = call_here("earmark", "results", "out", "--failures", cwd=tmp_path)
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert (row["cause"], row["status"]) == (cause, "failed")
    assert "was given up" in row["error"]


def test_a_corrected_time_zone_is_not_passed_over(archive, recordings, model, tmp_path):
    command = words(recordings, model, archive)
    said = "times and sites of 1 done files stay as they were"
    for zone, expected in (("UTC", False), ("+01:00", True)):
        done = call_here("earmark", *command, "--time_zone", zone, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (said in done.stderr) == expected


def test_new_files_that_all_fail_are_no_fault_of_an_archive(archive, recordings, model, tmp_path):
    (recordings / "later.wav").touch()
    command = words(recordings, model, archive)
    done = call_here("earmark", *command, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 files, 0.00 h, 0 events, 1 with faults" in done.stderr


def test_what_is_not_there_is_refused_before_anything_is_written(model, tmp_path):
    done = call_here("earmark", *words("recordins", model, "out"), cwd=tmp_path)
    assert_one_line(done, "recordins: no such file or folder")
    assert not (tmp_path / "out").exists()


def test_the_line_of_progress_is_ended(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(time, "monotonic", iter(range(0, 100, 5)).__next__)
    show = _Show(3)
    show(Tally(begun=0.0, finished=2))
    assert terminal.getvalue().endswith("left")
    show.end()
    show.end()
    assert terminal.getvalue().endswith("left\n")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "not both or neither"),
        (["sounds", "--manifest", "a.csv"], "not both or neither"),
        (["sounds", "--ray_address", "auto"], "needs --engine ray"),
        (["sounds", "--workers", "0"], "--workers must be at least 1"),
        (["sounds", "--time_zone", "Nowhere"], "'Nowhere' is no time zone"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(more, said, tmp_path):
    done = call_here("earmark", "label", *more, "--out", "out", cwd=tmp_path)
    assert_one_line(done, said)


def test_results_as_tables(archive, recordings, tmp_path):
    def said(*more):
        done = call_here("earmark", "results", archive, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    expected = rows(archive)
    table = list(csv.DictReader(said()))
    assert sorted((row["path"], row["label"]) for row in table) == [row[:2] for row in expected]
    objects = [json.loads(line) for line in said("--format", "jsonl")]
    assert sorted(row["score"] for row in objects) == sorted(row[3] for row in expected)
    chosen = said("--query", "label = 'dog' and score > 0.5", "--format", "dcase")
    assert len(chosen) - 1 == sum(row[1] == "dog" and row[3] > 0.5 for row in expected) > 0
    selections = list(csv.DictReader(said("--format", "raven"), delimiter="\t"))
    begins = [float(row["Begin Time (s)"]) for row in selections]
    assert len(selections) == len(expected)
    assert max(begins) > 12  # time counts on from file to file
    files = {row[0] for row in expected}
    said("--format", "audacity", "--per_file", "--output_file", "labels")
    assert len(list((tmp_path / "labels").glob("*.txt"))) == len(files)
    assert said("--sql", "SELECT count(*) AS n FROM events") == ["n", str(len(expected))]
    assert said("--list")[0].startswith("moving-")


def test_a_table_per_file_of_several_sets_loses_no_event(archive, label, recordings, tmp_path):
    label(recordings, settings=dataclasses.replace(SETTINGS, off_ratio=0.5))
    words = ("--set", "all", "--per_file", "--output_file", "tables")
    done = call_here("earmark", "results", archive, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = [path.read_text().splitlines()[1:] for path in tmp_path.glob("tables/*/*.csv")]
    assert sum(map(len, written)) == len(rows(archive)) > 20


def test_a_set_without_files_does_not_hide_the_others(archive, tmp_path):
    whole = call_here("earmark", "results", archive, cwd=tmp_path)
    (full,) = Archive(archive).sets
    empty = {**full.record, "set": "other", "settings": "other"}
    run = {"run": "9", "set": "other", "started": "9999-01-01T00:00:00+0000"}
    for path, about in (("results/other/set.json", empty), ("runs/9.json", run)):
        write_json(archive / path, about)
    done = call_here("earmark", "results", archive, cwd=tmp_path)
    assert done.stdout == whole.stdout
    assert f"shown is set {full.name}, 1 of 2" in done.stderr
    listed = call_here("earmark", "results", archive, "--list", cwd=tmp_path).stdout
    assert "run 9999-01-01" in listed
    assert f"off_ratio {SETTINGS.off_ratio}" in listed


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_table_per_file_has_the_lines_of_the_whole(archive, tmp_path, format):
    words = ("results", archive, "--format", format)
    whole = call_here("earmark", *words, cwd=tmp_path).stdout.splitlines()
    call_here("earmark", *words, "--per_file", "--output_file", "tables", cwd=tmp_path)
    lines = {line for path in tmp_path.glob("tables/*") for line in path.read_text().splitlines()}
    assert lines == set(whole)
    call_here("earmark", *words, "--output_file", "one", cwd=tmp_path)
    assert (tmp_path / "one").read_text().splitlines() == whole


@pytest.mark.parametrize("format", ["raven", "dcase"])
def test_more_files_than_are_read_at_a_time(archive, tmp_path, monkeypatch, format):
    words = ("results", archive, "--format", format)
    whole = call_here("earmark", *words, cwd=tmp_path).stdout
    monkeypatch.setattr(query, "_ROWS", 2)
    assert call_here("earmark", *words, cwd=tmp_path).stdout == whole
    assert whole.count("\n") > 10


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--sql", "SELECT * FROM read_text('/etc/passwd')"], "no other file"),
        (["--sql", "COPY (SELECT 1) TO 'x.csv'"], "takes one SELECT"),
        (["--sql", "SELECT 1; SELECT 2"], "takes one SELECT"),
        (["--sql", "SET enable_external_access = true"], "takes one SELECT"),
        (["--sql", "SELECT * FROM '/etc/passwd'"], "not valid"),
        (["--sql", ""], "takes one SELECT"),
        (["--sql", "SELECT * FROM scores"], "label --scores"),
        (["--query", 'label = "dog"'], "texts stand in single quotes"),
        (["--query", "nothing > 1"], "not valid"),
        (["--query", "true; SELECT 1"], "one condition"),
        (["--set", "x"], "is no set"),
        (["--sql", "SELECT 1", "--failures"], "two things"),
        (["--per_file"], "needs --output_file"),
        (["--set", "all", "--summary", "x.html"], "give one --set"),
        (["--set", "all", "--format", "raven"], "give one --set"),
        (["--format", "audacity"], "name no recording"),
    ],
)
def test_questions_that_are_refused(archive, tmp_path, more, said):
    done = call_here("earmark", "results", archive, *more, cwd=tmp_path)
    assert_one_line(done, said)
    assert not done.stdout
    assert not (tmp_path / "x.csv").exists()


def test_a_folder_that_is_no_archive(tmp_path):
    assert_one_line(call_here("earmark", "results", tmp_path, cwd=tmp_path), "is no archive")
