"""A dataset becomes split files; a bad file is listed and left out, a bad dataset stops."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earmark.config import FrontEndSettings
from earmark.data.dataset import (
    build_dataset,
    replaceable_splits,
    report,
    write_splits,
)
from earmark.data.extract import extract_clips, file_frames
from earmark.data.readers import read_dataset
from earmark.data.splits import read_split
from earmark.errors import AudioError, DatasetError
from earmark.io import decode
from earmark.io.files import sha256_of_file
from earmark.nn.features import LogMel

SETTINGS = FrontEndSettings(8_000, 256, 160, 8, 50.0, 4_000.0, 1e-6)


@pytest.fixture
def small_esc10(esc10, tmp_path):
    """Three classes of ESC-10 in the original layout, one real recording in each of five folds."""
    folder = tmp_path / "esc10"
    for name in ("001 - Dog bark", "002 - Rain", "009 - Rooster"):
        (folder / name).mkdir(parents=True)
        for fold in range(1, 6):
            shutil.copy(min((esc10 / name).glob(f"{fold}-*.ogg")), folder / name)
    return folder


@pytest.fixture
def sounds(tone, tmp_path):
    """Two classes in a folder each, six made-up clips a class, every one another sound."""
    for label in range(2):
        for number in range(6):
            name = f"sounds/class {label}/{number}.wav"
            tone(name, seconds=0.2 + 0.06 * number, sample_rate=8_000, seed=10 * label + number)
    return tmp_path / "sounds"


def splits_of(dataset, folder):
    """The splits of a dataset, written to a folder and read back."""
    paths = write_splits(dataset, folder / "out")
    assert [path.name for path in paths] == [f"split_{n}.pkl" for n in range(len(paths))]
    return [read_split(folder / "out", index) for index in range(len(paths))]


def test_real_recordings_become_a_split_for_each_official_fold(small_esc10, tmp_path):
    dataset = read_dataset(small_esc10)
    prepared = build_dataset(dataset, SETTINGS)
    assert prepared.classes == ("Dog bark", "Rain", "Rooster")
    assert len(prepared.clips) == 15
    assert not prepared.failures
    for index, split in enumerate(splits_of(prepared, tmp_path)):
        assert (split.index, split.test_fold) == (index, str(index + 1))
        assert (split.dataset, split.synthetic) == ("ESC-10", False)
        assert (split.front_end, split.fingerprint) == (SETTINGS, prepared.fingerprint)
        assert split.classes == prepared.classes
        assert (len(split.train), len(split.test)) == (12, 3)
        assert split.test.labels.tolist() == [0, 1, 2]
        assert not set(split.train.groups) & set(split.test.groups)
        expected = {str(c.path) for c in dataset.clips if c.fold == str(index + 1)}
        assert set(split.test.paths) == expected
        assert set(split.train.paths) == {str(c.path) for c in dataset.clips} - expected


def test_the_features_of_a_split_are_the_frames_of_the_files(small_esc10, tmp_path):
    prepared = build_dataset(read_dataset(small_esc10), SETTINGS)
    split = splits_of(prepared, tmp_path)[0]
    for part in (split.train, split.test):
        for number, path in enumerate(part.paths):
            frames, _ = file_frames(Path(path), LogMel(SETTINGS))
            assert np.array_equal(part.clip(number), frames)


@pytest.mark.parametrize("seconds", [0.0005, 0.019, 0.02, 0.5, 23.0])
@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_frames_of_a_file_are_the_frames_of_its_samples(tone, seconds, sample_rate):
    path, front_end = tone("a.wav", seconds=seconds, sample_rate=sample_rate), LogMel(SETTINGS)
    frames, given_seconds = file_frames(path, front_end)
    samples = decode.read(path, 8_000)
    expected = front_end(torch.from_numpy(samples)[None])[0].numpy()
    assert given_seconds == len(samples) / 8_000
    assert frames.dtype == np.float32
    assert frames.shape == expected.shape
    # Not bit for bit: blocks of ten seconds make matrix products of another size.
    assert np.abs(frames - expected).max() < 1e-5


def test_frames_of_a_bad_file_are_an_audio_error(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        file_frames(tmp_path / "a.wav", LogMel(SETTINGS))


def test_extracted_clips_keep_their_order_length_and_digest(sounds):
    clips = read_dataset(sounds).clips
    seen = []

    def progress(results):
        for result in results:
            seen.append(result)
            yield result

    extracted, failures = extract_clips(clips, SETTINGS, progress)
    assert [item.clip for item in extracted] == list(clips)
    assert len(seen) == 12
    assert not failures
    for item in extracted:
        assert item.seconds == pytest.approx(soundfile.info(item.clip.path).duration)
        assert item.digest == sha256_of_file(item.clip.path)
        assert len(item.frames) == int(item.seconds * 50 + 1e-9)


def test_folds_are_made_where_there_are_none(sounds, tmp_path):
    prepared = build_dataset(read_dataset(sounds), SETTINGS, folds=3, seed=4)
    splits = splits_of(prepared, tmp_path)
    assert [split.test_fold for split in splits] == ["1", "2", "3"]
    tested = [path for split in splits for path in split.test.paths]
    assert sorted(tested) == sorted(str(item.clip.path) for item in prepared.clips)
    for split in splits:
        assert np.bincount(split.test.labels).tolist() == [2, 2]


def test_the_same_dataset_and_seed_give_the_same_bytes(sounds, tmp_path):
    made = [build_dataset(read_dataset(sounds), SETTINGS, folds=3, seed=n) for n in (1, 1, 2)]
    paths = [write_splits(dataset, tmp_path / str(place)) for place, dataset in enumerate(made)]
    data = [[path.read_bytes() for path in written] for written in paths]
    assert data[0] == data[1]
    assert made[0].fingerprint == made[1].fingerprint
    assert made[0].fingerprint != made[2].fingerprint


def test_the_fingerprint_tells_contents_apart_but_not_places(sounds, tmp_path, tone):
    first = build_dataset(read_dataset(sounds), SETTINGS, folds=2)
    moved = sounds.rename(tmp_path / "moved")
    second = build_dataset(read_dataset(moved), SETTINGS, folds=2)
    tone("moved/class 0/0.wav", seconds=0.2, sample_rate=8_000, seed=99)
    third = build_dataset(read_dataset(moved), SETTINGS, folds=2)
    assert first.fingerprint == second.fingerprint != third.fingerprint


def test_bad_files_are_listed_with_their_reasons_and_left_out(small_esc10, tmp_path):
    rain = sorted((small_esc10 / "002 - Rain").iterdir())
    rain[0].write_bytes(rain[0].read_bytes()[:5_000])
    rain[1].write_bytes(b"")
    prepared = build_dataset(read_dataset(small_esc10), SETTINGS)
    assert len(prepared.clips) == 13
    assert len(prepared.failures) == 2
    for line, path in zip(prepared.failures, rain[:2], strict=True):
        assert line.startswith(f"{path}: ")
    assert "truncated" in prepared.failures[0]
    assert "empty" in prepared.failures[1]
    split = splits_of(prepared, tmp_path)[0]
    assert (len(split.train), len(split.test)) == (11, 2)
    assert split.classes == ("Dog bark", "Rain", "Rooster")


def test_a_table_s_missing_file_is_listed_and_left_out(sounds, tmp_path):
    rows = [f"sounds/class {label}/{n}.wav,{label}" for label in range(2) for n in range(7)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    prepared = build_dataset(read_dataset(table), SETTINGS, folds=2)
    assert len(prepared.clips) == 12
    assert prepared.failures == [
        f"{sounds / f'class {label}' / '6.wav'}: no such file; check the path" for label in range(2)
    ]


def test_a_dataset_of_bad_files_only_is_an_error_and_writes_nothing(touch, tmp_path):
    folder = touch("S/dog/a.wav", "S/rain/b.ogg") / "S"
    message = r"S: none of its 2 files can be read; the first: .*a\.wav: is empty"
    with pytest.raises(DatasetError, match=message):
        build_dataset(read_dataset(folder), SETTINGS, folds=1)
    assert not (tmp_path / "out").exists()


def test_a_class_of_bad_files_only_is_an_error_and_writes_nothing(sounds, touch, tmp_path):
    touch("sounds/broken/a.wav", "sounds/broken/b.wav")
    message = r"no file of class 'broken' can be read \(2 unreadable files; the first: .*a\.wav"
    with pytest.raises(DatasetError, match=message):
        build_dataset(read_dataset(sounds), SETTINGS, folds=2)
    assert not (tmp_path / "out").exists()


def test_official_folds_that_leak_are_an_error_and_write_nothing(small_esc10, tmp_path):
    source = next((small_esc10 / "002 - Rain").glob("1-*.ogg"))
    shutil.copy(source, source.with_name("2-99999-A.ogg"))
    with pytest.raises(DatasetError, match=r"ESC-10.*: the folds leak: .* have the same audio"):
        build_dataset(read_dataset(small_esc10), SETTINGS)
    assert not (tmp_path / "out").exists()


def test_a_damaged_split_file_is_not_replaced_in_silence(tmp_path):
    (tmp_path / "split_0.pkl").write_bytes(b"\x80\x04torn")
    with pytest.raises(DatasetError, match=r"split_0\.pkl: is damaged or .*remove it"):
        replaceable_splits(tmp_path)


def test_copies_of_a_file_are_never_on_both_sides(sounds, tmp_path):
    for number in range(3):
        shutil.copy(sounds / f"class 0/{number}.wav", sounds / f"class 0/copy {number}.wav")
    prepared = build_dataset(read_dataset(sounds), SETTINGS, folds=3)
    folds: dict[str, set[str]] = {}
    for item, fold in zip(prepared.clips, prepared.folds, strict=True):
        folds.setdefault(item.digest, set()).add(fold)
    assert len(folds) == 12
    assert all(len(found) == 1 for found in folds.values())


def test_splits_of_an_earlier_dataset_with_more_folds_are_removed(sounds, tmp_path):
    out = tmp_path / "out"
    write_splits(build_dataset(read_dataset(sounds), SETTINGS, folds=5), out)
    (out / "notes.txt").touch()
    write_splits(build_dataset(read_dataset(sounds), SETTINGS, folds=2), out)
    assert sorted(path.name for path in out.iterdir()) == [
        *("notes.txt", "split_0.pkl", "split_1.pkl")
    ]


def test_generated_clips_stay_marked_as_synthetic(sounds, tmp_path):
    dataset = dataclasses.replace(read_dataset(sounds), synthetic=True)
    prepared = build_dataset(dataset, SETTINGS, folds=2)
    assert all(split.synthetic for split in splits_of(prepared, tmp_path))


def test_ten_folds_are_numbered_in_natural_order(sounds, tmp_path):
    rows = [
        f"sounds/class {label}/{n}.wav,{label},fold{fold}"
        for label in range(2)
        for n, fold in enumerate((1, 2, 3, 10, 11, 11))
    ]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,fold", *rows]), encoding="utf-8")
    prepared = build_dataset(read_dataset(table), SETTINGS)
    names = [split.test_fold for split in splits_of(prepared, tmp_path)]
    assert names == ["fold1", "fold2", "fold3", "fold10", "fold11"]


def test_the_report_counts_clips_durations_and_bad_files(sounds, touch, tmp_path):
    touch("sounds/class 1/bad.wav")
    prepared = build_dataset(read_dataset(sounds), SETTINGS, folds=3)
    lines = report(prepared).splitlines()
    assert lines[0] == "sounds: 2 classes, 12 clips, 3 folds"
    assert lines[1].split() == ["class", "clips", "fold", "1", "fold", "2", "fold", "3"]
    assert lines[2].split() == ["class", "0", "6", "2", "2", "2"]
    assert lines[3].split() == ["class", "1", "6", "2", "2", "2"]
    # Twelve clips of 0.20 to 0.50 s: 4.2 s.
    assert lines[4] == "durations: 0.20 to 0.50 s, median 0.35 s, together 0.1 min"
    assert lines[5:] == ["unreadable files: 1"]


def test_copies_of_a_file_share_a_source_so_that_validation_does_not_leak(sounds, tmp_path):
    for number in range(6):
        shutil.copy(sounds / f"class 0/{number}.wav", sounds / f"class 0/copy {number}.wav")
    dataset = build_dataset(read_dataset(sounds), SETTINGS, folds=2)
    train = dataset.split(0).train
    contents = [clip.tobytes() for clip in map(train.clip, range(len(train)))]
    assert len(set(train.groups)) == len(set(contents)) < len(contents)


@pytest.mark.parametrize("number", [0, 1, 7])
def test_split_files_of_others_are_not_overwritten(sounds, tmp_path, number):
    mine = tmp_path / "out" / f"split_{number}.pkl"
    mine.parent.mkdir()
    mine.write_bytes(pickle.dumps({"train": ([[[1.0]]], [0]), "test": ([[[1.0]]], [0])}))
    before = mine.read_bytes()
    with pytest.raises(DatasetError, match="was not written by Earmark"):
        write_splits(build_dataset(read_dataset(sounds), SETTINGS, folds=2), mine.parent)
    assert mine.read_bytes() == before
    assert len(list(mine.parent.iterdir())) == 1
