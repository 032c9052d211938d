"""The built-in sounds: drawn from the seed alone, clean, and marked as synthetic."""

import dataclasses
import itertools

import numpy as np
import pytest
import soundfile

from earmark.data.readers import read_dataset
from earmark.data.synthetic import sounds
from earmark.io.files import sha256_of_file

ESC10_CLASSES = {
    *("baby cry", "chainsaw", "clock tick", "crackling fire", "dog", "helicopter", "rain"),
    *("rooster", "sea waves", "sneeze"),
}


@pytest.fixture
def few(monkeypatch):
    """Make two folds of one source a class, which are 40 clips instead of 400."""
    monkeypatch.setattr(sounds, "FOLDS", 2)
    monkeypatch.setattr(sounds, "SOURCES_PER_FOLD", 1)


@pytest.fixture
def two_classes(few, monkeypatch):
    few_sounds = {name: sounds.SOUNDS[name] for name in ("clock tick", "sea waves")}
    monkeypatch.setattr(sounds, "SOUNDS", few_sounds)


def first_clips(seed, count=4):
    return list(itertools.islice(sounds.generate(seed), count))


def test_the_same_seed_gives_the_same_samples_to_the_bit():
    for one, other in zip(first_clips(7), first_clips(7), strict=True):
        assert one[:4] == other[:4]
        assert one[4].tobytes() == other[4].tobytes()


def test_another_seed_source_or_take_gives_another_sound():
    clips = [samples for *_, samples in first_clips(0) + first_clips(1)]
    for one, other in itertools.combinations(clips, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.9  # a copy at another level would have 1


def test_clips_come_class_by_class_with_sources_in_folds():
    places = [clip[:4] for clip in first_clips(0, 10)]
    assert places == [("baby cry", n // 8 + 1, n // 2, n % 2) for n in range(10)]


def test_there_are_the_ten_classes_of_esc10():
    assert set(sounds.SOUNDS) == ESC10_CLASSES
    assert list(sounds.SOUNDS) == sorted(ESC10_CLASSES)


@pytest.mark.parametrize("seed", [0, 123])
def test_every_class_gives_clean_clips_of_five_seconds(few, seed):
    clips = list(sounds.generate(seed))
    assert len(clips) == 40
    assert {clip[0] for clip in clips} == ESC10_CLASSES
    for *_, samples in clips:
        assert samples.dtype == np.float32
        assert samples.shape == (5 * 22_050,)
        assert np.isfinite(samples).all()
        # The documented range, -30 to -3 dB, with single-precision rounding.
        assert 10 ** (-30 / 20) - 1e-6 < np.abs(samples).max() < 10 ** (-3 / 20) + 1e-6


def test_the_written_dataset_is_marked_synthetic_and_complete(two_classes, tmp_path):
    dataset = sounds.write_dataset(tmp_path / "sounds", seed=3)
    assert dataset.synthetic
    assert "synthetic" in dataset.name
    assert dataset.classes == ("clock tick", "sea waves")
    assert len(dataset.clips) == 8
    for clip, (label, fold, source, _, samples) in zip(
        dataset.clips, sounds.generate(3), strict=True
    ):
        assert (clip.label, clip.fold, clip.group) == (label, str(fold), f"{label}/{source}")
        written, sample_rate = soundfile.read(clip.path)
        assert sample_rate == 22_050
        assert soundfile.info(clip.path).format == "FLAC"
        assert np.abs(written - samples).max() <= 2**-15  # 16 bit


def test_the_written_table_lists_the_same_clips(two_classes, tmp_path):
    dataset = sounds.write_dataset(tmp_path / "sounds")
    # the folder itself is read by its table, or its takes would lose their sources
    assert read_dataset(tmp_path / "sounds") == read_dataset(
        tmp_path / "sounds" / "synthetic-sounds.csv"
    )
    assert read_dataset(tmp_path / "sounds" / "synthetic-sounds.csv") == dataclasses.replace(
        dataset, name="synthetic-sounds"
    )


def test_takes_of_a_source_share_a_fold(two_classes, tmp_path):
    clips = sounds.write_dataset(tmp_path).clips
    folds: dict[str, set[str | None]] = {}
    for clip in clips:
        folds.setdefault(clip.group, set()).add(clip.fold)
    assert len(folds) == 4
    assert all(len(found) == 1 for found in folds.values())


def test_writing_again_gives_the_same_files(two_classes, tmp_path):
    digests = []
    for _ in range(2):
        sounds.write_dataset(tmp_path, seed=5)
        paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        digests.append([(path, sha256_of_file(path)) for path in paths])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 9
