"""Where the splits are looked for."""

from pathlib import Path

from earmark.commands.flags import splits_folder


def test_the_folder_given_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splits").mkdir()
    assert splits_folder("else/where", tmp_path) == Path("else/where")


def test_splits_here_go_before_splits_beside_the_scripts(tmp_path, monkeypatch):
    here, beside = tmp_path / "here", tmp_path / "beside"
    (beside / "splits").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    assert splits_folder(None, beside) == beside / "splits"
    assert splits_folder(None, here) == Path("splits")
    assert splits_folder(None, None) == Path("splits")
    (here / "splits").mkdir()
    assert splits_folder(None, beside) == Path("splits")
