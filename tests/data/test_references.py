"""Split files that refer to the cache: small, strict, and whole again from the audio."""

import os
import pickle
import shutil

import numpy as np
import pytest

from earmark.config import FrontEndSettings
from earmark.data.cache.store import FeatureCache
from earmark.data.dataset import build_dataset, write_splits
from earmark.data.readers import read_dataset
from earmark.data.splits import read_split, split_path
from earmark.errors import SplitError

SETTINGS = FrontEndSettings(8_000, 256, 160, 8, 50.0, 4_000.0, 1e-6)


@pytest.fixture
def sounds(tone, tmp_path):
    """Two classes of four sounds of different lengths."""
    for label in ("a", "b"):
        for number in range(4):
            name = f"sounds/{label}/{number}.wav"
            seed = number + 10 * (label == "b")
            tone(name, seconds=0.2 + 0.1 * number, sample_rate=8_000, seed=seed)
    return tmp_path / "sounds"


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def splits(sounds, cache, tmp_path):
    """A folder with two splits that refer to the cache."""
    dataset = build_dataset(read_dataset(sounds), SETTINGS, folds=2, cache=cache)
    write_splits(dataset, tmp_path / "splits")
    return tmp_path / "splits"


@pytest.fixture
def plain(sounds):
    """The first split of the same dataset, made in memory."""
    return build_dataset(read_dataset(sounds), SETTINGS, folds=2).split(0)


def assert_same(split, other):
    assert (split.classes, split.fingerprint) == (other.classes, other.fingerprint)
    assert split.front_end == other.front_end
    for mine, its in ((split.train, other.train), (split.test, other.test)):
        assert mine.paths == its.paths
        assert mine.groups == its.groups
        assert np.array_equal(mine.labels, its.labels)
        assert np.array_equal(mine.frames, its.frames)
        assert np.array_equal(mine.together(), its.together())


def content_of(path):
    with path.open("rb") as file:
        return pickle.load(file)


def fault_of(splits, cache):
    with pytest.raises(SplitError) as caught:
        read_split(splits, 0, cache=cache)
    message = str(caught.value)
    assert message.startswith(f"{split_path(splits, 0)}: ")
    assert "\n" not in message
    return message


def test_references_give_the_frames_they_stand_for(splits, cache, plain):
    content = content_of(split_path(splits, 0))
    assert content["version"] == 2
    assert "features" not in content["train"]
    assert_same(read_split(splits, 0, cache=cache), plain)


def test_self_contained_files_are_those_of_before_and_need_no_cache(sounds, cache, tmp_path, plain):
    dataset = build_dataset(read_dataset(sounds), SETTINGS, folds=2, cache=cache)
    write_splits(dataset, tmp_path / "out", self_contained=True)
    content = content_of(split_path(tmp_path / "out", 0))
    assert content["version"] == 1
    assert np.array_equal(content["train"]["features"], plain.train.together())
    shutil.rmtree(sounds)
    assert_same(read_split(tmp_path / "out", 0, cache=FeatureCache(tmp_path / "none")), plain)


def test_without_a_cache_files_are_self_contained(sounds, tmp_path):
    dataset = build_dataset(read_dataset(sounds), SETTINGS, folds=2)
    write_splits(dataset, tmp_path / "out")
    assert content_of(split_path(tmp_path / "out", 0))["version"] == 1


def test_a_cleared_cache_is_filled_again_from_the_audio(splits, cache, plain):
    cache.clear()
    watched = []

    def watch(results, total):
        watched.append(total)
        return results

    assert_same(read_split(splits, 0, cache=cache, watch=watch), plain)
    assert_same(read_split(splits, 0, cache=cache, watch=watch), plain)
    assert watched == [8]


def test_audio_given_by_a_relative_path_is_found_from_any_folder(
    sounds, cache, tmp_path, plain, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    dataset = build_dataset(read_dataset(sounds.relative_to(tmp_path)), SETTINGS, folds=2)
    assert not dataset.clips[0].clip.path.is_absolute()
    dataset = build_dataset(
        read_dataset(sounds.relative_to(tmp_path)), SETTINGS, folds=2, cache=cache
    )
    write_splits(dataset, tmp_path / "splits")
    cache.clear()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = read_split(tmp_path / "splits", 0, cache=cache)
    assert np.array_equal(found.train.together(), plain.train.together())


def test_on_a_machine_without_cache_and_audio_the_line_says_what_helps(splits, cache, sounds):
    cache.clear()
    (sounds / "a" / "0.wav").unlink()
    message = fault_of(splits, cache)
    assert "1 of 8 clips cannot be made again" in message
    assert f"{sounds / 'a' / '0.wav'}: no such file" in message
    assert "earmark prepare DATASET" in message
    assert "--self_contained" in message


def test_another_recording_in_the_place_of_one_is_no_substitute(splits, cache, sounds):
    cache.clear()
    shutil.copy(sounds / "b" / "1.wav", sounds / "a" / "1.wav")
    assert f"{sounds / 'a' / '1.wav'}: is another recording than it was" in fault_of(splits, cache)


@pytest.mark.parametrize("what", ["digest", "count", "folder", "front end", "leak"])
def test_a_referring_file_is_read_strictly(splits, cache, what):
    path = split_path(splits, 0)
    content = content_of(path)
    train = content["train"]
    if what == "digest":
        train["digests"] = np.array(["../../etc/passwd", *train["digests"][1:]])
    elif what == "count":
        train["labels"] = train["labels"][1:]
    elif what == "folder":
        del content["folder"]
    elif what == "front end":
        content["front_end"] = {}
    else:
        content["test"] = train
    path.write_bytes(pickle.dumps(content))
    expected = {
        "digest": "'../../etc/passwd', which is no SHA-256",
        "count": "is inconsistent",
        "folder": "is not a usable split",
        "front end": "FrontEndSettings lacks",
        "leak": "leaks",
    }
    assert expected[what] in fault_of(splits, cache)


def test_reading_a_split_marks_its_features_as_used(splits, cache):
    (pack,) = cache.folder.rglob("*.frames")
    os.utime(pack, (0, 0))
    read_split(splits, 0, cache=cache)
    assert pack.stat().st_mtime > 10**9
