"""A server that cannot keep up lets as many go as are too many, and no more."""

import pytest

from earmark.serve.shedding import Shedding


def run(seconds, *, streams, capacity, round_seconds):
    """Serve live streams in rounds of a length; return how many are left after each, and the delay.

    All streams are equally late; a server scores `capacity` seconds of sound in a second.
    """
    shedding, late, left = Shedding(5.0), 0.0, []
    for number in range(1, round(seconds / round_seconds) + 1):
        late = max(0.0, late + round_seconds * (1 - capacity / streams))
        streams -= shedding.look(number * round_seconds, [late] * streams)
        left.append(streams)
    return left, late


@pytest.mark.parametrize("round_seconds", [0.5, 1.0, 6.0, 12.0])
@pytest.mark.parametrize("streams", [130, 150, 200, 300, 600])
def test_it_settles_within_two_minutes_however_long_its_rounds_are(streams, round_seconds):
    left, _ = run(120.0, streams=streams, capacity=120, round_seconds=round_seconds)
    assert left[-1] <= 120
    after, late = run(600.0, streams=streams, capacity=120, round_seconds=round_seconds)
    assert after[-1] == left[-1] >= 90  # none of those that can be served has to go
    assert late < 5.0


def test_sound_that_came_late_lets_nobody_go():
    shedding = Shedding(5.0)
    for second in range(30):  # a network stood still; what it held comes at once
        assert shedding.look(second, [max(0.0, 20.0 - 0.5 * second)] * 100) == 0


def test_none_may_begin_while_most_are_behind_and_the_others_do_not_matter():
    shedding = Shedding(5.0)
    assert shedding.look(0.0, [9.0] * 40 + [0.0] * 60) == 0
    assert shedding.look(10.0, [99.0] * 40 + [0.0] * 60) == 0
    assert not shedding.full
    assert shedding.look(20.0, [9.0] * 60) == 0
    assert shedding.look(24.0, [11.0] * 60) == 30
    assert shedding.full
    assert shedding.look(28.0, [4.0] * 30) == 0
    assert not shedding.full
    assert shedding.look(32.0, []) == 0
