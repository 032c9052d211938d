"""Learning rate and seeds."""

import pytest

from earmark.training.schedule import derive_seed, learning_rate_at
from tests.builders import small_recipe


def test_the_rate_rises_to_the_highest_and_falls_to_almost_nothing():
    recipe = small_recipe(learning_rate=0.1, warmup=0.2)
    rates = [learning_rate_at(recipe, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.002)
    assert rates[20] == max(rates) == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.0001)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.1 * (0.001 + 0.999 * 0.5))  # half of the fall


def test_without_warmup_the_first_rate_is_the_highest():
    assert learning_rate_at(small_recipe(learning_rate=0.1, warmup=0.0), 0.0) == pytest.approx(0.1)


def test_every_seed_epoch_and_stream_has_a_seed_of_its_own():
    places = [(s, e, p) for s in (0, 1, 2**62) for e in (1, 2) for p in (0, 1)]
    seeds = [derive_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)  # what torch takes
    assert seeds == [derive_seed(*place) for place in places]
