"""A file is decoded once: its frames, length and warnings are kept, whatever it is called."""

import shutil
import warnings

import numpy as np
import pytest
import soundfile

from earmark.config import FrontEndSettings
from earmark.data import extract
from earmark.data.cache.store import FeatureCache
from earmark.data.extract import extract_clips
from earmark.data.frames import View
from earmark.data.readers import Clip
from earmark.errors import AudioWarning

SETTINGS = FrontEndSettings(8_000, 256, 160, 8, 50.0, 4_000.0, 1e-6)


@pytest.fixture
def clips(tone, tmp_path):
    """Four files, of which one is clipped and one is no audio; the last is a copy of the first."""
    tone("a.wav", seconds=0.3, sample_rate=8_000, seed=1)
    loud = np.sign(np.sin(np.arange(4_000)))
    soundfile.write(tmp_path / "loud.wav", loud, 8_000)
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    shutil.copy(tmp_path / "a.wav", tmp_path / "copy.wav")
    names = ("a.wav", "loud.wav", "bad.wav", "copy.wav")
    return [Clip(tmp_path / name, "x", name) for name in names]


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, as they are."""
    paths = []
    real = extract.file_frames

    def counted(path, *rest):
        paths.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(extract, "file_frames", counted)
    return paths


def extracted(clips, cache, **options):
    """What `extract_clips` gives, and its warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AudioWarning)
        readable, failures = extract_clips(clips, SETTINGS, cache=cache, **options)
    return readable, failures, [str(one.message) for one in said]


def frames_of(readable):
    return [
        item.frames.array if isinstance(item.frames, View) else item.frames for item in readable
    ]


def test_a_second_time_gives_the_same_without_decoding(clips, tmp_path, decoded):
    plain, faults, warned = extracted(clips, None)
    assert [item.clip.path.name for item in plain] == ["a.wav", "loud.wav", "copy.wav"]
    assert len(faults) == 1
    assert "bad.wav" in faults[0]
    assert len(warned) == 1
    assert "loud.wav: is clipped" in warned[0]
    first = extracted(clips, FeatureCache(tmp_path / "cache"))
    decoded.clear()
    second = extracted(clips, FeatureCache(tmp_path / "cache"))
    assert decoded == ["bad.wav"]  # a fault is not kept
    for readable, failures, said in (first, second):
        assert (failures, said) == (faults, warned)
        for mine, other in zip(readable, plain, strict=True):
            assert (mine.clip, mine.seconds, mine.digest) == (
                other.clip,
                other.seconds,
                other.digest,
            )
        for mine, other in zip(frames_of(readable), frames_of(plain), strict=True):
            assert np.array_equal(mine, other)
            assert not mine.flags.writeable  # it lies in a file


def test_a_file_is_known_by_its_content(clips, tmp_path, decoded, tone):
    cache = FeatureCache(tmp_path / "cache")
    extracted(clips, cache)
    decoded.clear()
    clips[0].path.rename(tmp_path / "moved.wav")
    extracted([Clip(tmp_path / "moved.wav", "x", "x")], cache)
    assert decoded == []
    tone("moved.wav", seconds=0.3, sample_rate=8_000, seed=2)
    extracted([Clip(tmp_path / "moved.wav", "x", "x")], cache)
    assert decoded == ["moved.wav"]


def test_many_clips_become_packs_of_bounded_size(tone, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "PACK_BYTES", 2 * 10 * 8 * 4)  # two clips of ten frames
    paths = [tone(f"{n}.wav", seconds=0.2, sample_rate=8_000, seed=n) for n in range(5)]
    clips = [Clip(path, "x", path.name) for path in paths]
    readable, _, _ = extracted(clips, FeatureCache(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").rglob("*.frames"))) == 3
    assert [len(item.frames) for item in readable] == [10] * 5
    assert len({array.tobytes() for array in frames_of(readable)}) == 5


def test_what_was_decoded_before_an_interrupt_is_kept(clips, tmp_path, decoded):
    def interrupted(results):
        yield next(iter(results))
        raise KeyboardInterrupt

    cache = FeatureCache(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        extract_clips(clips[:2], SETTINGS, interrupted, cache=cache)
    decoded.clear()
    extracted(clips[:1], cache)
    assert decoded == []


def test_a_cache_that_cannot_be_written_costs_memory_and_is_said_once(clips, tmp_path):
    (tmp_path / "file").touch()
    lines: list[str] = []
    plain, _, _ = extracted(clips, None)
    readable, _, _ = extracted(clips, FeatureCache(tmp_path / "file"), remark=lines.append)
    for mine, other in zip(frames_of(readable), frames_of(plain), strict=True):
        assert np.array_equal(mine, other)
    assert len(lines) == 1
    assert "features cannot be kept here" in lines[0]
    assert "EARMARK_CACHE" in lines[0]
