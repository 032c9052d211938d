"""Generated sounds of no class."""

import numpy as np
import pytest

from earmark.data.synthetic.negatives import KINDS, make_negatives


def test_a_seed_gives_the_same_clips_and_another_seed_others():
    first, again, other = (make_negatives(12, seed, 8_000, 1.0) for seed in (0, 0, 1))
    for (kind, samples), (_, same), (_, different) in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(samples, same)
        if kind != "silence":
            assert not np.array_equal(samples, different)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_every_kind_comes_in_turn_within_full_scale(sample_rate):
    clips = make_negatives(3 * (len(KINDS) + 1), 5, sample_rate, 0.7)
    assert [kind for kind, _ in clips] == 3 * [*KINDS, "babble"]
    for kind, samples in clips:
        assert samples.dtype == np.float32
        assert len(samples) == round(0.7 * sample_rate)
        assert np.isfinite(samples).all()
        peak = np.abs(samples).max()
        assert peak == 0 if kind == "silence" else 5e-5 < peak <= 1


def test_half_of_the_clips_end_where_a_lower_rate_ends():
    empty = []
    for kind, samples in make_negatives(160, 2, 44_100, 0.5):
        power = np.square(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
        hz = np.fft.rfftfreq(len(samples), 1 / 44_100)
        if kind == "hum":  # has all frequencies, falling slowly
            empty.append(
                power[hz > 18_000].mean() < 1e-7 * power[(hz > 2_000) & (hz < 3_500)].mean()
            )
    assert len(empty) == 20
    assert 5 <= sum(empty) <= 15
