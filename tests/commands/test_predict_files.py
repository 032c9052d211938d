"""What `earmark predict` says of arguments, of what it leaves out, and of odd files."""

import json
import os

import numpy as np
import pytest
import soundfile

from earmark import cli
from tests.io.encoded import encoded, noise


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with one good file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.wav").write_bytes(encoded("WAV", "PCM_16", rate=44_100))
    return tmp_path


def predict(capsys, *words):
    """Run the command; return its exit code, its output and the lines on standard error."""
    code = cli.main(["predict", *words])
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("missing.wav", "no such file; check the path"),
        ("missing[2].wav", "no file matches; check the pattern"),
        ("empty_card", "holds no audio files"),
        ("x" * 300 + ".wav", "cannot be read (File name too long)"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_argument_is_named_and_the_others_go_on(folder, capsys, bad, reason, first):
    (folder / "empty_card").mkdir()
    words = [bad, "good.wav"] if first else ["good.wav", bad]
    code, out, lines = predict(capsys, *words, "--format", "json")
    assert code == 1
    assert [item["path"] for item in json.loads(out)["predictions"]] == ["good.wav"]
    assert lines == [
        f"unreadable: {bad}: {reason}",
        "earmark: error: 1 of 2 files could not be predicted",
    ]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_folder_gives_what_its_pattern_gives_and_says_what_it_left_out(folder, capsys):
    (folder / "store").mkdir()
    (folder / "store/b.wav").write_bytes((folder / "good.wav").read_bytes())
    (folder / "night/here").mkdir(parents=True)
    (folder / "good.wav").rename(folder / "night/here/a.wav")
    (folder / "night/linked").symlink_to("../store")
    (folder / "night/not_fetched.wav").symlink_to("../.git/annex/objects/x.wav")
    (folder / "night/notes.txt").write_text("rain at two\n")
    (folder / "night/.cache").mkdir()
    code, out, lines = predict(capsys, "night", "--format", "csv")
    answered = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert answered == ["night/here/a.wav", "night/linked/b.wav"]
    assert code == 1
    assert lines[0].startswith("unreadable: night/not_fetched.wav: is a link to ../.git/annex/")
    assert lines[1] == "left out: 1 hidden (night/.cache); 1 not audio (night/notes.txt)"
    _, by_pattern, _ = predict(capsys, "night/**/*.wav", "--format", "csv")
    assert by_pattern == out


@pytest.mark.parametrize("events", [[], ["--events", "--format", "csv"]])
def test_an_output_never_replaces_a_recording(folder, capsys, events):
    before = (folder / "good.wav").read_bytes()
    (folder / "other.wav").write_bytes(before)
    (folder / "link.txt").symlink_to("good.wav")
    for output in ("other.wav", "good.wav", "./good.wav", "link.txt"):
        code, _, lines = predict(capsys, *events, "--output_file", output, "good.wav")
        assert code == 1
        assert len(lines) == 1
        assert "would be replaced" in lines[0]
    assert (folder / "good.wav").read_bytes() == (folder / "other.wav").read_bytes() == before
    code, _, _ = predict(capsys, *events, "--output_file", "table.txt", "good.wav")
    assert code == 0
    code, _, _ = predict(capsys, *events, "--output_file", "table.txt", "good.wav")
    assert code == 0  # a table replaces a table


def test_each_kind_of_warning_is_shown_five_times_and_then_counted(folder, capsys):
    for number in range(8):
        soundfile.write(f"{number}.wav", noise(0.5, number, rate=8_000), 8_000)
    code, out, lines = predict(capsys, *(f"{number}.wav" for number in range(8)))
    assert code == 0
    assert len(out.splitlines()) == 8
    assert [line.split(":")[1] for line in lines] == [
        *(f" {number}.wav" for number in range(5)),
        " 3 more like this",
    ]
    assert lines[-1].startswith("warning: 3 more like this: has a sample rate of # Hz, the model #")


def test_channels_that_cancel_give_the_answer_of_one_of_them(folder, capsys):
    one = noise(2.0, rate=44_100)
    soundfile.write("one.wav", one, 44_100, subtype="FLOAT")
    soundfile.write("both.wav", np.concatenate([one, -one], axis=1), 44_100, subtype="FLOAT")
    _, out, lines = predict(capsys, "one.wav", "both.wav", "--format", "json")
    first, second = json.loads(out)["predictions"]
    assert first["scores"] == second["scores"]
    assert [line.split(";")[0] for line in lines] == [
        "warning: both.wav: its channels cancel when they are mixed"
    ]
