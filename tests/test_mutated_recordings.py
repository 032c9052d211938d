"""Files that were cut, flipped, joined and renamed: an answer for all of it, or a line about it."""

import pytest

from tools import mutate_recordings


@pytest.mark.parametrize("seed", [0, 1])
def test_no_change_of_a_recording_is_passed_over_in_silence(esc10, seed, capfd):
    clips = sorted(esc10.rglob("*.ogg"))[::57][:2]
    wrong = mutate_recordings.run(50, seed, clips)
    assert wrong == 0, capfd.readouterr().out


def test_the_judge_sees_what_is_wrong(tmp_path):
    """A check that passes everything would prove nothing."""
    path = tmp_path / "a.wav"
    case = mutate_recordings.Case(path, "join", 10.0)
    assert mutate_recordings.judge(case, 10.0, []) == ""
    assert mutate_recordings.judge(case, 5.0, []) == "5.0 s of 10.0 s, and not a word"
    assert mutate_recordings.judge(case, 5.0, [f"warning: {path}: is clipped, 9 % ..."]) != ""
    assert mutate_recordings.judge(case, 5.0, [f"unreadable: {path}: truncated"]) == ""
    assert mutate_recordings.judge(case, None, []) == "neither an answer nor a fault"
    cut = mutate_recordings.Case(path, "cut", 1.0, fault=True)
    assert mutate_recordings.judge(cut, 2.0, []) == "cut, and not a word"
