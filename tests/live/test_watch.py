"""A live source's channels are not mixed where they cancel, and what is odd is said once."""

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.live.chunk import Chunk
from earmark.live.watch import Watch
from tests.io.encoded import RATE, noise


def mixed(watch, samples, length=800, rate=RATE):
    """Mix samples chunk by chunk; return the mix and the lines, with the place of each."""
    parts, lines = [], []
    for start in range(0, len(samples), length):
        parts.append(watch.mix(Chunk(samples[start : start + length], rate)))
        lines += [(start, line) for line in watch.notes()]
    return np.concatenate(parts), lines


def test_healthy_channels_are_averaged_without_a_word():
    pair = noise(3.0, channels=2)
    watch = Watch("stdin", RATE)
    samples, lines = mixed(watch, pair)
    np.testing.assert_array_equal(samples, pair.mean(axis=1))
    assert lines == watch.end() == []


def test_whole_numbers_come_at_full_scale():
    samples, _ = mixed(Watch("stdin", RATE), (noise() * 32767).astype(np.int16))
    np.testing.assert_allclose(samples, noise()[:, 0], atol=2**-14)


@pytest.mark.parametrize("length", [160, 800, 16_000])
def test_after_a_second_in_which_channels_cancel_one_is_taken(length):
    one = noise(3.0)
    watch = Watch("stdin", RATE)
    samples, lines = mixed(watch, np.concatenate([one, -one], axis=1), length)
    assert not samples[:RATE].any()
    np.testing.assert_array_equal(samples[RATE:], one[RATE:, 0])
    assert [line for _, line in lines] == [
        "stdin: its channels cancel when they are mixed; the louder one alone is used; check the "
        "cable"
    ]


def test_a_low_rate_is_named_at_once_and_a_low_level_at_the_end():
    watch = Watch("stdin", 44_100)
    _, lines = mixed(watch, noise(2.0, loudness=0.0005))
    assert [(place, line.split(",")[0]) for place, line in lines] == [
        (0, "stdin: has a sample rate of 16000 Hz")
    ]
    assert [line.split(",")[0] for line in watch.end()] == ["stdin: is very quiet"]


def test_samples_at_another_scale_are_refused():
    with pytest.raises(AudioError, match=r"never divided by 32768; scale them: ffmpeg -f f32le"):
        mixed(Watch("stdin", RATE), noise() * 32768)


def test_infinite_samples_are_left_to_the_caller():
    samples = noise()
    samples[5] = np.inf
    given, _ = mixed(Watch("stdin", RATE), samples)
    assert not np.isfinite(given).all()
