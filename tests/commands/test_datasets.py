"""Reading a dataset as `prepare`, `train` and `crossval` do: what cannot be is one line."""

import shutil

import pytest

from tests.builders import damage_sounds, write_sounds
from tests.processes import assert_one_line, call_here


@pytest.mark.parametrize("command", ["prepare", "train", "crossval"])
def test_folds_that_cannot_be_are_refused(own, tmp_path, command):
    done = call_here("earmark", command, own / "sounds", "--folds", 1, cwd=tmp_path)
    assert_one_line(done, "--folds must be at least 2, got 1")
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_cannot_be_is_refused(own, tmp_path):
    done = call_here("earmark", "prepare", own / "sounds", "--seed", -1, cwd=tmp_path)
    assert_one_line(done, "--seed must be at least 0, got -1")


@pytest.mark.parametrize(
    ("command", "what"),
    [("train", "nothing was trained"), ("prepare", "the splits hold the others")],
)
def test_a_file_left_out_is_named_and_what_was_done_is_said(tmp_path, command, what):
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", "an unreadable file")
    done = call_here("earmark", command, "sounds", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    named, fault = (line for line in said if not line.startswith("warning: "))
    assert "low/1.wav" in named
    assert f"1 of 30 files were left out; {what}; mend the files, or accept this with" in fault


FAULTS = {
    "one class": ("has one class", "needs two"),
    "few clips": ("'low' has 3 source recordings", "--folds 3"),
    "labels alike": ("differ only in case or space",),
    "same audio twice": ("are the same audio",),
}


@pytest.mark.parametrize("command", ["train", "crossval"])
@pytest.mark.parametrize("what", FAULTS)
def test_a_dataset_that_cannot_be_is_one_line(tmp_path, command, what):
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", what)
    done = call_here("earmark", command, "sounds", cwd=tmp_path)
    assert_one_line(done, *FAULTS[what])
    assert not (tmp_path / "models").exists()


OUTPUTS = {
    "prepare": ["--out", "file/splits"],
    "train": ["--output_dir", "file"],
    "crossval": ["--runs", "file/runs"],
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_an_output_below_a_file_is_said_before_anything_is_read(tmp_path, command):
    (tmp_path / "file").touch()
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", "an unreadable file")  # named as soon as it is read
    done = call_here("earmark", command, "sounds", *OUTPUTS[command], cwd=tmp_path)
    assert_one_line(done, "file: is a file where a folder is needed; choose another place")


def test_an_incomplete_known_dataset_is_a_loud_error(esc10, tmp_path):
    for name in ("001 - Dog bark", "002 - Rain"):
        shutil.copytree(esc10 / name, tmp_path / "ESC-10" / name)
    done = call_here("earmark", "prepare", "ESC-10", cwd=tmp_path)
    assert_one_line(done, "80 of the 400 clips", "--allow_incomplete")
    assert not (tmp_path / "splits").exists()
    done = call_here("earmark", "prepare", "ESC-10", "--allow_incomplete", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "splits").glob("split_?.pkl"))) == 5
