"""The command line as a whole: help, flags of earlier versions, odd terminals, interrupts."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from earmark import cli
from earmark.config import EventSettings, TrainingSettings
from tests.processes import ROOT, assert_one_line, call_here

COMMANDS = ("prepare", "train", "crossval", "evaluate", "predict", "stream", "export")


def test_version_and_help():
    assert call_here("earmark", "--version", cwd=ROOT).stdout.startswith("earmark ")
    for words in ([], *([command] for command in COMMANDS)):
        done = call_here("earmark", *words, "--help", cwd=ROOT)
        assert done.returncode == 0
        assert "example" in done.stdout, words


def test_no_command_and_an_unknown_one_are_one_line():
    assert_one_line(call_here("earmark", cwd=ROOT), "COMMAND")
    assert_one_line(call_here("earmark", "hear", cwd=ROOT), "invalid choice: 'hear'")


def earlier_flags():
    """Commands with a flag of an earlier version and what it is called now."""
    for command in ("train", "crossval"):
        for old, new in TrainingSettings.EARLIER_NAMES.items():
            yield ["earmark", command, "sounds"], old, new
    for old, new in TrainingSettings.EARLIER_NAMES.items():
        yield ["lstm_classifier_train.py"], old, new
    for words in (["predict", "a.wav"], ["stream"]):
        for old, new in EventSettings.EARLIER_NAMES.items():
            yield ["earmark", *words], old, new
    yield ["earmark", "stream", "-"], "rate_hz", "sample_rate"


def test_a_flag_of_an_earlier_version_is_refused_with_its_name_of_now(tmp_path):
    for words, old, new in earlier_flags():
        for given in (["--" + old, "1"], [f"--{old.replace('_', '-')}=1"]):
            done = call_here(*words, *given, cwd=tmp_path)
            assert_one_line(done, f"error: --{old} is now --{new}; see ")
            assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_flag_is_unknown_where_its_new_name_is():
    done = call_here("earmark", "predict", "a.wav", "--views", 3, cwd=ROOT)
    assert_one_line(done, "unrecognized arguments: --views 3")


def test_the_bundled_model_s_earlier_name_is_refused_unless_a_folder_has_it(own, tmp_path):
    words = ("earmark", "train", own / "sounds", "--init", "box")
    done = call_here(*words, cwd=tmp_path)
    assert_one_line(done, "--init box is now --init esc10")
    (tmp_path / "box").mkdir()
    assert_one_line(call_here(*words, cwd=tmp_path), "box: is no complete model directory")


def test_what_comes_after_two_dashes_is_no_flag(tmp_path):
    done = call_here("earmark", "predict", "--", "--views", cwd=tmp_path)
    assert done.returncode == 1
    assert "--views: no such file" in done.stderr


def test_names_that_the_terminal_cannot_show_stop_nothing(documented, documented_run, tmp_path):
    shutil.copy(documented / "sounds" / "b.wav", tmp_path / "犬.wav")
    if sys.platform == "linux":
        odd = os.fsencode(tmp_path) + b"/clip\xff.wav"
        shutil.copy(documented / "sounds" / "b.wav", odd)
    words = ("predict", "--model_dir", documented_run, tmp_path, "--format")
    for format in ("table", "csv", "json"):
        done = call_here("earmark", *words, format, cwd=tmp_path, encoding="cp1252")
        assert done.returncode == 0, done.stderr
        assert "clip" in done.stdout or sys.platform != "linux"


FAULTS = {
    "a full disk": (
        OSError(28, "No space left on device", "a.json"),
        "a.json: no space left on device; free space or choose another place",
    ),
    "a missing package": (
        ModuleNotFoundError("No module named 'torch'", name="torch"),
        "torch is not installed; install the rest with: pip install earmark[train]",
    ),
    "no memory": (MemoryError(), "not enough memory; use a smaller --batch_size"),
    "no memory of torch": (RuntimeError("out of memory"), "not enough memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_command_meets_is_one_line_with_its_remedy(monkeypatch, tmp_path, fault):
    error, message = FAULTS[fault]

    def meet(_):
        raise error

    monkeypatch.setattr("earmark.commands.predict.run", meet)
    done = call_here("earmark", "predict", "a.wav", cwd=tmp_path)
    assert done.returncode == 1
    assert_one_line(done, f"earmark: error: {message}")


def test_an_interrupt_has_the_exit_code_that_a_shell_expects(monkeypatch, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt(" after 2 s")

    monkeypatch.setattr("earmark.commands.predict.run", interrupt)
    done = call_here("earmark", "predict", "a.wav", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "earmark: interrupted after 2 s\n")


def test_a_fault_of_the_code_is_not_taken_for_one_of_the_input(monkeypatch, tmp_path):
    def fail(_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("earmark.commands.predict.run", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        call_here("earmark", "predict", "a.wav", cwd=tmp_path)
    assert Path.cwd() != tmp_path


def test_the_command_that_is_installed_is_this_one(monkeypatch):
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="earmark")
    monkeypatch.setattr(cli, "main", lambda: 7)
    assert entry.load()() == 7


def test_the_whole_job_on_real_recordings(esc10, tmp_path):
    """prepare, train, evaluate, predict: a short training on all of ESC-10."""
    done = call_here("earmark", "prepare", esc10, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 classes, 400 clips, 5 folds" in done.stdout
    assert "unreadable files: 0" in done.stdout
    assert len(list((tmp_path / "splits").glob("split_?.pkl"))) == 5
    flags = ("--num_epochs", 4, "--hidden_size", 32, "--num_layers", 1, "--learning_rate", 0.006)
    crops = ("--crops_per_clip", 2, "--clip_seconds", 2.5)
    done = call_here("lstm_classifier_train.py", *flags, *crops, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "models").iterdir())
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["test_clips"] == 80
    assert results["test_fold"] == "1"
    assert results["accuracy"] > 0.3  # chance is 0.1
    dog = sorted(esc10.glob("*Dog*/1-*.ogg"))[0]
    words = ("--model_dir", run, "--audio_file", dog)
    done = call_here("lstm_inference.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    clips = {Path(clip["path"]).name: clip for clip in results["clips"]}
    assert clips[dog.name]["prediction"] in done.stdout.splitlines()[0]
