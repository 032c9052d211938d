"""No command replaces what it reads, or a recording."""

import pytest

from earmark import cli
from tests.io.encoded import encoded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a recording, a table, a split file and a model directory of names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(encoded("WAV", "PCM_16"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.json").write_text("{}")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/split_0.pkl").write_bytes(b"a split")
    (tmp_path / "recording.onnx").write_bytes(encoded("FLAC", "PCM_16"))
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds/split_0.pkl").write_bytes(encoded("OGG", "VORBIS"))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "evaluate --model_dir run --audio_file a.wav --output_file a.wav",
        "evaluate --model_dir run --audio_file a.wav --output_file run/model.json",
        "evaluate --model_dir run --output_file splits/split_0.pkl",
        "evaluate --model_dir run --output_file a.wav",
        "predict a.wav --model_dir run --output_file run/../run/model.json",
        "export --model_dir run --out recording.onnx --no_verify",
        "export --out recording.onnx --clips recording.onnx",
        "prepare sounds --out sounds",
    ],
)
def test_an_output_that_is_read_or_is_audio_is_refused_first(folder, capsys, words):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cli.main(words.split()) == 1
    line = capsys.readouterr().err
    assert "would be replaced" in line
    assert line.count("\n") == 1
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before
