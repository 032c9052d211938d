"""Intervals of counts, beside SciPy's, and the rule of three."""

import pytest
from scipy.stats import chi2

from earmark.decision.poisson import count_interval, rate_interval


@pytest.mark.parametrize("count", [1, 2, 7, 40, 900])
def test_intervals_are_those_of_the_chi_squared_distribution(count):
    low, high = count_interval(count)
    assert low == pytest.approx(chi2.ppf(0.025, 2 * count) / 2, rel=1e-6)
    assert high == pytest.approx(chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-6)


def test_of_no_event_the_highest_mean_is_three():
    low, high = rate_interval(0, 10.0)
    assert low == 0
    assert high == pytest.approx(0.3, abs=5e-4)
    assert rate_interval(4, 2.0) == pytest.approx([n / 2 for n in count_interval(4)])
