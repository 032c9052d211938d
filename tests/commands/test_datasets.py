"""Reading a dataset as `prepare`, `train` and `crossval` do: what cannot be is one line."""

import argparse
import shutil

import pytest

from earmark.commands.datasets import hear, refuse_failures
from earmark.errors import EarmarkError, SettingsError
from tests.builders import FRONT_END, damage_sounds, write_sounds
from tests.processes import assert_one_line, call_here


def read(path, *, folds=None, allow_incomplete=False, seed=0, **options):
    flags = argparse.Namespace(folds=folds, esc10=False, allow_incomplete=allow_incomplete)
    return hear(str(path), flags, FRONT_END, seed, **options), flags


def test_classes_and_folds_are_those_of_the_folder(own):
    dataset, _ = read(own / "sounds", folds=3)
    assert dataset.classes == ("high", "low", "middle")
    assert len(dataset.fold_names) == 3


def test_folds_and_seeds_that_cannot_be_are_refused(own):
    with pytest.raises(SettingsError, match="--folds must be at least 2, got 1"):
        read(own / "sounds", folds=1)
    with pytest.raises(SettingsError, match="--seed must be at least 0, got -1"):
        read(own / "sounds", seed=-1)


def test_a_file_left_out_is_named_and_ends_the_command_unless_that_was_allowed(tmp_path, capsys):
    write_sounds(tmp_path)
    damage_sounds(tmp_path, "an unreadable file")
    dataset, flags = read(tmp_path, folds=3)
    assert "1.wav" in capsys.readouterr().err
    with pytest.raises(EarmarkError, match="1 of 30 files were left out; nothing was done; mend"):
        refuse_failures(dataset, flags, "nothing was done")
    flags.allow_incomplete = True
    refuse_failures(dataset, flags, "nothing was done")


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
