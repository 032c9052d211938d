"""Folds and validation parts: stratified, grouped, repeatable, and never with a leak."""

from pathlib import Path

import numpy as np
import pytest

from earmark.data.folds import (
    assign_folds,
    find_leaks,
    grouped_folds,
    merged_groups,
    natural_order,
    refuse_leaks,
    validation_mask,
)
from earmark.data.readers import Clip
from earmark.errors import DatasetError


def clips_of(rows):
    """Clips of `(label, group)` or `(label, group, fold)`, and a digest of its own for each."""
    clips = [Clip(Path(f"{number}.wav"), *row) for number, row in enumerate(rows)]
    return clips, [f"digest {number}" for number in range(len(rows))]


def many(classes=3, sources=10, takes=2):
    return clips_of(
        [
            (f"class {label}", f"{label}/{source}")
            for label in range(classes)
            for source in range(sources)
            for _ in range(takes)
        ]
    )


def folds_of(values, folds):
    """Map each value to the set of folds it occurs in."""
    found: dict[str, set[str]] = {}
    for value, fold in zip(values, folds, strict=True):
        found.setdefault(value, set()).add(fold)
    return found


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10"],
        ["fold1", "fold2", "fold10"],
        ["a", "b", "c"],
        ["1a", "2a", "10a", "10b"],
        ["1", "2", "10", "extra"],
        ["1", "fold2", "fold10"],
        ["2²", "3"],
        ["001", "01", "1", "2"],
    ],
    ids=str,
)
def test_fold_names_come_in_natural_order(names):
    assert natural_order([*reversed(names), *names]) == names


# --- folds that are made ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_made_folds_are_grouped_and_stratified(folds, seed):
    clips, digests = many()
    assigned = assign_folds(clips, digests, folds=folds, seed=seed)
    assert set(assigned) == {str(number + 1) for number in range(folds)}
    assert all(len(found) == 1 for found in folds_of([c.group for c in clips], assigned).values())
    for fold in set(assigned):
        inside = [clip.label for clip, name in zip(clips, assigned, strict=True) if name == fold]
        for label in ("class 0", "class 1", "class 2"):
            # 20 clips a class, in groups of 2: at most a group off the even share.
            assert abs(inside.count(label) - 20 / folds) <= 2


def test_made_folds_depend_on_the_seed_and_on_nothing_else():
    clips, digests = many()
    first = assign_folds(clips, digests, folds=5, seed=1)
    assert first == assign_folds(clips, digests, folds=5, seed=1)
    assert first != assign_folds(clips, digests, folds=5, seed=2)
    assert assign_folds(clips, digests, folds=5, seed=2**63 - 1)


def test_identical_files_share_a_fold():
    clips, digests = many(takes=1)
    for number in range(0, 10, 2):  # five pairs of sources of class 0 are the same file
        digests[number + 1] = digests[number]
    for seed in range(10):
        assigned = assign_folds(clips, digests, folds=5, seed=seed)
        assert all(len(found) == 1 for found in folds_of(digests, assigned).values())


def test_groups_that_are_linked_by_identical_files_become_one():
    clips, _ = clips_of([("dog", "a"), ("dog", "b"), ("dog", "b"), ("dog", "c"), ("dog", "d")])
    groups = merged_groups(clips, ["1", "1", "2", "2", "3"])
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]


def test_groups_without_identical_files_stay_as_they_are():
    clips, digests = many()
    assert merged_groups(clips, digests) == [clip.group for clip in clips]


@pytest.mark.parametrize("copies", [False, True])
def test_too_few_sources_for_the_folds_are_refused_with_the_number_that_works(copies):
    clips, digests = many(classes=2, sources=5)
    rare, _ = clips_of([("rare", f"r{number}") for number in range(4 if copies else 3)])
    own = ["x", "y", "z", "z"][: len(rare)]  # copies count as one source
    message = r"class 'rare' has 3 source recordings, too few for 5 folds.*--folds 3"
    with pytest.raises(DatasetError, match=message):
        assign_folds([*clips, *rare], [*digests, *own], folds=5, seed=0)
    assert set(assign_folds([*clips, *rare], [*digests, *own], folds=3, seed=0)) == set("123")


def test_of_several_classes_with_too_few_sources_the_smallest_says_what_works():
    clips, digests = clips_of([("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "5")])
    message = (
        r"class 'b' has 2 source recordings, .* --folds 2, .*earmark train DATASET --all_clips"
    )
    with pytest.raises(DatasetError, match=message):
        assign_folds(clips, digests, folds=5, seed=0)
    assert set(assign_folds(clips, digests, folds=2, seed=0)) == set("12")
    with pytest.raises(DatasetError, match=r"has 1 source recording, .*--all_clips") as caught:
        assign_folds(clips[:4], digests[:4], folds=5, seed=0)
    assert "--folds" not in str(caught.value)


# --- official folds -----------------------------------------------------------------------------


def test_official_folds_are_kept_as_they_are():
    rows = [("dog", "a", "2"), ("rain", "b", "2"), ("dog", "c", "10"), ("rain", "d", "10")]
    clips, digests = clips_of(rows)
    assert assign_folds(clips, digests, folds=5, seed=0) == ["2", "2", "10", "10"]


def test_one_source_in_two_folds_is_refused_with_both_files():
    rows = [
        *[("dog", "a", "1"), ("rain", "b", "1"), ("dog", "a", "2"), ("rain", "c", "2")],
        *[("dog", "e", "1"), ("dog", "e", "2")],
    ]
    clips, digests = clips_of(rows)
    message = r"0\.wav in fold 1 and 2\.wav in fold 2 have the same source \(2 such\)"
    with pytest.raises(DatasetError, match=message):
        assign_folds(clips, digests, folds=5, seed=0)


def test_one_content_in_two_folds_is_refused_with_both_files():
    rows = [("dog", "a", "1"), ("rain", "b", "1"), ("dog", "c", "2"), ("rain", "d", "2")]
    clips, digests = clips_of(rows)
    digests[3] = digests[1]
    message = r"1\.wav in fold 1 and 3\.wav in fold 2 have the same audio \(1 such\)"
    with pytest.raises(DatasetError, match=message):
        assign_folds(clips, digests, folds=5, seed=0)


def test_one_source_or_content_within_a_fold_is_no_leak():
    clips, _ = clips_of([("dog", "a"), ("dog", "a"), ("rain", "b")])
    refuse_leaks(clips, ["x", "x", "y"], ["1", "1", "2"])


def test_a_single_fold_is_refused():
    clips, digests = clips_of([("dog", "a", "1"), ("rain", "b", "1")])
    with pytest.raises(DatasetError, match="all clips are in fold 1; testing needs two folds"):
        assign_folds(clips, digests, folds=5, seed=0)


def test_a_class_in_one_fold_only_is_refused():
    rows = [("dog", "a", "1"), ("rain", "b", "1"), ("dog", "c", "2"), ("dog", "d", "3")]
    clips, digests = clips_of(rows)
    with pytest.raises(DatasetError, match="class 'rain' occurs in fold 1 only"):
        assign_folds(clips, digests, folds=5, seed=0)


def test_where_nothing_is_tested_nothing_is_asked_of_folds():
    leaking, digests = clips_of([("dog", "a", "1"), ("rain", "b", "2"), ("dog", "a", "2")])
    assert assign_folds(leaking, digests, folds=1, seed=0) == ["1", "2", "2"]
    few, digests = clips_of([("dog", "a"), ("rain", "b")])
    assert assign_folds(few, digests, folds=1, seed=0) == ["1", "1"]
    with pytest.raises(DatasetError, match="are the same audio"):
        assign_folds(few, ["x", "x"], folds=1, seed=0)


# --- grouped folds and validation ---------------------------------------------------------------


def test_grouped_folds_number_every_clip():
    labels = np.repeat([0, 1], 20)
    groups = [str(number // 2) for number in range(40)]
    numbers = grouped_folds(labels, groups, 4, 0)
    assert sorted(set(numbers.tolist())) == [0, 1, 2, 3]
    assert np.bincount(numbers).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.2, 0.33, 0.5])
@pytest.mark.parametrize("takes", [1, 2, 3])
def test_a_validation_part_is_grouped_stratified_and_of_the_size_asked_for(fraction, takes, seed):
    labels = np.repeat(np.arange(4), 20 * takes)
    groups = [str(number // takes) for number in range(len(labels))]
    mask = validation_mask(labels, groups, fraction, seed)
    assert mask.dtype == np.bool_
    assert mask.shape == labels.shape
    assert not set(np.array(groups)[mask]) & set(np.array(groups)[~mask])
    share = 1 / round(1 / fraction)
    for label in range(4):
        # At most a group of `takes` clips off the even share.
        assert abs(mask[labels == label].sum() - share * 20 * takes) <= takes


def test_a_validation_part_depends_on_the_seed_and_on_nothing_else():
    labels = np.repeat(np.arange(4), 20)
    groups = list(map(str, range(80)))
    masks = [validation_mask(labels, groups, 0.2, seed) for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize("seed", range(20))
def test_every_class_keeps_training_clips_when_sources_are_few_and_uneven(seed):
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for label in range(5):
        for source in range(int(rng.integers(2, 6))):
            takes = int(rng.integers(1, 8))
            labels += [label] * takes
            groups += [f"{label}/{source}"] * takes
    numbers = np.array(labels)
    mask = validation_mask(numbers, groups, 0.5, seed)
    assert mask.any()
    assert set(numbers[~mask]) == set(range(5))
    assert not set(np.array(groups)[mask]) & set(np.array(groups)[~mask])


@pytest.mark.parametrize("sources", [2, 3, 5, 6])
@pytest.mark.parametrize("takes", [1, 4])
def test_a_small_dataset_gets_a_validation_part_at_the_default_fraction(sources, takes):
    labels = np.repeat([0, 1], sources * takes)
    groups = [str(number // takes) for number in range(len(labels))]
    mask = validation_mask(labels, groups, 0.15, 0)
    assert mask.any()
    assert set(labels[~mask]) == {0, 1}
    assert not set(np.array(groups)[mask]) & set(np.array(groups)[~mask])


def test_a_fold_that_would_take_a_class_whole_is_not_the_validation_part():
    # Three sources of two classes each: a fold of sources a and c would take class 0 whole.
    rows = [("a", 0, 1), ("a", 2, 2), ("b", 2, 3), ("b", 1, 2), ("c", 0, 5), ("c", 1, 2)]
    labels = np.array([label for _, label, clips in rows for _ in range(clips)])
    groups = [group for group, _, clips in rows for _ in range(clips)]
    for seed in range(10):
        mask = validation_mask(labels, groups, 0.5, seed)
        assert mask.any()
        assert set(labels[~mask]) == {0, 1, 2}


def test_a_class_of_a_single_source_cannot_be_validated():
    labels, groups = np.array([0, 0, 0, 1, 1]), ["a", "b", "c", "d", "d"]
    with pytest.raises(DatasetError, match="a class has a single source recording"):
        validation_mask(labels, groups, 0.2, 0)


# --- clips of no class --------------------------------------------------------------------------


def test_made_folds_spread_negatives_by_group_and_ask_nothing_of_their_number():
    rows = [(f"class {label}", f"{label}/{n}") for label in range(2) for n in range(9)]
    negatives = [(None, f"room {n // 2}") for n in range(12)]
    clips, digests = clips_of(rows + negatives)
    folds = assign_folds(clips, digests, folds=3, seed=0)
    where = folds_of([clip.group for clip in clips], folds)
    assert all(len(found) == 1 for found in where.values())
    assert sorted(folds[len(rows) :].count(fold) for fold in "123") == [4, 4, 4]
    one, digests = clips_of([*rows, (None, "room")])
    assert len(set(assign_folds(one, digests, folds=3, seed=0))) == 3


def test_negatives_without_a_fold_are_spread_over_the_official_ones_by_group():
    rows = [(label, f"{label}{fold}", fold) for label in ("a", "b") for fold in ("1", "2", "10")]
    negatives = [(None, f"room {n // 2}") for n in range(6)] + [(None, "a1")]
    clips, digests = clips_of(rows + negatives)
    folds = assign_folds(clips, digests, folds=5, seed=0)
    assert folds[: len(rows)] == [clip.fold for clip in clips[: len(rows)]]
    assert sorted(folds[len(rows) : -1]) == ["1", "1", "10", "10", "2", "2"]
    assert folds[len(rows)] == folds[len(rows) + 1]
    assert folds[-1] == "1"  # beside the clip of a class from the same source


def test_a_fold_of_negatives_only_is_refused():
    rows = [(label, f"{label}{fold}", fold) for label in ("a", "b") for fold in ("1", "2")]
    clips, digests = clips_of([*rows, (None, "room", "3")])
    with pytest.raises(DatasetError, match="fold 3 holds clips of no class only"):
        assign_folds(clips, digests, folds=5, seed=0)


def test_one_recording_is_not_both_a_class_and_none():
    clips, digests = clips_of([("dog", "a"), (None, "b"), ("rain", "c")])
    with pytest.raises(DatasetError, match="same audio, labelled 'dog' and of no class"):
        assign_folds(clips, ["same", "same", digests[2]], folds=2, seed=0)


def test_a_validation_part_takes_its_share_of_negatives_and_asks_nothing_of_their_number():
    labels = np.array([0] * 12 + [1] * 12 + [-1] * 12)
    groups = [str(number) for number in range(len(labels))]
    mask = validation_mask(labels, groups, 0.25, 0)
    assert [int(mask[labels == label].sum()) for label in (0, 1, -1)] == [3, 3, 3]
    labels[25:] = 0
    mask = validation_mask(labels, groups, 0.25, 0)
    assert not mask[labels == -1].any()  # the only negative stays in training


def test_published_folds_stand_though_they_leak_and_the_leak_is_found():
    rows = [("dog", "s1", "1"), ("dog", "s1", "2"), ("rain", "s2", "1"), ("rain", "s3", "2")]
    clips, digests = clips_of(rows)
    with pytest.raises(DatasetError, match="the folds leak"):
        assign_folds(clips, digests, folds=5, seed=0)
    known = frozenset(["s1"])
    assert assign_folds(clips, digests, folds=5, seed=0, known_leaks=known) == ["1", "2", "1", "2"]
    with pytest.raises(DatasetError, match="the folds leak"):
        assign_folds(clips, digests, folds=5, seed=0, known_leaks=frozenset(["s2"]))
    leaks = find_leaks(clips, [clip.group for clip in clips], ["1", "2", "1", "2"])
    assert leaks == {"s1": {"1": clips[0], "2": clips[1]}}
