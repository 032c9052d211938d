"""Plain baselines: what they reach, and that a model which loses to one is told so."""

import dataclasses

import librosa
import numpy as np
import pytest
from scipy.fft import dct

from earmark.data.negatives import NO_CLASS
from earmark.data.splits import ClipSet, Split
from earmark.evaluation import baselines
from earmark.evaluation.baselines import (
    LARGEST_CLASS,
    MFCC_SVM,
    cosine_matrix,
    describe_baselines,
    describe_clips,
    measure_baselines,
    measure_folds,
)
from tests.builders import CLASSES, FRONT_END, small_split

MELS = FRONT_END.n_mels


def ordered_clips(count, seed):
    """Clips of two classes that hold the same two frames in another order, and of random length."""
    rng = np.random.default_rng(seed)
    first, second = np.random.default_rng(0).normal(size=(2, MELS))
    clips, labels = [], np.arange(count) % 2
    for label in labels:
        half = int(rng.integers(8, 15))
        parts = [first, second] if label else [second, first]
        frames = np.concatenate([np.tile(part, (half, 1)) for part in parts])
        clips.append(frames + rng.normal(0, 0.3, frames.shape))
    names = [f"{seed}-{number}" for number in range(count)]
    lengths = np.array([len(clip) for clip in clips])
    return ClipSet(np.concatenate(clips).astype(np.float32), lengths, labels, names, names)


def test_the_transform_is_the_one_that_gives_mfccs():
    frames = np.random.default_rng(0).normal(size=(5, 40))
    ours = frames @ cosine_matrix(40, 20)
    np.testing.assert_allclose(ours, dct(frames, norm="ortho", axis=1)[:, :20], atol=1e-12)
    theirs = librosa.feature.mfcc(S=frames.T, n_mfcc=20, norm="ortho").T
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_of_many_clips_some_are_drawn_always_the_same(monkeypatch):
    split = small_split()
    sizes: list[int] = []

    def counted(clips, front_end):
        sizes.append(len(clips))
        return describe_clips(clips, front_end)

    monkeypatch.setattr(baselines, "_MOST_CLIPS", 15)
    monkeypatch.setattr(baselines, "describe_clips", counted)
    first, second = measure_baselines(split), measure_baselines(split)
    assert first == second
    assert first[MFCC_SVM] == 1  # three classes that are easily told apart
    assert sizes == [15, 12, 15, 12]


def test_clips_of_any_length_have_statistics_of_one_size():
    clips = ordered_clips(6, 1)
    clips.frames[0] = 1  # what follows it is of no clip then
    whole, parts = describe_clips(clips, FRONT_END)
    assert whole.shape == (6, 3 * min(MELS, 20))
    assert parts.shape == (6, 10 * min(MELS, 20))
    assert np.isfinite(whole).all()
    assert (whole[0, min(MELS, 20) :] == 0).all()  # one frame neither varies nor changes


def test_the_silence_that_fills_up_a_short_clip_has_no_part_in_them():
    filling = dataclasses.replace(FRONT_END, min_clip_seconds=0.5)
    clips = ordered_clips(2, 1)
    silence = np.full((25 - clips.frames[0], MELS), np.log(FRONT_END.floor), np.float32)
    frames = np.concatenate([clips.clip(0), silence])
    filled = ClipSet(frames, np.array([25]), clips.labels[:1], ["0"], ["0"])
    for mine, its in zip(
        describe_clips(filled, filling), describe_clips(clips, FRONT_END), strict=True
    ):
        np.testing.assert_array_equal(mine[0], its[0])


@pytest.mark.parametrize("front_end", [FRONT_END, None])
def test_sounds_that_differ_in_order_only_are_told_apart(front_end):
    train, test = ordered_clips(24, 1), ordered_clips(12, 2)
    split = Split(train, test, ("ab", "ba"), front_end=front_end)
    assert measure_baselines(split) == {LARGEST_CLASS: 0.5, MFCC_SVM: 1.0}


def test_the_largest_class_is_that_of_the_tested_clips_and_negatives_are_no_class():
    split = small_split()
    labels = split.test.labels.copy()
    labels[labels == 2] = NO_CLASS
    labels[np.flatnonzero(labels == 0)[0]] = 1
    changed = dataclasses.replace(split, test=dataclasses.replace(split.test, labels=labels))
    found = measure_baselines(changed)
    assert found[LARGEST_CLASS] == (labels[labels != NO_CLASS] == 1).mean() > 0.5


def test_a_single_class_and_single_sources_are_no_fault():
    split = small_split()
    alone = split.train.select(split.train.labels == 2)
    found = measure_baselines(dataclasses.replace(split, train=alone))
    assert found[MFCC_SVM] == found[LARGEST_CLASS] == pytest.approx(1 / len(CLASSES))
    firsts = np.isin(np.arange(len(split.train)), np.unique(split.train.labels, True)[1])
    found = measure_baselines(dataclasses.replace(split, train=split.train.select(firsts)))
    assert 0 <= found[MFCC_SVM] <= 1


def test_a_recipe_that_loses_is_told_so_in_a_line_of_its_own():
    baselines = {LARGEST_CLASS: 0.1, MFCC_SVM: 0.725}
    (line,) = describe_baselines(0.73, baselines)
    assert line == (
        "For comparison, on the same clips: the largest class 10.00 %, "
        "MFCC statistics with an SVM 72.50 %."
    )
    _, lost = describe_baselines(0.7, baselines)
    assert lost.startswith("This recipe loses to MFCC statistics with an SVM by 2.50 points")


@pytest.mark.parametrize(("pooled", "accuracy"), [(True, 1 / 3), (False, (0.1 + 0.6 + 5 / 16) / 3)])
def test_always_naming_one_of_equally_large_classes_is_never_below_chance(pooled, accuracy):
    """Though each fold tests least of the class that its training clips have most of."""
    clips, numbers = small_split().train, np.empty(36, int)
    for label, tested in enumerate([(1, 6, 5), (6, 1, 5), (3, 3, 6)]):
        numbers[clips.labels == label] = np.repeat(range(3), tested)
    folds = [
        Split(clips.select(numbers != fold), clips.select(numbers == fold), CLASSES)
        for fold in range(3)
    ]
    found = measure_folds(folds, pooled=pooled)
    assert found[LARGEST_CLASS] == {
        "accuracy": pytest.approx(accuracy),
        "by_fold": [0.1, 0.6, 5 / 16],
    }
    assert len(found[MFCC_SVM]["by_fold"]) == 3
