"""One walk over folders, links and patterns; outputs that replace no input."""

import inspect
import os
import sys
import unicodedata
from pathlib import Path

import pytest

from earmark.errors import EarmarkError
from earmark.io import outputs, paths
from tests.io.encoded import encoded

posix = pytest.mark.skipif(os.name != "posix", reason="needs links")


@pytest.fixture
def tree(tmp_path):
    """Write small files below the test's folder."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"text")
        return tmp_path

    return make


def names(folder, found):
    return [str(path.relative_to(folder)) for path in found.files]


def left(folder, found):
    return {
        reason: [str(path.relative_to(folder)) for path in paths]
        for reason, paths in found.left_out.items()
    }


@pytest.mark.parametrize(
    ("name", "is_audio"),
    [
        *[("a.ogg", 1), ("a.b.AIFC", 1), ("A.M4A", 1), ("a.mkv", 1), ("a.wma", 1)],
        *[("a.csv", 0), ("wav", 0), (".wav", 0), ("a", 0), ("a.ts", 0)],
    ],
)
def test_audio_is_guessed_by_its_suffix(tmp_path, name, is_audio):
    assert paths.has_audio_suffix(tmp_path / name) == bool(is_audio)


def test_files_come_in_a_fixed_order_and_the_rest_is_counted(tree):
    folder = tree("b.wav", "a/z.FLAC", "a.wav", "notes.txt", ".hidden.wav", "__MACOSX/a.wav",
                  "__a.wav", ".git/a.wav", "x/.y/a.wav")  # fmt: skip
    found = paths.walk(folder)
    assert names(folder, found) == ["__a.wav", "a/z.FLAC", "a.wav", "b.wav"]
    assert left(folder, found) == {
        "not audio": ["notes.txt"],
        "hidden": [".git", ".hidden.wav", "__MACOSX", "x/.y"],
    }
    assert found.summary().startswith("left out: 4 hidden (")
    assert "1 not audio (" in found.summary()
    assert found.faults == []


def test_audio_of_another_name_is_found_by_its_bytes(tmp_path):
    for name in ("a.dat", "a", "a.ts", "a.wav.part"):
        (tmp_path / name).write_bytes(encoded("FLAC", "PCM_16"))
    (tmp_path / "b.ts").write_text("export const a = 1;\n")
    found = paths.walk(tmp_path)
    assert names(tmp_path, found) == ["a", "a.dat", "a.ts", "a.wav.part"]
    assert left(tmp_path, found) == {"not audio": ["b.ts"]}


@posix
def test_links_are_followed_once(tree, tmp_path):
    tree("store/b.wav", "night/here/a.wav")
    (tmp_path / "night/a_disk").symlink_to("../store")
    (tmp_path / "night/again").symlink_to("here")  # its own name wins
    (tmp_path / "night/here/loop").symlink_to("..")
    (tmp_path / "night/file.wav").symlink_to("here/a.wav")
    found = paths.walk(tmp_path / "night")
    assert names(tmp_path / "night", found) == ["a_disk/b.wav", "file.wav", "here/a.wav"]
    assert left(tmp_path / "night", found) == {
        "folders that a link leads to again": ["again", "here/loop"]
    }


@posix
def test_a_link_to_nothing_is_a_recording_that_cannot_be_read(tmp_path):
    (tmp_path / "not_fetched.wav").symlink_to(".git/annex/objects/a.wav")
    (tmp_path / "old.txt").symlink_to("gone.txt")
    (tmp_path / "me.wav").symlink_to("me.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    found = paths.walk(tmp_path)
    assert names(tmp_path, found) == ["me.wav", "not_fetched.wav"]
    assert left(tmp_path, found) == {
        "links to nothing": ["old.txt"],
        "pipes, sockets or devices": ["pipe.wav"],
    }


def test_a_tree_of_folders_deeper_than_python_recurses_is_walked(tree):
    folder = tree("d/" * 200 + "a.wav")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = paths.walk(folder)
    finally:
        sys.setrecursionlimit(limit)
    assert len(found.files) == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_fault(tree):
    folder = tree("a/a.wav")
    (folder / "a").chmod(0)
    try:
        assert "cannot be searched (Permission denied)" in paths.walk(folder).faults[0]
    finally:
        (folder / "a").chmod(0o755)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system knows one spelling")
def test_names_that_only_look_alike_are_named(tree):
    folder = tree(*(unicodedata.normalize(form, "Müll.wav") for form in ("NFC", "NFD")))
    found = paths.walk(folder)
    assert len(found.files) == 2
    assert len(found.twins) == 1
    assert "Müll.wav: is the name of 2 files that differ only" in found.twins[0]


def test_arguments_are_files_folders_and_patterns(tree, monkeypatch):
    monkeypatch.chdir(tree("a.wav", "b/c.wav", "b/d.txt", "e[1].wav", "f1.wav", "f2.txt"))
    found = paths.expand(["a.wav", "b", "e[1].wav", "f*", "a.wav", "missing.wav"])
    assert [str(path) for path in found.files] == [
        *("a.wav", "b/c.wav", "e[1].wav", "f1.wav", "f2.txt", "missing.wav")
    ]
    assert found.faults == []
    assert found.summary() == "left out: 1 not audio (b/d.txt)"


def test_a_bad_argument_does_not_stop_the_others(tree, monkeypatch):
    monkeypatch.chdir(tree("a.wav", "texts/d.txt"))
    os.makedirs("empty")  # noqa: PTH103
    long = "x" * 300 + ".wav"
    found = paths.expand(["missing[2].wav", "empty", "texts", "a.wav", long, "\0.wav"])
    assert [str(path) for path in found.files] == ["a.wav", long, "\0.wav"]
    assert found.faults == [
        "missing[2].wav: no file matches; check the pattern",
        "empty: holds no audio files",
        "texts: holds no audio files, but 1 not audio (texts/d.txt)",
    ]


# --- outputs --------------------------------------------------------------------------------------


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "hard.wav").hardlink_to(tmp_path / "a.wav")
    (tmp_path / "soft.txt").symlink_to("a.wav")
    (tmp_path / "sub").mkdir()
    names = ["a.wav", "./a.wav", "sub/../a.wav", tmp_path / "a.wav", "hard.wav", "soft.txt"]
    for output in names:
        with pytest.raises(EarmarkError, match=r"is an input.* would be replaced"):
            outputs.refuse_replacing(output, ["b.wav", "a.wav"])
    for output in ("b.txt", "a.wav.txt", "sub", "/dev/stdout", "/dev/null"):
        outputs.refuse_replacing(output, ["a.wav", "/dev/null"])


def test_of_many_outputs_each_is_held_against_each_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        Path(name).write_bytes(b"sound")
    Path("link.txt").symlink_to("b.wav")
    outputs.refuse_outputs([Path("x.txt"), Path("y.txt")], ["a.wav", "b.wav"])
    with pytest.raises(EarmarkError, match=r"link.txt: is an input \(b.wav\)"):
        outputs.refuse_outputs([Path("x.txt"), Path("link.txt")], ["a.wav", "b.wav"])


def test_an_output_that_is_a_missing_input_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarmarkError, match="is an input"):
        outputs.refuse_replacing("./a.wav", ["a.wav"])


def test_a_table_never_replaces_audio(tmp_path):
    path = tmp_path / "a.txt"
    outputs.refuse_audio(path)
    for data in (b"source,onset\n", b"", b"{}"):
        path.write_bytes(data)
        outputs.refuse_audio(path)
    for data in (encoded("FLAC", "PCM_16"), encoded("MP3"), encoded("WAV", "PCM_16")[:60]):
        path.write_bytes(data)
        with pytest.raises(EarmarkError, match=r"is audio \(.*\) and would be replaced"):
            outputs.refuse_audio(path)
