"""A stream at another rate: cut as you like it gives the same, and keeps little of what came."""

import numpy as np
import pytest

from earmark.io.resample import Resampler


def pushed(samples, length, *, rates=(44_100, 32_000)):
    """Resample in pieces; return what came out, and the resampler."""
    resampler = Resampler(*rates)
    parts = [resampler.push(samples[at : at + length]) for at in range(0, len(samples), length)]
    return np.concatenate([*parts, resampler.finish()]), resampler


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).normal(0, 0.1, 11 * 44_100).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.64, 3.0])
def test_much_at_once_gives_the_very_same_as_little_by_little(samples, seconds):
    at_once, _ = pushed(samples, len(samples))
    assert len(at_once) == 11 * 32_000
    np.testing.assert_array_equal(at_once, pushed(samples, round(seconds * 44_100))[0])


def test_of_much_at_once_half_a_second_is_kept(samples):
    resampler = Resampler(44_100, 32_000)
    resampler.push(samples[:1000])
    resampler.push(samples[1000:])
    assert sum(len(part.base if part.base is not None else part) for part in resampler._recent) < (
        0.6 * 44_100
    )
    again, ahead = Resampler.resumed(44_100, 32_000, resampler.state)
    more = samples[: 2 * 44_100]
    there = np.concatenate([ahead, again.push(more)])
    np.testing.assert_allclose(there[:44_100], resampler.push(more)[:44_100], atol=1e-6)
