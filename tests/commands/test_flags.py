"""Flags that commands share: where splits are, which device, which settings were given."""

import argparse
import sys
from pathlib import Path

import pytest

from earmark.commands.flags import (
    accelerator_for,
    add_event_settings,
    add_other_settings,
    add_settings,
    choose_device,
    event_settings,
    given_settings,
    splits_folder,
)
from earmark.config import EventSettings
from earmark.errors import RunError


def test_the_folder_given_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splits").mkdir()
    assert splits_folder("else/where", tmp_path) == Path("else/where")


def test_splits_here_go_before_splits_beside_the_scripts(tmp_path, monkeypatch):
    here, beside = tmp_path / "here", tmp_path / "beside"
    (beside / "splits").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    assert splits_folder(None, beside) == beside / "splits"
    assert splits_folder(None, here) == Path("splits")
    assert splits_folder(None, None) == Path("splits")
    (here / "splits").mkdir()
    assert splits_folder(None, beside) == Path("splits")


def test_a_missing_gpu_is_said_and_the_cpu_is_taken(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device(False) == "cpu"
    assert capsys.readouterr().err == ""
    assert choose_device(True) == "cpu"
    assert "CUDA is not available; going on with the CPU" in capsys.readouterr().err
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device(True) == "cuda"


def test_cuda_without_torch_is_said(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_device(True) == "cpu"
    assert "pip install earmark[train]" in capsys.readouterr().err


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_settings(parser, ["batch_size"])
    add_other_settings(parser, ["batch_size"])
    add_event_settings(parser)
    return parser.parse_args([str(word) for word in words])


def test_only_settings_that_were_given_are_changed():
    args = parsed("--batch_size", 3, "--refit", "--convolutions", "[[4, 3, 3, 1, 1]]")
    changed = {"batch_size": 3, "refit": True, "convolutions": [[4, 3, 3, 1, 1]]}
    assert given_settings(args) == changed
    assert given_settings(parsed("--no_refit")) == {"refit": False}
    assert given_settings(parsed()) == {}


def test_events_have_the_settings_given_and_the_defaults_of_the_others():
    settings = event_settings(parsed("--off_ratio", 0.5))
    assert settings == EventSettings(off_ratio=0.5)


def test_a_precision_that_cannot_be_is_refused(monkeypatch):
    def refuse(**_):
        raise ValueError("fp16 needs a GPU")

    monkeypatch.setattr("accelerate.Accelerator", refuse)
    with pytest.raises(RunError, match="--precision fp16: fp16 needs a GPU"):
        accelerator_for(False, "fp16")
