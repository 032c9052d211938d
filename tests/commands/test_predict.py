"""`earmark predict`: files, folders and globs; tables, CSV and JSON; events; bad files."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.builders import bursts
from tests.processes import assert_one_line, call_here

LOW = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    soundfile.write(path, bursts(), 44_100)
    return path


@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_files_folders_and_globs_are_taken(documented, documented_run, format):
    for given in (["sounds/a.WAV", "sounds/b.wav"], ["sounds"], ["sounds/*"]):
        words = ("predict", "--model_dir", documented_run, "--format", format, *given)
        done = call_here("earmark", *words, cwd=documented)
        assert done.returncode == 0, done.stderr
        if format == "json":
            document = json.loads(done.stdout)
            assert len(document["predictions"]) == 2
            assert document["failures"] == []
        elif format == "csv":
            rows = list(csv.DictReader(done.stdout.splitlines()))
            assert sorted(Path(row["path"]).name for row in rows) == ["a.WAV", "b.wav"]
            assert {"dog", "rain", "rooster"} <= set(rows[0])
        else:
            assert len(done.stdout.splitlines()) == 2


def test_a_glob_may_match_folders_and_hidden_files_are_skipped(
    documented, documented_run, tmp_path
):
    shutil.copytree(documented / "sounds", tmp_path / "group")
    shutil.copy(documented / "sounds" / "b.wav", tmp_path / "group" / "._b.wav")
    done = call_here("earmark", "predict", "--model_dir", documented_run, "g*", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_the_others_are_finished_when_a_file_is_bad(documented, documented_run, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio at all")
    words = ("predict", "--model_dir", documented_run, "sounds/b.wav", bad, tmp_path / "none.wav")
    done = call_here("earmark", *words, "sounds", "--format", "json", cwd=documented)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert [Path(item["path"]).name for item in document["predictions"]] == ["b.wav", "a.WAV"]
    assert len(document["failures"]) == 2
    assert "2 of 4 files" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_model_names_its_sounds_and_rejects_silence(own, own_run, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)
    words = ("predict", "--model_dir", own_run, own / "sounds" / "low" / "1.wav")
    done = call_here("earmark", *words, tmp_path / "silence.wav", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    low, silence = json.loads(done.stdout)["predictions"]
    assert low["most_likely"] == "low"
    assert silence["prediction"] == "none of these"
    words = ("predict", "--model_dir", own_run, tmp_path / "silence.wav")
    done = call_here("earmark", *words, "--output_file", "out.txt", cwd=tmp_path)
    assert done.stdout == ""
    assert "none of these  (" in (tmp_path / "out.txt").read_text()


def test_a_threshold_for_all_classes_takes_the_place_of_the_models(tmp_path, esc10):
    clip = sorted((esc10 / "001 - Dog bark").glob("1-*.ogg"))[0]
    loose = call_here("earmark", "predict", "--threshold", "0.1", clip, cwd=tmp_path)
    strict = call_here("earmark", "predict", "--threshold", "0.9999", clip, cwd=tmp_path)
    assert (loose.returncode, strict.returncode) == (0, 0), loose.stderr + strict.stderr
    assert "none of these" not in loose.stdout
    assert "none of these" in strict.stdout


@pytest.mark.parametrize("format", ["raven", "audacity", "csv", "dcase"])
def test_events_are_written_in_every_format_whole_or_not_at_all(wav, tmp_path, format):
    out = tmp_path / "events.txt"
    words = ("predict", "--events", wav, "--format", format, "--output_file", out, *LOW)
    done = call_here("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) > (format != "audacity")


def test_of_a_truncated_file_the_events_so_far_are_kept_and_the_fault_is_named(wav, tmp_path):
    whole = call_here("earmark", "predict", "--events", wav, *LOW, cwd=tmp_path)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[: 10 * 88_200])
    done = call_here("earmark", "predict", "--events", cut, *LOW, cwd=tmp_path)
    assert done.returncode == 1
    assert "truncated" in done.stderr
    first = json.loads(done.stdout.splitlines()[0])
    assert first["onset"] == json.loads(whole.stdout.splitlines()[0])["onset"]
    streamed = call_here("earmark", "stream", "--file", cut, "--jsonl", *LOW, cwd=tmp_path)
    assert streamed.returncode == 1
    assert streamed.stdout == done.stdout
    assert "truncated" in streamed.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--events", "--format", "table"], "--events cannot be written as table"),
        (["--format", "raven"], "--format raven needs --events"),
        (["--merge_gap_seconds", "2"], "--merge_gap_seconds needs --events"),
        (["--threshold", "0.5", "--off_ratio", "0.8"], "--off_ratio needs --events"),
        (["--threshold", "1"], "threshold must be at least 0 and below 1"),
        (["--top", "0"], "--top must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--model_dir", "nowhere"], "no such model directory"),
    ],
)
def test_wrong_flags_are_one_line(wav, words, part):
    assert_one_line(call_here("earmark", "predict", wav, *words, cwd=wav.parent), part)


def test_what_is_no_model_of_ours_is_one_line(tmp_path):
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, said in (
        ("noise.onnx", "cannot run it"),
        ("empty.onnx", "cannot run it"),
        ("none.onnx", "No such file"),
    ):
        done = call_here("earmark", "predict", "--model_dir", name, "a.wav", cwd=tmp_path)
        assert_one_line(done, name, said)
