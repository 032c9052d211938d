"""Frames of clips are views on mapped files; what is read of them is let go."""

from pathlib import Path

import numpy as np
import pytest

from earmark.data import frames as module
from earmark.data.clip_set import ClipSet
from earmark.data.frames import ClipFrames, Source, View, as_view

LENGTHS = (3, 1, 5, 2)


@pytest.fixture
def array():
    return np.arange(sum(LENGTHS) * 4, dtype=np.float32).reshape(-1, 4)


@pytest.fixture
def mapped(array, tmp_path):
    """The clips of `array` as views on a file."""
    path = tmp_path / "frames"
    path.write_bytes(array.tobytes() + b"more")
    source = Source.map_file(path, len(array), 4)
    starts = np.cumsum(LENGTHS) - LENGTHS
    return ClipFrames([View(source, s, n) for s, n in zip(starts, LENGTHS, strict=True)], 4)


def clip_set(features):
    labels, names = np.arange(len(LENGTHS)), [*"abcd"]
    return ClipSet(features, np.array(LENGTHS), labels, names, names, [c * 64 for c in names])


def test_a_clip_set_gives_the_same_from_a_file_as_from_memory(array, mapped):
    ours, theirs = clip_set(mapped), clip_set(array)
    assert ours.features.shape == theirs.features.shape
    assert ours.features.nbytes == theirs.features.nbytes
    assert np.array_equal(ours.together(), array)
    for mine, other in zip(ours.clips(), theirs.clips(), strict=True):
        assert np.array_equal(mine, other)
    chosen, places = np.array([2, 0, 2]), np.array([[4, 0], [2, 2], [1, 3]])
    assert np.array_equal(ours.gather(chosen, places), theirs.gather(chosen, places))
    mask = np.array([True, False, True, False])
    mine, other = ours.select(mask), theirs.select(mask)
    assert np.array_equal(mine.together(), other.together())
    assert mine.digests == other.digests == ["a" * 64, "c" * 64]
    assert np.array_equal(mine.clip(1), other.clip(1))
    assert len(ours.select(~mask & mask)) == 0


def test_a_selection_copies_no_frame(mapped):
    rest = clip_set(mapped).select(np.array([False, True, True, True]))
    assert isinstance(rest.features, ClipFrames)
    assert {view.source for view in rest.features.views} == {mapped.views[0].source}


def test_files_are_mapped_and_arrays_are_not(array, mapped):
    assert mapped.mapped
    assert not ClipFrames([as_view(array)], 4).mapped
    assert not ClipFrames([*mapped.views, as_view(array)], 4).mapped


def test_a_clip_may_be_written_to_and_the_file_may_not(mapped):
    clip = mapped.clip(0)
    clip[:] = 0
    assert mapped.clip(0).any()
    with pytest.raises(ValueError, match="read-only"):
        mapped.views[0].array[:] = 0


def test_a_file_that_is_too_short_is_not_mapped(tmp_path):
    (tmp_path / "frames").write_bytes(bytes(16))
    with pytest.raises(ValueError, match="length"):
        Source.map_file(tmp_path / "frames", 2, 4)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_what_was_read_is_let_go_and_can_be_read_again(tmp_path, monkeypatch):
    # 32 MB of frames, of which 4 MB may be held: the memory of this process stays below.
    monkeypatch.setattr(module, "_HELD_BYTES", 4 << 20)
    path = tmp_path / "frames"
    rows = np.random.default_rng(0).normal(size=(131_072, 64)).astype(np.float32)
    path.write_bytes(rows.tobytes())
    source = Source.map_file(path, len(rows), 64)
    frames = ClipFrames([View(source, s, 256) for s in range(0, len(rows), 256)], 64)
    highest = 0
    for number, clip in enumerate(frames.clips()):
        assert clip[0, 0] == rows[256 * number, 0]
        assert clip.sum() == rows[256 * number : 256 * (number + 1)].sum()
        if number % 16 == 0:  # to ask takes longer than to read
            highest = max(highest, mapped_bytes(path))
    assert 0 < highest <= 8 << 20


def mapped_bytes(path):
    """Bytes of a mapped file that count as memory of this process, as Linux tells."""
    inside, total = False, 0
    with open("/proc/self/smaps") as file:  # noqa: PTH123
        for line in file:
            if "-" in line.split(" ")[0]:
                inside = line.rstrip().endswith(str(path))
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) << 10
    return total
