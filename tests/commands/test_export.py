"""`earmark export`: verified, smaller on request, and never a file where it was refused."""

import re

import pytest

from earmark import Classifier
from tests.processes import assert_one_line, call_here


def test_a_file_is_verified_and_fewer_bits_make_it_smaller(own, own_run, tmp_path):
    out = tmp_path / "model.onnx"
    clip = own / "sounds" / "low" / "1.wav"
    words = ("export", "--model_dir", own_run, "--out", out)
    done = call_here("earmark", *words, "--clips", clip, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "verified on 13 clips" in done.stdout
    exported, trained = Classifier.load(out), Classifier.load(own_run)
    assert exported.predict(clip).scores == pytest.approx(trained.predict(clip).scores, abs=1e-5)


def test_the_bundled_model_is_exported_in_fewer_bits(tmp_path):
    out = tmp_path / "model.onnx"
    words = ("export", "--out", out, "--quantize", "int8", "--no_verify")
    small = call_here("earmark", *words, cwd=tmp_path)
    assert small.returncode == 0, small.stderr
    sizes = re.findall(r"(\w+): (\d\.\d\d) MB", small.stdout)
    assert [name for name, _ in sizes] == ["float32", "int8", "onnx"]
    assert float(sizes[1][1]) < 0.5 * float(sizes[0][1])
    assert "was not measured" in small.stdout
    assert Classifier.load(out).classes == Classifier.load().classes


def test_wrong_flags_are_one_line_and_write_nothing(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    for flags, said in (
        (["--out", "model.txt"], "must end in .onnx"),
        (["--out", "folder.onnx"], "is a directory"),
        (["--out", "a.onnx", "--no_verify", "--clips", "a.wav"], "leave out --no_verify"),
        (["--out", "a.onnx", "--clips", "a.wav"], "a.wav"),
        (["--out", "a.onnx", "--dataset", "."], "add --quantize int8"),
        (["--out", "a.onnx", "--quantize", "int8", "--dataset", "none"], "none"),
        (["--out", "a.onnx", "--model_dir", "nothing"], "no such model directory"),
    ):
        assert_one_line(call_here("earmark", "export", *flags, cwd=tmp_path), said)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.onnx"]
