"""Which clips train and which test, without a leak.

Official folds are kept. Where there are none, folds are stratified by class and grouped by source
recording. The same rule carves the validation clips out of a training part.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.data.negatives import NO_CLASS
from earmark.data.readers import Clip
from earmark.errors import DatasetError


def natural_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names in natural order (2 before 10)."""
    return sorted(set(names), key=lambda name: (_natural(name), name))  # 1, 01 and 001 too


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which runs of digits count as numbers."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(p), "") if place % 2 else (0, p) for place, p in enumerate(pieces)]


def assign_folds(
    clips: Sequence[Clip],
    digests: Sequence[str],
    *,
    folds: int,
    seed: int,
    known_leaks: frozenset[str] = frozenset(),
) -> list[str]:
    """Give every clip its fold: the official one, or a stratified and grouped one.

    Where the classes have official folds, negatives without one are spread over these.

    Args:
        clips: all readable clips, negatives among them.
        digests: SHA-256 of each clip's file; equal files count as one source.
        folds: number of folds to make where the dataset brings none; 1: nothing will be tested,
            and nothing is asked of the folds.
        seed: seed of the folds that are made.
        known_leaks: sources that may stand in two folds, as those of a published dataset do.

    Returns:
        A fold name for each clip.

    Raises:
        DatasetError: folds leak, or a class has fewer sources than folds.
    """
    _refuse_contradictions(clips, digests)
    if folds == 1:
        return ["1" if clip.fold is None else str(clip.fold) for clip in clips]
    groups = merged_groups(clips, digests)
    if any(clip.fold is not None for clip in clips):
        assigned = _complete_folds(clips, groups, seed)
        refuse_leaks(clips, digests, assigned, known=known_leaks)
        if len(set(assigned)) < 2:
            raise DatasetError(f"all clips are in fold {assigned[0]}; testing needs two folds")
    else:
        _refuse_few_sources(clips, groups, folds)
        numbers = grouped_folds([clip.label or "" for clip in clips], groups, folds, seed)
        assigned = [str(number + 1) for number in numbers]
    classes = {clip.label for clip in clips if clip.label is not None}
    for fold in sorted(set(assigned)):
        pairs = list(zip(clips, assigned, strict=True))
        if all(clip.label is None for clip, name in pairs if name == fold):
            raise DatasetError(
                f"fold {fold} holds clips of no class only, so nothing can be tested there; give "
                "them the folds of the classes, or none"
            )
        if missing := classes - {clip.label for clip, name in pairs if name != fold}:
            raise DatasetError(
                f"class {min(missing)!r} occurs in fold {fold} only, so a model tested there "
                "never meets it in training; spread it over the folds or leave it out"
            )
    return assigned


def check_table(
    clips: Sequence[Clip], *, folds: int, seed: int, known_leaks: frozenset[str]
) -> None:
    """Find out before anything is decoded what the list of clips alone shows of the folds.

    Folds that are to be made are not made for this, which takes long for many sources.

    Args:
        clips: all clips, negatives among them.
        folds: see `assign_folds`, as for the others.
        seed: see there.
        known_leaks: see there.

    Raises:
        DatasetError: see `assign_folds`.
    """
    paths = [str(clip.path) for clip in clips]
    if folds == 1 or any(clip.fold is not None for clip in clips):
        assign_folds(clips, paths, folds=folds, seed=seed, known_leaks=known_leaks)
    else:
        _refuse_few_sources(clips, merged_groups(clips, paths), folds)


def _refuse_few_sources(clips: Sequence[Clip], groups: Sequence[str], folds: int) -> None:
    """Refuse a class with fewer sources than folds."""
    sources: dict[str, set[str]] = defaultdict(set)
    for clip, group in zip(clips, groups, strict=True):
        if clip.label is not None:
            sources[clip.label].add(group)
    few, label = min(((len(found), label) for label, found in sources.items()), default=(folds, ""))
    if few < folds:
        fewer = f", use --folds {few}" if few > 1 else ""
        raise DatasetError(
            f"class {label!r} has {few} source recording{'s' * (few != 1)}, too few for {folds} "
            f"folds; add recordings of other sources{fewer}, or train without a test: earmark "
            "train DATASET --all_clips"
        )


def _complete_folds(clips: Sequence[Clip], groups: Sequence[str], seed: int) -> list[str]:
    """Return the official folds, with those that lack one, by group, spread over them.

    A group that stands in a fold already stays there.
    """
    where = {g: clip.fold for clip, g in zip(clips, groups, strict=True) if clip.fold is not None}
    names = natural_order(fold for fold in where.values() if fold is not None)
    homeless = sorted(set(groups) - where.keys())
    order = np.random.default_rng(seed).permutation(len(homeless))
    where |= {homeless[at]: names[place % len(names)] for place, at in enumerate(order)}
    return [
        str(where[group] if clip.fold is None else clip.fold)
        for clip, group in zip(clips, groups, strict=True)
    ]


def merged_groups(clips: Sequence[Clip], digests: Sequence[str]) -> list[str]:
    """Return each clip's group, with groups that share an identical file made one."""
    parent: dict[str, str] = {clip.group: clip.group for clip in clips}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    first: dict[str, str] = {}
    for clip, digest in zip(clips, digests, strict=True):
        other = first.setdefault(digest, clip.group)
        parent[root(clip.group)] = root(other)
    return [root(clip.group) for clip in clips]


def _refuse_contradictions(clips: Sequence[Clip], digests: Sequence[str]) -> None:
    """Refuse one audio file under two labels."""
    seen: dict[str, Clip] = {}
    for clip, digest in zip(clips, digests, strict=True):
        other = seen.setdefault(digest, clip)
        if other.label != clip.label:
            names = [
                "of no class" if label is None else f"labelled {label!r}"
                for label in (other.label, clip.label)
            ]
            raise DatasetError(
                f"{other.path} and {clip.path} are the same audio, {names[0]} and {names[1]}; "
                "keep one of them"
            )


def find_leaks(
    clips: Sequence[Clip], keys: Sequence[str], folds: Sequence[str]
) -> dict[str, dict[str, Clip]]:
    """Find what stands in two folds.

    Args:
        clips: the clips.
        keys: what must not stand in two folds, of each clip: its source recording, or its content.
        folds: the fold of each clip.

    Returns:
        For each key in two folds or more, the first clip of it in each fold.
    """
    where: dict[str, dict[str, Clip]] = defaultdict(dict)
    for clip, key, fold in zip(clips, keys, folds, strict=True):
        where[key].setdefault(fold, clip)
    return {key: found for key, found in where.items() if len(found) > 1}


def refuse_leaks(
    clips: Sequence[Clip],
    digests: Sequence[str],
    folds: Sequence[str],
    *,
    known: frozenset[str] = frozenset(),
) -> None:
    """Refuse folds in which one source recording, or one file's content, stands in two.

    Args:
        clips: the clips.
        digests: SHA-256 of each clip's file.
        folds: the fold of each clip.
        known: sources that may.

    Raises:
        DatasetError: with the first clips that leak, and how many sources do.
    """
    for what, keys in (("source", [clip.group for clip in clips]), ("audio", list(digests))):
        found = find_leaks(clips, keys, folds)
        leaks = [clips_of for key, clips_of in found.items() if key not in known]
        if leaks:
            (fold_a, clip_a), (fold_b, clip_b) = list(leaks[0].items())[:2]
            raise DatasetError(
                f"the folds leak: {clip_a.path} in fold {fold_a} and {clip_b.path} in fold "
                f"{fold_b} have the same {what} ({len(leaks)} such); "
                "put them in one fold or remove one"
            )


def grouped_folds(
    labels: Sequence[str] | NDArray[np.int64], groups: Sequence[str], folds: int, seed: int
) -> NDArray[np.int64]:
    """Number clips 0 to folds - 1, stratified by label, every group in one fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    numbers = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class; the caller checks for it
        parts = list(splitter.split(np.zeros(len(labels)), labels, groups))
    for number, (_, inside) in enumerate(parts):
        numbers[inside] = number
    return numbers


def class_of_one_source(labels: NDArray[np.int64], groups: Sequence[str]) -> int | None:
    """Return a class whose clips are all of one source recording, if there is one."""
    for label in np.unique(labels[labels != NO_CLASS]):
        if len({group for group, n in zip(groups, labels, strict=True) if n == label}) < 2:
            return int(label)
    return None


def validation_mask(
    labels: NDArray[np.int64], groups: Sequence[str], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose validation clips out of a training part: stratified, whole groups.

    Args:
        labels: class numbers of the training clips, `NO_CLASS` for negatives, which are divided
            as a class of their own.
        groups: their source recordings.
        fraction: share wanted; the nearest 1/n is used.
        seed: seed of the choice.

    Returns:
        True for validation clips. Every class keeps at least one training clip.

    Raises:
        DatasetError: a class has a single source, so it cannot both train and validate.
    """
    if class_of_one_source(labels, groups) is not None:
        raise DatasetError(
            "a class has a single source recording in the training part, so none can be held out "
            "to choose the epoch; add recordings of other sources"
        )
    largest = int(np.unique(labels, return_counts=True)[1].max())
    most = min(len(set(groups)), largest)  # what can be divided at all
    numbers = grouped_folds(labels, groups, max(2, min(round(1 / fraction), most)), seed)
    for number in range(int(numbers.max()) + 1):
        mask: NDArray[np.bool_] = numbers == number
        if mask.any() and set(labels[~mask]) == set(labels):
            return mask
    raise DatasetError(  # pragma: no cover - needs every fold to swallow a class whole
        f"no validation part of {math.floor(fraction * 100)} % leaves every class in training"
    )
