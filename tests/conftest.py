"""Fixtures that all tests share: the real ESC-10 recordings and small made-up sounds."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile


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
