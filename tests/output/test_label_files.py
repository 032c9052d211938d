"""Label files: one for each recording, in a folder."""

import re
from pathlib import Path

import pytest

from earmark.errors import EarmarkError
from earmark.output.label_files import choose_label_files, name_label_files

TWO = [Path("a.wav"), Path("b.wav")]


def test_each_recording_has_the_file_of_its_name():
    files = name_label_files(Path("out"), [Path("x/night.1.wav"), Path("dusk.flac")])
    assert files == {
        Path("x/night.1.wav"): Path("out/night.1.txt"),
        Path("dusk.flac"): Path("out/dusk.txt"),
    }


def test_names_that_are_alike_get_numbers_and_take_no_others_name():
    recordings = [
        "a/x.wav",
        "b/x.wav",
        "b/x.flac",
        "x-2.wav",
        "X.WAV",
        "caf\u00e9.wav",
        "cafe\u0301.wav",
    ]
    files = name_label_files(Path(), map(Path, recordings))
    assert [str(file) for file in files.values()] == [
        "x.txt",
        "x-3.txt",
        "x-4.txt",
        "x-2.txt",
        "X-5.txt",
        "caf\u00e9.txt",
        "cafe\u0301-2.txt",
    ]


@pytest.mark.parametrize("output", [None, "labels.txt", "new", "notes"])
def test_one_recording_is_written_as_asked(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("")
    assert choose_label_files(output, TWO[:1]) is None
    assert choose_label_files(output, []) is None


@pytest.mark.parametrize("output", ["there", "new/", "dotted.d/"])
def test_a_folder_is_one_for_a_single_recording_too(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert choose_label_files(output, TWO[:1]) == {TWO[0]: Path(output) / "a.txt"}


@pytest.mark.parametrize("output", ["there", "new", "new/", "dotted.d/"])
def test_several_recordings_go_into_a_folder(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    files = choose_label_files(output, TWO)
    assert files == {path: Path(output) / f"{path.stem}.txt" for path in TWO}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (None, "and 2 are given; add --output_file FOLDER"),
        ("labels.txt", "labels.txt: labels of Audacity name no recording, and 2 are given; give"),
        ("notes", "such as labels/"),
    ],
)
def test_several_recordings_without_a_folder_are_refused(tmp_path, monkeypatch, output, said):
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("")
    with pytest.raises(EarmarkError, match=re.escape(said)):
        choose_label_files(output, TWO)


def test_labels_beside_a_recording_may_be_made_by_hand_and_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rec").mkdir()
    recordings = [tmp_path / "rec" / "a.wav", Path("rec/b.wav")]
    assert choose_label_files("rec", recordings) is not None
    Path("rec/b.txt").write_text("0\t1\tmine\n")
    with pytest.raises(EarmarkError, match=r"rec/b\.txt: is there already, beside its recording"):
        choose_label_files("rec", recordings)
    Path("labels").mkdir()
    Path("labels/b.txt").write_text("0\t1\tof before\n")
    assert choose_label_files("labels", recordings) is not None
