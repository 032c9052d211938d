"""Facts that only processes of their own can show; all else is called in the tests' process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earmark.model_directory import load_model
from tests.builders import bursts
from tests.conftest import QUICK
from tests.processes import ROOT, assert_one_line, call, call_here, start

TRAIN = "lstm_classifier_train.py"


def test_a_run_that_is_killed_outright_is_usable_and_goes_on(documented, tmp_path):
    long = ("--num_epochs", "12", "--patience", "12", "--crops_per_clip", "2", *QUICK[2:])
    splits = ("--splits_dir", documented / "splits")
    process = start(TRAIN, *long, *splits, cwd=tmp_path)
    while not list(tmp_path.glob("models/*/resume/state.safetensors")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (run,) = (tmp_path / "models").iterdir()
    assert load_model(run).training["finished"] is False
    done = call_here("lstm_inference.py", "--model_dir", run, *splits, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call_here(TRAIN, "--resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stdout
    assert load_model(run).training["finished"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles")
def test_ctrl_c_ends_a_stream_with_what_it_has_found(tmp_path):
    low = ("--threshold", "0.12", "--smoothing_seconds", "0.2")  # so that anything is an event
    words = ("stream", "-", "--sample_rate", "44100", "--jsonl", *low)
    process = start("earmark", *words, cwd=tmp_path)
    process.stdin.write((bursts() * 32767).astype("<i2").tobytes())
    process.stdin.flush()
    first = process.stdout.readline()  # an event that has ended; more is on its way
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert all(json.loads(line)["label"] for line in (first + out).splitlines())
    assert b"interrupted after" in said


@pytest.mark.skipif(sys.platform == "win32", reason="there a pipe ends otherwise")
def test_a_reader_that_goes_away_ends_the_command_quietly(documented, tmp_path):
    process = start("earmark", "predict", documented / "sounds", cwd=tmp_path)
    process.stdout.close()  # before anything is written
    process.stdin.close()
    assert all(line.startswith(b"warning: ") for line in process.stderr.read().splitlines())
    process.stderr.close()
    assert process.wait(60) == 1


def test_several_processes_train_one_model(documented, tmp_path):
    """Started as Accelerate starts them; gradients meet over a real socket."""
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes=2",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--main_process_port=0",
        str(ROOT / TRAIN),
        f"--splits_dir={documented / 'splits'}",
        *QUICK,
        "--num_epochs=1",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in done.stdout
    (folder,) = (tmp_path / "models").iterdir()
    assert load_model(folder).training["processes"] == 2
    assert done.stdout.count("wrote models") == 1


@pytest.mark.parametrize("door", [TRAIN, "lstm_inference.py"])
def test_a_door_finds_the_splits_beside_it_from_any_folder(
    documented, documented_run, tmp_path, door
):
    home, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    shutil.copy(ROOT / door, home)
    (home / "splits").symlink_to(documented / "splits")
    model = ("--model_dir", documented_run) if door != TRAIN else ()
    words = [sys.executable, home / door, *model, "--split_index", "9"]
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert_one_line(done, "--split_index may be 0, 1, 2, 3, 4")


def test_a_full_disk_is_one_line_and_leaves_no_part(documented, tmp_path):
    """A limit on file size fails writes in the middle, as a full disk does."""
    resource = pytest.importorskip("resource")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    words = ("earmark", "predict", documented / "sounds", "--format", "json")
    # Not measured where coverage is: its own file would not fit either, and it says so.
    unmeasured = {name: at for name, at in os.environ.items() if "COVERAGE_PROCESS" not in name}
    done = call(*words, "--output_file", "out.json", cwd=tmp_path, preexec_fn=limit, env=unmeasured)
    assert_one_line(done, "out.json: file too large; free space or choose another place")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), (["predict", "none.wav"], 1), (["predict", "a.wav", "--top", "x"], 2)],
    ids=["done", "a fault of the input", "a wrong flag"],
)
def test_the_installed_command_ends_with_the_code_of_what_happened(tmp_path, words, code):
    script = Path(sys.executable).with_name("earmark.exe" if os.name == "nt" else "earmark")
    if not script.is_file():
        pytest.skip("the command is not installed beside this Python")
    done = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    assert (done.stdout == b"") == bool(code)
    assert done.stderr.count(b"\n") == (0, 2, 1)[code]
