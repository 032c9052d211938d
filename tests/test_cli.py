"""The command and the documented scripts as processes, on real files and real faults."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.splits import write_split
from earmark.model_directory import load_model
from tests.builders import FRONT_END, small_split
from tests.processes import ROOT, assert_one_line, call, call_here

QUICK = ["--num_epochs", "2", "--batch_size", "8", "--hidden_size", "8", "--num_layers", "1"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with splits, a trained model and a few sounds."""
    folder = tmp_path_factory.mktemp("work")
    for index in range(5):
        write_split(folder / "splits", small_split(index=index))
    done = call("lstm_classifier_train.py", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    sounds = folder / "sounds"
    sounds.mkdir()
    for name in ("b.wav", "a.WAV"):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000)
        soundfile.write(sounds / name, noise, 8_000, format="WAV")
    return folder


@pytest.fixture
def run(work):
    return next((work / "models").iterdir())


def test_training_writes_the_documented_folder(work, run):
    assert re.fullmatch(r"lstm-8-1-\d{10}", run.name)
    names = {path.name for path in run.iterdir()}
    assert {"model.json", "history.csv", "curves.png", "results.json"} <= names
    assert "results-confusion.png" in names
    assert not (run / "resume").exists()
    assert load_model(run).training["finished"] is True


def test_flags_have_the_documented_defaults():
    documented = {
        **{"split_index": "0", "output_dir": "models", "batch_size": "32", "num_epochs": "50"},
        **{"learning_rate": "0.001", "hidden_size": "128", "num_layers": "2", "dropout": "0.3"},
        **{"patience": "5"},
    }
    text = " ".join(call("lstm_classifier_train.py", "--help", cwd=ROOT).stdout.split())
    for flag, default in documented.items():
        assert re.search(rf"--{flag} \w+ [^(]*\({re.escape(default)}\)", text), flag
    assert "--cuda" in text


def test_hyphens_and_equals_signs_are_accepted(work, tmp_path):
    flags = [f"--{flag[2:].replace('_', '-')}" if flag[:2] == "--" else flag for flag in QUICK]
    out = tmp_path / "out_of_the_way"
    done = call("lstm_classifier_train.py", *flags, f"--output-dir={out}", "--cuda", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "CUDA is not available; going on with the CPU" in done.stdout
    assert len(list(out.iterdir())) == 1


def test_inference_evaluates_a_split(work, run, tmp_path):
    out = tmp_path / "r.json"
    done = call("lstm_inference.py", "--model_dir", run, "--output_file", out, cwd=work)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    trained = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["accuracy"] == trained["accuracy"]
    assert results["split_index"] == 0
    assert (tmp_path / "r-confusion.png").is_file()


def test_inference_on_another_split_says_that_it_is_no_test(work, run):
    done = call("lstm_inference.py", "--model_dir", run, "--split_index", 3, cwd=work)
    assert done.returncode == 0
    assert "Not a test" in done.stdout


def test_inference_predicts_one_file(work, run, tmp_path):
    out = tmp_path / "p.json"
    words = ("--model_dir", run, "--audio_file", "sounds/b.wav", "--output_file", out)
    done = call("lstm_inference.py", *words, cwd=work)
    assert done.returncode == 0, done.stderr
    prediction = json.loads(out.read_text(encoding="utf-8"))
    assert prediction["prediction"] in done.stdout.splitlines()[0]
    assert set(prediction["scores"]) == {"dog", "rain", "rooster"}
    assert prediction["seconds"] == 1.0


def test_scripts_run_from_any_folder_with_the_splits_beside_them(work, tmp_path):
    home = tmp_path / "checkout"
    home.mkdir()
    for name in ("lstm_classifier_train.py", "lstm_inference.py", "models.py"):
        shutil.copy(ROOT / name, home / name)
    shutil.copytree(work / "splits", home / "splits")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(home / "lstm_classifier_train.py"), *QUICK],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((elsewhere / "models").iterdir())) == 1


def test_models_py_is_found_before_the_folder_models(work):
    (work / "models.py").write_bytes((ROOT / "models.py").read_bytes())
    code = "from models import LSTMClassifier; print(LSTMClassifier.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=False
    )
    assert (work / "models").is_dir()
    assert done.stdout.strip() == "earmark.nn.classifier", done.stderr


@pytest.mark.parametrize("layout", ["table", "csv", "json"])
def test_predict_takes_files_folders_and_globs(work, run, layout):
    for given in (["sounds/a.WAV", "sounds/b.wav"], ["sounds"], ["sounds/*"]):
        words = ("predict", "--model_dir", run, "--format", layout, *given)
        done = call("earmark", *words, cwd=work)
        assert done.returncode == 0, done.stderr
        if layout == "json":
            document = json.loads(done.stdout)
            assert len(document["predictions"]) == 2
            assert document["failures"] == []
        else:
            assert len(done.stdout.splitlines()) == 2 + (layout == "csv")


def test_predict_takes_a_glob_that_matches_folders_and_skips_hidden_files(work, run, tmp_path):
    shutil.copytree(work / "sounds", tmp_path / "group")
    shutil.copy(work / "sounds" / "b.wav", tmp_path / "group" / "._b.wav")
    done = call("earmark", "predict", "--model_dir", run, "g*", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_names_that_the_terminal_cannot_show_stop_nothing(work, run, tmp_path):
    shutil.copy(work / "sounds" / "b.wav", tmp_path / "犬.wav")
    odd = os.fsencode(tmp_path) + b"/clip\xff.wav"
    if sys.platform == "linux":
        shutil.copy(work / "sounds" / "b.wav", odd)
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    words = ("predict", "--model_dir", run, tmp_path, "--format")
    for layout in ("table", "csv", "json"):
        done = call("earmark", *words, layout, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        assert "clip" in done.stdout or sys.platform != "linux"


def test_predict_finishes_the_others_when_a_file_is_bad(work, run, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio at all")
    words = ("predict", "--model_dir", run, "sounds/b.wav", bad, tmp_path / "none.wav", "sounds")
    done = call("earmark", *words, "--format", "json", cwd=work)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert [Path(item["path"]).name for item in document["predictions"]] == ["b.wav", "a.WAV"]
    assert len(document["failures"]) == 2
    assert "2 of 4 files" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_version_and_help():
    assert call("earmark", "--version", cwd=ROOT).stdout.startswith("earmark ")
    for words in ([], ["prepare"], ["train"], ["evaluate"], ["predict"]):
        text = call("earmark", *words, "--help", cwd=ROOT).stdout
        assert "example" in text, words


BAD_FLAGS = {
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
}


@pytest.mark.parametrize("fault", BAD_FLAGS)
def test_wrong_flags_are_one_line_and_write_nothing(work, fault):
    flags, message = BAD_FLAGS[fault]
    (work / "models.txt").write_text("in the way")
    before = sorted((work / "models").iterdir())
    assert_one_line(call_here("lstm_classifier_train.py", *flags, cwd=work), message)
    assert sorted((work / "models").iterdir()) == before


def test_missing_splits_name_the_command_that_makes_them(tmp_path):
    done = call("earmark", "train", cwd=tmp_path)
    assert_one_line(done, "earmark prepare")


def test_a_split_that_tries_to_run_code_does_not(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {marker}",))

    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "split_0.pkl").write_bytes(pickle.dumps({"train": Evil(), "test": 0}))
    assert_one_line(call("earmark", "train", cwd=tmp_path), "split_0.pkl", "could run code")
    assert not marker.exists()


def test_splits_of_the_documented_system_train_and_evaluate(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    features = rng.normal(size=(48, 20, 5)).astype(np.float32) + labels[:, None, None]
    pairs = [(clip, int(label)) for clip, label in zip(features, labels, strict=True)]
    (tmp_path / "splits").mkdir()
    content = {"train": (features[:36], labels[:36]), "test": pairs[36:]}
    (tmp_path / "splits" / "split_0.pkl").write_bytes(pickle.dumps(content))
    flags = [*QUICK, "--learning_rate", "0.02"]
    done = call("lstm_classifier_train.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "models").iterdir())
    assert call("lstm_inference.py", "--model_dir", run, cwd=tmp_path).returncode == 0
    heard = call("lstm_inference.py", "--model_dir", run, "--audio_file", "x.wav", cwd=tmp_path)
    assert_one_line(heard, "ready-made features")


def test_a_model_that_does_not_fit_the_split_is_said(work, run, tmp_path):
    write_split(tmp_path, small_split(classes=("cat", "rain", "rooster")))
    words = ("--model_dir", run, "--splits_dir", tmp_path)
    assert_one_line(call("lstm_inference.py", *words, cwd=work), "cat", "dog")


def test_an_output_folder_without_permission_is_said(work, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):  # root may write anywhere but into the kernel's own folders
        locked = Path("/sys")
        if not locked.is_dir():
            pytest.skip("no folder here is closed to this user")
    words = ("lstm_classifier_train.py", *QUICK, "--output_dir", locked)
    assert_one_line(call(*words, cwd=work), locked, "permission denied; choose another place")
    words = ("lstm_inference.py", "--model_dir", next((work / "models").iterdir()))
    done = call(*words, "--output_file", locked / "r.json", cwd=work)
    assert_one_line(done, locked / "r.json", "permission denied")


def test_a_full_disk_is_one_line_and_leaves_no_part(work, tmp_path):
    """A limit on file size fails writes in the middle, as a full disk does."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "runs"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    words = ("lstm_classifier_train.py", *QUICK, "--output_dir", out)
    done = call(*words, cwd=work, preexec_fn=limit)
    assert_one_line(done, "too large")
    assert not list(out.rglob("*.part"))


def start_training(cwd, *flags):
    """Start a run long enough to be stopped, and wait until its first epochs are on disk."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "lstm_classifier_train.py"), *flags],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(1200):
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1])
        states = list(cwd.glob("models/*/history.csv"))
        if states and len(states[0].read_text().splitlines()) > 2:
            return process, states[0].parent
        time.sleep(0.05)
    raise AssertionError("no epoch ended")


LONG = [*("--num_epochs", "12", "--patience", "12", "--batch_size", "4"), *QUICK[4:]]


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(work, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        shutil.copytree(work / "splits", folder / "splits")
    assert call("lstm_classifier_train.py", *LONG, cwd=whole).returncode == 0
    process, folder = start_training(cut, *LONG)
    process.kill()
    process.wait()
    load_model(folder)  # usable as it is
    early = call("lstm_inference.py", "--model_dir", folder, cwd=cut)
    assert early.returncode == 0, early.stderr
    done = call("lstm_classifier_train.py", "--resume", folder, cwd=cut)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stdout
    expected = load_model(next((whole / "models").iterdir())).model.state_dict()
    for name, tensor in load_model(folder).model.state_dict().items():
        assert (tensor == expected[name]).all(), name
    again = call("lstm_classifier_train.py", "--resume", folder, cwd=cut)
    assert_one_line(again, "it finished")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles")
def test_ctrl_c_leaves_the_best_model_and_says_how_to_go_on(work, tmp_path):
    shutil.copytree(work / "splits", tmp_path / "splits")
    process, folder = start_training(tmp_path, *LONG)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = errors.strip().splitlines()
    assert f"--resume {folder.relative_to(tmp_path)}" in line
    assert load_model(folder).training["finished"] is False
    assert not list(folder.rglob("*.part"))


def test_several_processes_train_one_model(work, tmp_path):
    """Started as Accelerate starts them; gradients meet over a real socket."""
    shutil.copytree(work / "splits", tmp_path / "splits")
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", "0"),
        *(str(ROOT / "lstm_classifier_train.py"), *QUICK),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in done.stdout
    (folder,) = (tmp_path / "models").iterdir()
    trained = load_model(folder)
    assert trained.training["processes"] == 2
    assert done.stdout.count("wrote models") == 1


def test_resuming_on_changed_arrays_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    splits = tmp_path / "splits"
    splits.mkdir()

    def write():
        part = (rng.normal(size=(30, 9, 5)).astype(np.float32), np.arange(30) % 3)
        (splits / "split_0.pkl").write_bytes(pickle.dumps((part, part)))

    write()
    process, folder = start_training(tmp_path, *LONG)
    process.kill()
    process.wait()
    write()
    done = call("lstm_classifier_train.py", "--resume", folder, cwd=tmp_path)
    assert_one_line(done, "other data")


def test_an_incomplete_known_dataset_is_a_loud_error(esc10, tmp_path):
    for name in ("001 - Dog bark", "002 - Rain"):
        shutil.copytree(esc10 / name, tmp_path / "ESC-10" / name)
    done = call("earmark", "prepare", "ESC-10", cwd=tmp_path)
    assert_one_line(done, "80 of the 400 clips", "--allow_incomplete")
    assert not (tmp_path / "splits").exists()
    done = call("earmark", "prepare", "ESC-10", "--allow_incomplete", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--hidden_size", 10_000_000), "memory"),
        (
            ("--convolutions", f"[[{2**24}, {2**24}, {2**24}, 1, 1]]", "--stack", 1, "--delta", 0),
            "memory",
        ),
        (("--hidden_size", 10**23), "hidden_size must be below 2^63"),
        (("--hidden_size", 2**40), "hidden_size must be 1 to 16777216"),
    ],
)
def test_a_model_too_large_is_one_line(work, flags, message):
    done = call("lstm_classifier_train.py", "--num_layers", 1, *flags, cwd=work)
    assert_one_line(done, message)


def test_the_whole_job_on_real_recordings(esc10, tmp_path):
    """prepare, train, evaluate, predict: a short training on all of ESC-10."""
    done = call("earmark", "prepare", esc10, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 classes, 400 clips, 5 folds" in done.stdout
    assert "unreadable files: 0" in done.stdout
    assert len(list((tmp_path / "splits").glob("split_?.pkl"))) == 5
    flags = ("--num_epochs", 6, "--hidden_size", 48, "--num_layers", 1, "--learning_rate", 0.004)
    done = call("lstm_classifier_train.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "models").iterdir())
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["test_clips"] == 80
    assert results["test_fold"] == "1"
    assert results["accuracy"] > 0.3  # chance is 0.1; measured about 0.6
    dog = sorted(esc10.glob("*Dog*/1-*.ogg"))[0]
    done = call("lstm_inference.py", "--model_dir", run, "--audio_file", dog, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    clips = {Path(clip["path"]).name: clip for clip in results["clips"]}
    assert clips[dog.name]["prediction"] in done.stdout.splitlines()[0]


def test_front_end_settings_survive_into_the_model(work, run):
    assert load_model(run).front_end == FRONT_END
