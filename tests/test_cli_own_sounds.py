"""Own sounds from folder to model: train, crossval, init, and every dataset that cannot be."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from earmark.model_directory import load_model
from tests.processes import assert_one_line, call, call_here

RECIPE = """
[front_end]
sample_rate = 8000
n_fft = 256
hop_length = 160
mels = 16
high_hz = 4000.0

[training]
num_epochs = 12
crops = 4
batch_size = 8
learning_rate = 0.02
dropout = 0.1
hidden_size = 12
num_layers = 1
stack = 1
delta = 0
convolutions = [[6, 3, 3, 2, 2]]
clip_seconds = 0.5
average = 0.9
mel_mask = 2
negatives = 0.1
"""
HZ = {"high": 2400.0, "low": 300.0, "middle": 900.0}


def write_sounds(folder, clips=10, seconds=0.4):
    """One folder per class; a class is a pitch, with noise."""
    for label, hz in HZ.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(clips):
            rng = np.random.default_rng((number, round(hz)))
            time_s = np.arange(round(seconds * 8_000)) / 8_000
            tone = np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
            sound = 0.3 * tone + 0.05 * rng.standard_normal(len(time_s))
            soundfile.write(folder / label / f"{number}.wav", sound, 8_000)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with sounds, a recipe and a model trained on all of them."""
    folder = tmp_path_factory.mktemp("own")
    write_sounds(folder / "sounds")
    (folder / "small.toml").write_text(RECIPE)
    words = ("earmark", "train", "sounds", "--recipe", "small.toml", "--all_clips")
    done = call(*words, "--output_dir", "all", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def model(work):
    return next((work / "all").iterdir())


def test_training_on_all_clips_tests_nothing(model):
    names = {path.name for path in model.iterdir()}
    assert "model.json" in names
    assert "results.json" not in names
    trained = load_model(model)
    assert trained.classes == ("high", "low", "middle")
    assert trained.data["split_index"] == -1
    assert trained.data["training_clips"] + trained.data["validation_clips"] == 30


def test_a_folder_is_trained_on_and_tested_without_split_files(work, tmp_path):
    words = ("earmark", "train", work / "sounds", "--recipe", work / "small.toml")
    done = call(*words, "--split_index", 3, "--refit", "--balance", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "models").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert results["test_fold"] == "4"  # number 3, from 0 on
    assert results["accuracy"] > 0.8
    assert results["training"]["recipe"]["balance"] == 1.0
    assert "going on" not in done.stdout
    assert not (run / "resume").exists()
    assert not (run / "validated" / "resume").exists()


def test_the_model_names_its_sounds_and_rejects_silence(work, model, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)
    words = ("predict", "--model_dir", model, work / "sounds" / "low" / "1.wav")
    done = call("earmark", *words, tmp_path / "silence.wav", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)["predictions"]
    assert heard[0]["most_likely"] == "low"
    assert heard[1]["prediction"] == "none of these"
    done = call("earmark", "predict", "--model_dir", model, tmp_path / "silence.wav", cwd=tmp_path)
    assert "none of these  (" in done.stdout


def test_a_model_starts_another_with_other_classes(work, model, tmp_path):
    shutil.copytree(work / "sounds" / "low", tmp_path / "two" / "bass")
    shutil.copytree(work / "sounds" / "high", tmp_path / "two" / "treble")
    words = ("earmark", "train", "two", "--init", model, "--num_epochs", 2, "--folds", 3)
    done = call(*words, "--batch_size", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "learnt from" not in done.stderr
    trained = load_model(next((tmp_path / "models").iterdir()))
    start = load_model(model)
    assert trained.classes == ("bass", "treble")
    assert trained.training["started_from"] == start.fingerprint
    assert trained.front_end == start.front_end
    assert trained.model.settings.network.convolutions == start.model.settings.network.convolutions
    assert (trained.model.mean == start.model.mean).all()


def test_a_start_from_a_model_of_the_same_clips_is_remarked_on(work, model, tmp_path):
    flags = ("--num_epochs", 1, "--output_dir", tmp_path / "again")
    done = call_here("earmark", "train", "sounds", "--init", model, *flags, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "has learnt from sounds too" in done.stderr


def test_a_dataset_run_resumes_after_a_kill(work, tmp_path):
    flags = ("--recipe", str(work / "small.toml"), "--num_epochs", "60", "--patience", "60")
    command = [sys.executable, "-m", "earmark.cli", "train", str(work / "sounds"), *flags]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("models/*/resume/state.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (run,) = (tmp_path / "models").iterdir()
    done = call("earmark", "train", "--resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stdout
    assert (run / "results.json").is_file()


CROSSVAL = ("earmark", "crossval", "sounds", "--recipe", "small.toml", "--folds", "3")


def test_one_seed_is_not_taken_for_a_number_of_seeds(tmp_path):
    done = call("earmark", "crossval", "sounds", "--seed", 3, cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments: --seed 3" in done.stderr


def test_crossval_writes_a_table_for_people_and_machines(work):
    done = call(*CROSSVAL, "--seeds", 2, "--out", "results", "--leave_out", cwd=work)
    assert done.returncode == 0, done.stderr
    summary = json.loads((work / "results" / "small.json").read_text())
    assert summary["folds"] == ["1", "2", "3"]
    assert summary["seeds"] == [0, 1]
    assert summary["accuracy"] > 0.8
    assert np.sum(summary["confusion_matrix"]) == 60
    assert len(summary["left_out"]) == 3
    text = (work / "results" / "small.md").read_text()
    assert "earmark crossval sounds --recipe small.toml" in text
    assert all((work / "results" / name).is_file() for name in ("small-confusion.png",))
    begin = time.perf_counter()
    again = call(*CROSSVAL, "--seeds", 2, "--out", "results", cwd=work)
    assert again.returncode == 0, again.stderr
    assert json.loads((work / "results" / "small.json").read_text())["left_out"] == []
    assert time.perf_counter() - begin < 60


def test_one_changed_setting_has_a_name_of_its_own(work):
    words = (*CROSSVAL, "--num_epochs", "1", "--out", "changed", "--runs", "changed/runs")
    done = call(*words, cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "changed" / "small+num_epochs=1.md").is_file()
    done = call(*CROSSVAL, "--out", "changed", "--runs", "changed/runs", cwd=work)
    assert_one_line(done, "another num_epochs", "--runs")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles")
def test_an_interrupted_crossval_goes_on(work, tmp_path):
    words = ["crossval", str(work / "sounds"), "--recipe", str(work / "small.toml"), "--folds", "3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark.cli", *words, "--out", "out"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("models/*/fold-1-seed-0/results.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    first = next(tmp_path.glob("models/*/fold-1-seed-0/results.json"))
    written = first.stat().st_mtime_ns
    done = call("earmark", *words, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == written


def damage(folder, what):
    """Make a dataset that cannot be trained on."""
    if what == "one class":
        shutil.rmtree(folder / "low")
        shutil.rmtree(folder / "high")
    elif what == "few clips":
        for number in range(3, 10):
            (folder / "low" / f"{number}.wav").unlink()
    elif what == "labels alike":
        shutil.copytree(folder / "low", folder / "Low ")
    elif what == "same audio twice":
        shutil.copy(folder / "low" / "1.wav", folder / "high" / "x.wav")
    elif what == "an unreadable file":
        (folder / "low" / "1.wav").write_bytes(b"RIFF not really")


DATASETS = {
    "one class": ("has one class", "needs two"),
    "few clips": ("'low' has 3 source recordings", "--folds 3"),
    "labels alike": ("differ only in case or space",),
    "same audio twice": ("are the same audio",),
}


@pytest.mark.parametrize("command", ["train", "crossval"])
@pytest.mark.parametrize("what", DATASETS)
def test_a_dataset_that_cannot_be_is_one_line(tmp_path, work, command, what):
    shutil.copytree(work / "sounds", tmp_path / "sounds")
    damage(tmp_path / "sounds", what)
    done = call_here("earmark", command, "sounds", cwd=tmp_path)
    assert_one_line(done, *DATASETS[what])
    assert not (tmp_path / "models").exists()


def test_all_clips_need_no_folds(tmp_path, work):
    shutil.copytree(work / "sounds", tmp_path / "sounds")
    damage(tmp_path / "sounds", "few clips")
    words = ("earmark", "train", "sounds", "--recipe", work / "small.toml", "--num_epochs", 1)
    done = call(*words, "--all_clips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_file_is_named_though_none_can_be_read(tmp_path):
    for label in ("dog", "rain"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        (tmp_path / "sounds" / label / "a.wav").write_bytes(b"not audio")
    done = call("earmark", "prepare", "sounds", cwd=tmp_path)
    assert done.returncode == 1
    *named, last = done.stderr.splitlines()
    assert [line.split(":")[1].split("/")[-2] for line in named] == ["dog", "rain"]
    assert "none of its 2 files can be read" in last


OUTPUTS = {
    "prepare": ["--out", "file/splits"],
    "train": ["--output_dir", "file"],
    "crossval": ["--runs", "file/runs"],
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_an_output_below_a_file_is_said_before_anything_is_heard(tmp_path, work, command):
    (tmp_path / "file").touch()
    shutil.copytree(work / "sounds", tmp_path / "sounds")
    damage(tmp_path / "sounds", "an unreadable file")  # named as soon as it is heard
    done = call_here("earmark", command, "sounds", *OUTPUTS[command], cwd=tmp_path)
    assert_one_line(done, "file: is a file where a folder is needed; choose another place")


def test_an_unreadable_file_is_named_and_may_be_left_out(tmp_path, work):
    shutil.copytree(work / "sounds", tmp_path / "sounds")
    damage(tmp_path / "sounds", "an unreadable file")
    words = ("earmark", "train", "sounds", "--recipe", work / "small.toml", "--num_epochs", 1)
    done = call(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "1.wav" in done.stderr
    assert "1 of 30 files were left out; nothing was trained" in done.stderr.splitlines()[-1]
    done = call(*words, "--allow_incomplete", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


FLAGS = {
    "unknown recipe": (["sounds", "--recipe", "casual"], "there are causal"),
    "unknown key": (["sounds", "--recipe", "wrong.toml"], "did you mean num_epochs"),
    "no such fold": (["sounds", "--split_index", "9"], "--split_index may be 0 to 4"),
    "negative fold": (["sounds", "--split_index", "-1"], "--split_index must be at least 0"),
    "all and one": (["sounds", "--all_clips", "--split_index", "1"], "leave out --split_index"),
    "all of split files": (["--all_clips"], "needs a dataset"),
    "bad convolutions": (["sounds", "--convolutions", "[[1,2"], "is not a list in JSON"),
    "convolutions and stack": (["sounds", "--convolutions", "[[4,3,3,1,1]]"], "stack 1"),
    "no such start": (["sounds", "--init", "nowhere"], "no such model directory"),
    "no such data": (["nowhere"], "no such dataset"),
    "one fold": (["sounds", "--folds", "1"], "--folds must be at least 2"),
    "resume and data": (["sounds", "--resume", "all"], "leave out --output_dir, dataset"),
    "resume and split 0": (["--resume", "all", "--split_index", "0"], "leave out --split_index,"),
    "resume and folds": (["--resume", "all", "--folds", "4", "--esc10"], "--folds, --esc10"),
    "folds of split files": (["--folds", "4"], "--folds needs a dataset"),
    "two sources": (["sounds", "--splits_dir", "splits"], "leave out one of the two"),
    "network and frames": (["sounds", "--frequency_lstm", "[8,9,9]"], "cover the 40 mels"),
    "empty start": (["sounds", "--init", ""], "no complete model directory"),
    "unknown flag": (["sounds", "--epochs", "3"], "--epochs 3; see earmark train --help"),
}


@pytest.mark.parametrize("fault", FLAGS)
def test_wrong_flags_are_one_line_and_write_nothing(work, fault):
    (work / "wrong.toml").write_text("[training]\nnum_epoch = 3\n")
    flags, message = FLAGS[fault]
    done = call_here("earmark", "train", *flags, "--output_dir", "wrong", cwd=work)
    assert_one_line(done, message)
    assert not (work / "wrong").exists()


def test_a_start_of_another_shape_is_said(work, model):
    words = ("earmark", "train", "sounds", "--init", model, "--hidden_size", 9)
    assert_one_line(call(*words, cwd=work), "takes the shape of", "leave out --hidden_size")


def test_clips_from_50_ms_to_minutes_train_together(work, tmp_path):
    shutil.copytree(work / "sounds", tmp_path / "sounds")
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "sounds/low/short.wav", 0.1 * rng.standard_normal(400), 8_000)
    long = 0.1 * rng.standard_normal(8_000 * 150)
    soundfile.write(tmp_path / "sounds/low/long.wav", long, 8_000)
    words = ("earmark", "crossval", "sounds", "--recipe", work / "small.toml", "--num_epochs", 1)
    done = call(*words, "--folds", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
