"""What a header says of a file, whatever decodes it."""

import sys

import pytest

from earmark.io.shape import declared_shape, shape_of
from tests.io.encoded import RATE, encoded
from tests.io.test_media import made, tone


def test_of_what_libsndfile_reads(tmp_path):
    (tmp_path / "a").write_bytes(encoded("FLAC", "PCM_16"))
    assert declared_shape(tmp_path / "a") == (RATE, 1, 1.0)


@pytest.mark.parametrize("name", ["m4a", "webm", "wma", "mka"])
def test_of_what_ffmpeg_reads(tmp_path, name):
    (tmp_path / "a").write_bytes(made(name, tone()))
    rate, channels, seconds = declared_shape(tmp_path / "a")
    assert (rate, channels) == (48_000 if name == "webm" else RATE, 1)
    assert seconds == pytest.approx(2.0, abs=0.2)
    assert shape_of(tmp_path / "a") == (rate, channels)


def test_without_pyav_it_is_not_told(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(made("m4a", tone()))
    monkeypatch.setitem(sys.modules, "av", None)
    assert declared_shape(tmp_path / "a") == (None, None, None)


def test_a_length_that_is_not_declared_is_not_guessed(tmp_path):
    (tmp_path / "aac").write_bytes(made("aac", tone()))
    assert declared_shape(tmp_path / "aac") == (RATE, 1, None)
    (tmp_path / "joined").write_bytes(2 * made("m4a", tone()))
    assert declared_shape(tmp_path / "joined") == (None, None, None)


def test_what_is_no_audio_has_no_shape(tmp_path):
    (tmp_path / "a").write_bytes(b"no audio")
    assert declared_shape(tmp_path / "a") == (None, None, None)
