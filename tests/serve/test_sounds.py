"""Verdicts are rows of a table beside their clips; the last ones can be taken back."""

import numpy as np
import pytest
import soundfile

from earmark.errors import DatasetError, EarmarkError, StorageError
from earmark.serve.sounds import SoundsFolder, clean_label
from earmark.serve.training_process import count_folds

RATE = 8_000


def tone(seconds):
    return np.full(round(seconds * RATE), 1000, np.int16)


def test_verdicts_are_rows_and_long_recordings_pieces_of_one_group(tmp_path):
    sounds = SoundsFolder(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    assert sounds.add(tone(1.0), RATE, "kettle, blue", "a") == 1
    assert sounds.add(tone(10.1), RATE, "door", "b") == 2  # what is left over is too short
    assert sounds.counts == {"door": 2, "kettle, blue": 1}
    lines = sounds.table.read_text().splitlines()
    assert lines[0] == "path,label,group"
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == ["a", "b", "b"]
    for row in sounds.rows:
        assert soundfile.info(sounds.folder / row.path).samplerate == RATE
    again = SoundsFolder(tmp_path / "own")
    assert again.rows == sounds.rows


def test_two_servers_do_not_share_a_folder(tmp_path):
    first, second = SoundsFolder(tmp_path / "own"), SoundsFolder(tmp_path / "own")
    first.add(tone(1.0), RATE, "door", "a")
    with pytest.raises(StorageError, match="give another --sounds"):
        second.add(tone(1.0), RATE, "bell", "b")
    first.release()
    second.add(tone(1.0), RATE, "bell", "b")  # and what the first one added is kept
    second.release()
    assert SoundsFolder(tmp_path / "own").counts == {"bell": 1, "door": 1}


def test_a_table_that_cannot_be_written_leaves_all_as_it_was(tmp_path, monkeypatch):
    sounds = SoundsFolder(tmp_path)
    sounds.add(tone(1.0), RATE, "kept", "a")
    before, clips = sounds.rows, set((tmp_path / "clips").iterdir())

    def full(*_):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("earmark.serve.sounds.write_text", full)
        for change in (lambda: sounds.add(tone(6.0), RATE, "late", "b"), sounds.undo):
            with pytest.raises(OSError):
                change()
    assert (sounds.rows, sounds.undoable) == (before, 1)
    assert set((tmp_path / "clips").iterdir()) == clips
    undone = sounds.undo()
    assert undone is not None
    assert undone.verdicts == tuple(before)
    assert SoundsFolder(tmp_path).rows == []


def test_the_last_verdicts_are_taken_back_and_no_others(tmp_path):
    before = SoundsFolder(tmp_path)
    before.add(tone(1.0), RATE, "kept", "a")
    before.release()
    sounds = SoundsFolder(tmp_path)
    for label in ("one", "two"):
        sounds.add(tone(6.0), RATE, label, "b")
    gone = [sounds.undo() for _ in range(3)]
    assert [step.verdicts[0].label if step else None for step in gone] == ["two", "one", None]
    assert [row.label for row in sounds.rows] == ["kept"]
    assert len(list((tmp_path / "clips").iterdir())) == 1


def test_a_recording_that_came_in_pieces_is_taken_back_whole(tmp_path):
    sounds = SoundsFolder(tmp_path)
    sounds.add(tone(1.0), RATE, "door", "a")
    for group, recording in (("b", "one"), ("c", "two"), ("d", "one")):
        sounds.add(tone(6.0), RATE, "background", group, recording=recording)
    sounds.add(tone(1.0), RATE, "door", "e")
    assert sounds.undoable == 4
    gone = [[row.group for row in step.verdicts] for _ in range(5) if (step := sounds.undo())]
    assert gone == [["e"], ["b", "b", "d", "d"], ["c", "c"], ["a"]]
    assert sounds.rows == []
    assert list((tmp_path / "clips").iterdir()) == []


def test_a_table_of_another_form_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("file,class\na.wav,dog\n")
    with pytest.raises(DatasetError, match="lacks one of the columns"):
        SoundsFolder(tmp_path)
    whole = "path,label,group,site\na.wav,dog,a,north\n"
    (tmp_path / "labels.csv").write_text(whole)
    with pytest.raises(DatasetError, match="has a column site, which the first verdict would"):
        SoundsFolder(tmp_path)
    assert (tmp_path / "labels.csv").read_text() == whole


def test_the_choice_of_a_model_names_only_what_is_there(tmp_path):
    sounds = SoundsFolder(tmp_path)
    sounds.choose("1", "../../x")
    assert sounds.chosen == {"used": "", "before": ""}
    (tmp_path / "models" / "1").mkdir(parents=True)
    sounds.model_path("1").write_bytes(b"x")
    assert sounds.chosen == {"used": "1", "before": ""}
    assert sounds.new_model() == "2"


@pytest.mark.parametrize("text", ["{", "[]", '"1"', "null"])
def test_a_record_of_the_choice_that_is_no_object_chooses_none_and_is_said(tmp_path, text):
    sounds = SoundsFolder(tmp_path)
    sounds.model_path("1").parent.mkdir(parents=True)
    sounds.model_path("1").write_bytes(b"x")
    sounds.choose("1", "")
    assert (sounds.chosen["used"], sounds.choice_fault) == ("1", "")
    (tmp_path / "model.json").write_text(text)
    assert sounds.chosen == {"used": "", "before": ""}
    assert sounds.choice_fault.startswith(f"{tmp_path / 'model.json'}: ")
    (tmp_path / "models" / "1" / "report.json").write_text(text)
    assert sounds.report("1") is None


def test_folds_need_two_classes_with_two_recordings(tmp_path):
    sounds = SoundsFolder(tmp_path)
    sounds.add(tone(1.0), RATE, "a", "1")
    sounds.add(tone(1.0), RATE, "background", "2")
    with pytest.raises(EarmarkError, match="only a has clips so far; at least 2 classes"):
        count_folds(sounds)
    sounds.add(tone(1.0), RATE, "b", "3")
    with pytest.raises(EarmarkError, match="3 recordings of each class"):
        count_folds(sounds)
    for group in "456":
        sounds.add(tone(1.0), RATE, "a", group)
        sounds.add(tone(1.0), RATE, "b", group)
    assert count_folds(sounds) == 4


def test_names_of_classes_are_one_line():
    assert clean_label(" my\n kettle\0 ") == "my kettle"
    assert clean_label("None of these") == clean_label("Background") == "background"
    assert clean_label(3) == clean_label("  ") == ""
