"""`earmark embed` and `earmark similar`: files to a table, and the nearest in it."""

import csv

import numpy as np
import pytest
import soundfile

from earmark import Classifier
from earmark.output.embeddings import read_table
from tests.processes import assert_one_line, call_here
from tests.runtime.builders import sound


@pytest.fixture
def night(tmp_path):
    """A folder with a recording of six seconds and two clips."""
    (tmp_path / "night").mkdir()
    for seed, (name, seconds) in enumerate({"long": 6.0, "one": 1.0, "two": 1.0}.items()):
        soundfile.write(tmp_path / "night" / f"{name}.wav", sound(seconds, seed=seed), 8_000)
    return tmp_path


def table_of(folder, run, *words, out="all.npz"):
    return call_here("earmark", "embed", "night", "--out", out, "--model", run, *words, cwd=folder)


def similar(folder, run, clip, table="all.npz", *words):
    return call_here("earmark", "similar", clip, table, "--model", run, *words, cwd=folder)


@pytest.mark.parametrize("out", ["all.npz", "all.parquet"])
def test_every_file_gets_a_row_and_is_found_again(night, documented_run, out):
    done = table_of(night, documented_run, out=out)
    assert done.returncode == 0, done.stderr
    classifier = Classifier.load(documented_run)
    (part,) = read_table(night / out, model=classifier.info.identity)
    assert part.paths == ["night/long.wav", "night/one.wav", "night/two.wav"]
    assert part.onsets.tolist() == [0.0] * 3
    clips = [night / name for name in part.paths]
    np.testing.assert_allclose(part.embeddings, classifier.embed(clips), atol=1e-6)
    found = similar(night, documented_run, "night/two.wav", out, "--top", 2, "--format", "csv")
    assert found.returncode == 0, found.stderr
    first, second = csv.DictReader(found.stdout.splitlines())
    assert (first["path"], first["cosine"]) == ("night/two.wav", "1.000000")
    assert float(second["cosine"]) < 1
    lines = similar(night, documented_run, "night/one.wav", out).stdout.splitlines()
    assert lines[0] == "1.000  night/one.wav  0.00 s"
    assert len(lines) == 3


def test_every_second_of_a_long_file_gets_a_row(night, documented_run):
    assert table_of(night, documented_run, "--every", "1").returncode == 0
    classifier = Classifier.load(documented_run)
    (part,) = read_table(night / "all.npz", model=classifier.info.identity)
    assert part.paths.count("night/long.wav") == 6
    np.testing.assert_allclose(part.onsets[:6], range(6), atol=0.1)
    segments = classifier.embed_segments(night / "night" / "long.wav")
    np.testing.assert_array_equal(part.embeddings[:6], [s.vector for s in segments])


def test_files_that_cannot_be_read_are_named_and_the_others_finished(night, documented_run):
    (night / "night" / "bad.wav").write_bytes(b"RIFF no audio")
    done = table_of(night, documented_run)
    assert done.returncode == 1
    assert "unreadable: night/bad.wav" in done.stderr
    assert "1 of 4 files could not be embedded" in done.stderr
    assert "3 rows" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--every", "61"), "--every must be from 0 to 60"),
        (("--out", "all.txt"), "all.txt: must end in .parquet or .npz"),
        (("--out", "gone.txt/a.npz"), "gone.txt"),
    ],
)
def test_faults_of_embed_are_one_line(night, documented_run, words, said):
    (night / "gone.txt").touch()
    assert_one_line(table_of(night, documented_run, *words), said)


def test_faults_of_similar_are_one_line(night, documented_run, own_run):
    assert table_of(night, documented_run).returncode == 0
    clip = "night/one.wav"
    assert_one_line(similar(night, own_run, clip), "all.npz: holds embeddings of another model")
    assert_one_line(similar(night, documented_run, clip, "no.npz"), "no.npz: no such file")
    assert_one_line(similar(night, documented_run, "no.wav"), "no.wav")
    assert_one_line(similar(night, documented_run, clip, "all.npz", "--top", 0), "--top must be")
    assert_one_line(similar(night, documented_run, clip, "a.csv"), "must end in .parquet or .npz")
