"""A stretch that was gone to is the one that decoding from the begin gives."""

import numpy as np
import pytest
import soundfile

from earmark.io.decode import read
from earmark.io.stretch import seek

RATE = 16_000


def noise(seconds, channels=1):
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((round(seconds * 44_100), channels))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_stretch_is_that_of_the_whole_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(8.0), 44_100)
    whole = read(path, RATE)[round(4.3 * RATE) : round(5.8 * RATE)]
    found = seek(path, RATE, start=4.3, seconds=1.5)
    assert found is not None
    assert len(found) == len(whole)
    inner = slice(400, -400)  # resampling knows nothing of what lies beside the stretch
    assert np.abs(found - whole)[inner].max() < 0.01 * whole.std()


def test_the_end_is_short_and_beyond_it_there_is_nothing(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(2.0), 44_100)
    end = seek(path, RATE, start=1.5, seconds=10.0)
    assert end is not None
    assert len(end) == RATE // 2
    assert seek(path, RATE, start=2.5, seconds=1.0) is None
    path.write_bytes(b"no audio")
    assert seek(path, RATE, start=0.0, seconds=1.0) is None
    assert seek(tmp_path / "none.wav", RATE, start=0.0, seconds=1.0) is None


def test_channels_that_cancel_are_not_mixed(tmp_path):
    one = noise(2.0)
    soundfile.write(tmp_path / "a.wav", np.hstack([one, -one]), 44_100)
    found = seek(tmp_path / "a.wav", RATE, start=0.5, seconds=1.0)
    assert found is not None
    assert found.std() > 0.03
