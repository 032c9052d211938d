"""Fixtures that all tests share: real recordings, made-up sounds, and what a training leaves.

Runs that many tests only read are made once, also where several workers run the tests.
"""

import os

# Before numpy and torch are loaded: workers side by side need no more threads than they are.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import functools
import gc
import hashlib
import shutil
import stat
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from earmark.data.dataset import generate_negative_frames
from earmark.data.splits import write_split
from earmark.evaluation import pictures
from earmark.io.files import write_bytes
from tests.builders import small_split, write_sounds
from tests.processes import call_here

PICTURE = b"\x89PNG" + bytes(1_000)  # where none is drawn
QUICK = ("--num_epochs", "2", "--batch_size", "8", "--hidden_size", "8", "--num_layers", "1")
OWN_RECIPE = """
[front_end]
sample_rate = 8000
n_fft = 256
hop_length = 160
n_mels = 16
high_hz = 4000.0

[training]
num_epochs = 10
crops_per_clip = 4
batch_size = 8
learning_rate = 0.02
dropout = 0.1
hidden_size = 12
num_layers = 1
stack = 1
delta = 0
convolutions = [[6, 3, 3, 2, 2]]
clip_seconds = 0.5
ema_decay = 0.9
mel_mask = 2
negatives_probability = 0.1
"""


def pytest_collection_finish():
    """Spare the collections of garbage that training asks for all that importing has left."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def trainings_collect_little():
    """Spare them also what a module has imported and made first."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def features_kept(tmp_path_factory):
    """Keep features in a cache of the tests, one for all workers, not in the user's."""
    folder = _root(tmp_path_factory) / "shared-cache"
    with mock.patch.dict(os.environ, {"EARMARK_CACHE": str(folder)}):
        yield


@pytest.fixture(scope="session", autouse=True)
def negatives_kept(tmp_path_factory):
    """Generate clips of no class, seconds of work for each training, once for all workers."""
    folder = _root(tmp_path_factory) / "shared-negatives"
    folder.mkdir(exist_ok=True)

    @functools.wraps(generate_negative_frames)
    def kept(*words):
        file = folder / f"{hashlib.sha256(repr(words).encode()).hexdigest()}.npy"
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                np.save(file.with_suffix(".part.npy"), generate_negative_frames(*words))
                file.with_suffix(".part.npy").rename(file)
        return np.load(file, mmap_mode="c")

    with contextlib.ExitStack() as patches:
        for place in ("data.dataset", "training.augment"):
            patches.enter_context(mock.patch(f"earmark.{place}.generate_negative_frames", kept))
        yield


@pytest.fixture(scope="session", autouse=True)
def disk_not_awaited():
    """Let files be written without waiting for the disk: no test ends with the power."""
    fsync = os.fsync

    def hardly(number):
        if not stat.S_ISREG(os.fstat(number).st_mode):
            fsync(number)

    with mock.patch("os.fsync", hardly):
        yield


@pytest.fixture(scope="session", autouse=True)
def drawn():
    """A context in which pictures are drawn; outside it none is, at the price of a training."""
    draw = pictures._save
    with mock.patch.object(pictures, "_save", lambda _, path: write_bytes(path, PICTURE)):
        yield lambda: mock.patch.object(pictures, "_save", draw)


@pytest.fixture(autouse=True)
def drawn_where_marked(request, drawn):
    with drawn() if request.node.get_closest_marker("draws") else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session")
def documented(tmp_path_factory, drawn):
    """A folder with five splits, `sounds/`, and in `models/` a finished run of the script.

    Its pictures are drawn.
    """

    def make(folder):
        for index in range(5):
            write_split(folder / "splits", small_split(index=index))
        with drawn():
            done = call_here("lstm_classifier_train.py", *QUICK, cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "sounds").mkdir()
        for name in ("b.wav", "a.WAV"):
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000)
            soundfile.write(folder / "sounds" / name, noise, 8_000, format="WAV")

    yield from _made_once(tmp_path_factory, "documented", make)


@pytest.fixture(scope="session")
def documented_run(documented):
    """The finished run of `documented`."""
    return next((documented / "models").iterdir())


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """A folder with sounds of one's own in `sounds/`, and a recipe in `small.toml`."""

    def make(folder):
        write_sounds(folder / "sounds")
        (folder / "small.toml").write_text(OWN_RECIPE, encoding="utf-8")

    yield from _made_once(tmp_path_factory, "own", make)


@pytest.fixture(scope="session")
def own_run(tmp_path_factory, own):
    """A finished run on all sounds of `own`."""

    def make(folder):
        words = ("train", own / "sounds", "--recipe", own / "small.toml", "--all_clips")
        done = call_here("earmark", *words, "--output_dir", folder, cwd=folder)
        assert done.returncode == 0, done.stderr

    for folder in _made_once(tmp_path_factory, "own-run", make):
        yield next(folder.iterdir())


@pytest.fixture(scope="session")
def own_crossval(tmp_path_factory, own):
    """A folder with a cross-validation of `own`: two seeds, three folds, each class left out."""

    def make(folder):
        words = ("crossval", own / "sounds", "--recipe", own / "small.toml", "--folds", 3)
        more = ("--num_epochs", 6, "--name", "small", "--seeds", 2, "--leave_out")
        places = ("--out", "results", "--runs", "runs")
        done = call_here("earmark", *words, *more, *places, cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stdout, encoding="utf-8")

    yield from _made_once(tmp_path_factory, "own-crossval", make)


def _made_once(factory, name, make):
    """Yield a folder that `make` has filled, one for all workers; a test must not change it."""
    root = _root(factory)
    folder, done = root / f"shared-{name}", root / f"shared-{name}.done"
    with FileLock(root / f"shared-{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # an attempt that failed
            folder.mkdir()
            make(folder)
            done.touch()
    before = _content(folder)
    yield folder
    assert _content(folder) == before, f"a test has changed what others read in {folder}"


def _root(factory):
    """Return the temporary folder of all workers."""
    root = factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # each has its own below


def _content(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="session")
def esc10():
    """The folder of the real ESC-10 recordings, in their original layout."""
    folder = os.environ.get("EARMARK_ESC10")
    if not folder:
        pytest.skip("EARMARK_ESC10 does not name the folder of ESC-10")
    return Path(folder)


def _waveform(seconds=0.5, sample_rate=16_000, channels=1, hz=440.0, seed=0):
    """A tone with a little noise, `(samples, channels)`, peak below 0.5; each channel differs."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    loudness = 0.4 / np.arange(1, channels + 1)
    tone = np.sin(2 * np.pi * hz * time)[:, None] * loudness
    return tone + rng.uniform(-0.02, 0.02, tone.shape)


@pytest.fixture
def waveform():
    """The samples that `tone` writes, for the same arguments."""
    return _waveform


@pytest.fixture
def tone(tmp_path):
    """Write a small audio file and return its path; further options go to `soundfile.write`."""

    def write(name, *, seconds=0.5, sample_rate=16_000, channels=1, hz=440.0, seed=0, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path, _waveform(seconds, sample_rate, channels, hz, seed), sample_rate, **options
        )
        return path

    return write


@pytest.fixture
def touch(tmp_path):
    """Make empty files below the test's folder, for code that only looks at names."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make
