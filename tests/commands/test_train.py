"""`earmark train` and `lstm_classifier_train.py`: what they leave, and every refusal."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.model_directory import load_model
from tests.builders import FRONT_END, damage_sounds, write_sounds
from tests.conftest import QUICK
from tests.processes import ROOT, Killed, assert_one_line, call_here, stopped_after

SCRIPT = "lstm_classifier_train.py"
CHECKPOINT = "state.safetensors"


def one_run(folder):
    (run,) = (folder / "models").iterdir()
    return run


def weights(run):
    return load_model(run).model.state_dict()


def test_the_documented_folder_is_written(documented_run):
    assert re.fullmatch(r"lstm-8-1-\d{10}", documented_run.name)
    names = {path.name for path in documented_run.iterdir()}
    assert {"model.json", "history.csv", "curves.png", "results.json"} <= names
    for name in ("curves.png", "results-confusion.png"):
        assert (documented_run / name).read_bytes().endswith(b"IEND\xaeB`\x82")
    assert not (documented_run / "resume").exists()
    results = json.loads((documented_run / "results.json").read_text())
    assert results["baselines"].keys() == {"largest_class", "mfcc_svm"}
    trained = load_model(documented_run)
    assert trained.training["finished"] is True
    assert trained.front_end == FRONT_END


def test_flags_have_the_documented_defaults():
    documented = {
        "split_index": "0",
        "output_dir": "models",
        "batch_size": "32",
        "num_epochs": "50",
        "learning_rate": "0.001",
        "hidden_size": "128",
        "num_layers": "2",
        "dropout": "0.3",
        "patience": "5",
    }
    text = " ".join(call_here(SCRIPT, "--help", cwd=ROOT).stdout.split())
    for flag, default in documented.items():
        assert re.search(rf"--{flag} \w+ [^(]*\({re.escape(default)}\)", text), flag
    assert "--cuda" in text


def test_hyphens_and_equals_signs_are_accepted(documented, tmp_path):
    flags = [f"--{flag[2:].replace('_', '-')}" if flag[:2] == "--" else flag for flag in QUICK]
    splits = ("--splits-dir", documented / "splits")
    out = tmp_path / "out_of_the_way"
    done = call_here(SCRIPT, *flags, *splits, f"--output-dir={out}", "--cuda", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CUDA is not available; going on with the CPU" in done.stdout
    assert len(list(out.iterdir())) == 1


WRONG_OF_SPLITS = {
    "no epochs": (["--num_epochs", "0"], "num_epochs must be at least 1"),
    "negative size": (["--hidden_size", "-3"], "hidden_size"),
    "too much dropout": (["--dropout", "1.5"], "dropout must be at least 0 and below 1"),
    "no patience": (["--patience", "0"], "patience"),
    "not a number": (["--batch_size", "many"], "invalid int value"),
    "nan": (["--learning_rate", "nan"], "learning_rate"),
    "unknown flag": (["--epochs_num", "3"], "unrecognized arguments"),
    "no such split": (["--split_index", "7"], "--split_index may be 0, 1, 2, 3, 4"),
    "negative split": (["--split_index", "-1"], "--split_index may be"),
    "nothing to resume": (["--resume", "nowhere"], "no such run"),
    "resume with flags": (["--resume", "models", "--dropout", "0.1"], "leave out --dropout"),
    "batch too large": (["--batch_size", "100000"], "batch_size"),
    "recipe for other frames": (["--recipe", "causal"], "another front end than the split files"),
    "file in the way": (["--output_dir", "models.txt"], "models.txt"),
    "no memory": (["--num_layers", "1", "--hidden_size", "10000000"], "memory"),
    "no memory for convolutions": (
        ["--convolutions", f"[[{2**24}, {2**24}, {2**24}, 1, 1]]", "--stack", "1", "--delta", "0"],
        "memory",
    ),
    "beyond a number": (["--hidden_size", str(10**23)], "hidden_size must be below 2^63"),
    "beyond a layer": (["--hidden_size", str(2**40)], "hidden_size must be 1 to 16777216"),
}


@pytest.mark.parametrize("fault", WRONG_OF_SPLITS)
def test_wrong_flags_are_one_line_and_write_nothing(documented, tmp_path, fault):
    flags, message = WRONG_OF_SPLITS[fault]
    (tmp_path / "models.txt").write_text("in the way")
    (tmp_path / "splits").symlink_to(documented / "splits")
    assert_one_line(call_here(SCRIPT, *flags, cwd=tmp_path), message)
    assert not list(tmp_path.glob("models/*"))


def test_missing_splits_name_the_command_that_makes_them(tmp_path):
    assert_one_line(call_here("earmark", "train", cwd=tmp_path), "earmark prepare")


def test_a_split_that_tries_to_run_code_does_not(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {marker}",))

    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "split_0.pkl").write_bytes(pickle.dumps({"train": Evil(), "test": 0}))
    assert_one_line(call_here("earmark", "train", cwd=tmp_path), "split_0.pkl", "could run code")
    assert not marker.exists()


def test_splits_of_the_documented_system_train_and_evaluate(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    features = rng.normal(size=(48, 20, 5)).astype(np.float32) + labels[:, None, None]
    pairs = [(clip, int(label)) for clip, label in zip(features, labels, strict=True)]
    (tmp_path / "splits").mkdir()
    content = {"train": (features[:36], labels[:36]), "test": pairs[36:]}
    (tmp_path / "splits" / "split_0.pkl").write_bytes(pickle.dumps(content))
    done = call_here(SCRIPT, *QUICK, "--learning_rate", "0.02", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = ("lstm_inference.py", "--model_dir", one_run(tmp_path))
    assert call_here(*words, cwd=tmp_path).returncode == 0
    heard = call_here(*words, "--audio_file", "x.wav", cwd=tmp_path)
    assert_one_line(heard, "ready-made features")


def test_an_output_folder_without_permission_is_said(documented, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):  # root may write anywhere but into the kernel's own folders
        locked = Path("/sys")
        if not locked.is_dir():
            pytest.skip("no folder here is closed to this user")
    done = call_here(SCRIPT, *QUICK, "--output_dir", locked, cwd=documented)
    assert_one_line(done, locked, "permission denied; choose another place")


LONG = ("--num_epochs", "6", "--batch_size", "8", "--hidden_size", "8", "--num_layers", "1")


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(documented, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    splits = ("--splits_dir", documented / "splits")
    for folder in (whole, cut):
        folder.mkdir()
    assert call_here(SCRIPT, *LONG, *splits, cwd=whole).returncode == 0
    with stopped_after(CHECKPOINT, 3, Killed), pytest.raises(Killed):
        call_here(SCRIPT, *LONG, *splits, cwd=cut)
    run = one_run(cut)
    early = call_here("lstm_inference.py", "--model_dir", run, *splits, cwd=cut)
    assert early.returncode == 0, early.stderr  # usable as it is
    done = call_here(SCRIPT, "--resume", run, cwd=cut)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 3" in done.stdout
    expected = weights(one_run(whole))
    for name, tensor in weights(run).items():
        assert (tensor == expected[name]).all(), name
    assert_one_line(call_here(SCRIPT, "--resume", run, cwd=cut), "it finished")


def test_an_interrupt_leaves_the_best_model_and_says_how_to_go_on(documented, tmp_path):
    splits = ("--splits_dir", documented / "splits")
    with stopped_after(CHECKPOINT, 2):
        done = call_here(SCRIPT, *LONG, *splits, cwd=tmp_path)
    assert done.returncode == 130
    run = one_run(tmp_path)
    (line,) = done.stderr.strip().splitlines()
    assert f"--resume {run.relative_to(tmp_path)}" in line
    assert load_model(run).training["finished"] is False
    assert not list(run.rglob("*.part"))


def test_an_interrupt_before_the_first_epoch_leaves_no_folder(documented, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.optim.AdamW.step", interrupt)
    splits = ("--splits_dir", documented / "splits")
    done = call_here(SCRIPT, *QUICK, *splits, cwd=tmp_path)
    assert done.returncode == 130
    assert_one_line(done, "interrupted before there was a model to keep; start again")
    assert list((tmp_path / "models").iterdir()) == []


def test_resuming_on_changed_arrays_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "splits").mkdir()

    def write():
        part = (rng.normal(size=(30, 9, 5)).astype(np.float32), np.arange(30) % 3)
        (tmp_path / "splits" / "split_0.pkl").write_bytes(pickle.dumps((part, part)))

    write()
    with stopped_after(CHECKPOINT, 1, Killed), pytest.raises(Killed):
        call_here(SCRIPT, *QUICK, cwd=tmp_path)
    write()
    done = call_here(SCRIPT, "--resume", one_run(tmp_path), cwd=tmp_path)
    assert_one_line(done, "other data")


def test_training_on_all_clips_tests_nothing(own_run):
    names = {path.name for path in own_run.iterdir()}
    assert "model.json" in names
    assert "results.json" not in names
    trained = load_model(own_run)
    assert trained.classes == ("high", "low", "middle")
    assert trained.data["split_index"] == -1
    assert trained.data["training_clips"] + trained.data["validation_clips"] == 30


def test_a_folder_is_trained_on_and_tested_without_split_files(own, tmp_path):
    words = ("earmark", "train", own / "sounds", "--recipe", own / "small.toml")
    done = call_here(*words, "--split_index", 3, "--refit", "--balance", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = one_run(tmp_path)
    results = json.loads((run / "results.json").read_text())
    assert results["test_fold"] == "4"  # number 3, from 0 on
    assert results["accuracy"] > 0.8
    assert results["training"]["recipe"]["balance"] == 1.0
    assert "going on" not in done.stdout
    assert not (run / "resume").exists()
    assert not (run / "validated" / "resume").exists()


def test_a_model_starts_another_with_other_classes(own, own_run, tmp_path):
    shutil.copytree(own / "sounds" / "low", tmp_path / "two" / "bass")
    shutil.copytree(own / "sounds" / "high", tmp_path / "two" / "treble")
    words = ("earmark", "train", "two", "--init", own_run, "--num_epochs", 2, "--folds", 3)
    done = call_here(*words, "--batch_size", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "learnt from" not in done.stderr
    trained, start = load_model(one_run(tmp_path)), load_model(own_run)
    assert trained.classes == ("bass", "treble")
    assert trained.training["started_from"] == start.fingerprint
    assert trained.front_end == start.front_end
    assert trained.model.settings.network.convolutions == start.model.settings.network.convolutions
    assert (trained.model.mean == start.model.mean).all()


def test_without_a_recipe_only_the_last_layer_is_trained_from_a_model(own, own_run, tmp_path):
    shutil.copytree(own / "sounds" / "low", tmp_path / "two" / "bass")
    shutil.copytree(own / "sounds" / "high", tmp_path / "two" / "treble")
    shutil.copytree(own / "sounds" / "middle", tmp_path / "others")
    words = ("earmark", "train", "two", "--init", own_run, "--negatives", "others")
    done = call_here(*words, "--all_clips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "recipe finetune, for clips of 0.40 s in the middle: starts from" in done.stdout
    assert "cross-validated within the training clips, 5 folds: accuracy" in done.stdout
    assert "For comparison, on the same clips: the largest class 50.00 %" in done.stdout
    assert "League: with a base, whose knowledge is from sounds." in done.stdout
    trained, start = load_model(one_run(tmp_path)), load_model(own_run)
    assert trained.data["training_negatives"] == 10
    assert trained.training["started_from"] == start.fingerprint
    assert {path.name.split("-")[0] for path in one_run(tmp_path).iterdir()} == {
        "model.json",
        "weights",
    }


def test_clips_of_a_class_cannot_be_negatives_too(own, own_run, tmp_path):
    shutil.copytree(own / "sounds" / "low", tmp_path / "others")
    words = ("earmark", "train", own / "sounds", "--init", own_run, "--negatives", "others")
    done = call_here(*words, cwd=tmp_path)
    assert_one_line(done, "are the same audio", "of no class", "keep one of them")


def test_negatives_that_hold_a_class_are_suspected(own, own_run, tmp_path):
    sounds, rate = soundfile.read, 8_000
    for name in ("low", "high", "middle"):
        (tmp_path / "others").mkdir(exist_ok=True)
        for path in (own / "sounds" / name).glob("*.wav"):
            louder = 1.1 * sounds(path)[0]  # the same sounds, in files that differ
            soundfile.write(tmp_path / "others" / f"{name}-{path.name}", louder, rate)
    words = ("earmark", "train", own / "sounds", "--init", own_run, "--negatives", "others")
    done = call_here(*words, "--all_clips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "look whether negatives hold sounds of the classes" in done.stderr


def test_one_clip_a_class_trains_a_last_layer_and_says_what_it_lacks(own, own_run, tmp_path):
    for name in ("low", "high"):
        (tmp_path / "two" / name).mkdir(parents=True)
        shutil.copy(own / "sounds" / name / "1.wav", tmp_path / "two" / name)
    words = ("earmark", "train", "two", "--init", own_run)
    assert_one_line(call_here(*words, cwd=tmp_path), "has 1 source recording, too", "--all_clips")
    done = call_here(*words, "--all_clips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one source recording only, so none were held out" in done.stdout
    assert "rejection is weak then" in done.stdout


def test_a_start_from_a_model_of_the_same_clips_is_remarked_on(own, own_run, tmp_path):
    flags = ("--num_epochs", 1, "--output_dir", tmp_path / "again")
    done = call_here("earmark", "train", "sounds", "--init", own_run, *flags, cwd=own)
    assert done.returncode == 0, done.stderr
    assert "has learnt from sounds too" in done.stderr


def test_a_dataset_run_resumes_after_a_kill(own, tmp_path):
    words = ("earmark", "train", own / "sounds", "--recipe", own / "small.toml")
    with stopped_after(CHECKPOINT, 2, Killed), pytest.raises(Killed):
        call_here(*words, "--num_epochs", 4, cwd=tmp_path)
    run = one_run(tmp_path)
    done = call_here("earmark", "train", "--resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 2" in done.stdout
    assert (run / "results.json").is_file()


def test_all_clips_need_no_folds_and_the_league_is_said(own, own_run, tmp_path):
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", "few clips")
    words = ("earmark", "train", "sounds", "--recipe", own / "small.toml", "--num_epochs", 1)
    done = call_here(*words, "--all_clips", "--init", own_run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "League: with a base, whose knowledge is from sounds." in done.stdout


def test_an_unreadable_file_is_named_and_may_be_left_out(own, tmp_path):
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", "an unreadable file")
    words = ("earmark", "train", "sounds", "--recipe", own / "small.toml", "--num_epochs", 1)
    done = call_here(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "1.wav" in done.stderr
    assert "1 of 30 files were left out; nothing was trained" in done.stderr.splitlines()[-1]
    done = call_here(*words, "--allow_incomplete", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


WRONG_OF_DATASETS = {
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
    "frozen without a start": (["sounds", "--recipe", "fast", "--frozen"], "give one with --init"),
    "shape of the base": (["sounds", "--recipe", "finetune", "--stack", "2"], "leave out --stack"),
    "unknown flag": (["sounds", "--epochs", "3"], "--epochs 3; see earmark train --help"),
}


@pytest.mark.parametrize("fault", WRONG_OF_DATASETS)
def test_wrong_flags_of_datasets_are_one_line_and_write_nothing(own, tmp_path, fault):
    (tmp_path / "wrong.toml").write_text("[training]\nnum_epoch = 3\n")
    (tmp_path / "sounds").symlink_to(own / "sounds")
    flags, message = WRONG_OF_DATASETS[fault]
    done = call_here("earmark", "train", *flags, "--output_dir", "wrong", cwd=tmp_path)
    assert_one_line(done, message)
    assert not (tmp_path / "wrong").exists()


def test_a_start_of_another_shape_is_said(own, own_run):
    words = ("earmark", "train", "sounds", "--init", own_run, "--hidden_size", 9)
    assert_one_line(call_here(*words, cwd=own), "takes the shape of", "leave out --hidden_size")
