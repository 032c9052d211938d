"""Several files at a time: results in order as they come, faults in their place, a quick end."""

import itertools
import threading
import warnings

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.runtime.workers import StoppableEngine, StoppedError, several
from tests.runtime.builders import engine_of, moving_model, sound


def read(find, items, *, workers):
    with several(find, items, workers=workers, stop=threading.Event()) as each:
        return [(item, list(results)) for item, results in each]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_stand_in_the_order_of_the_items(workers):
    turn = threading.Event()

    def find(item):
        if workers > 1 and item == 0:
            turn.wait(10)  # the first is the last to be ready
        turn.set()
        yield from range(item)

    expected = [(item, list(range(item))) for item in range(20)]
    assert read(find, range(20), workers=workers) == expected


def test_several_are_found_at_a_time():
    meeting = threading.Barrier(3)

    def find(item):
        yield meeting.wait(10) is not None

    assert read(find, range(3), workers=3) == [(item, [True]) for item in range(3)]


def test_a_result_is_there_before_its_item_has_ended():
    seen = threading.Event()

    def find(item):
        yield item
        assert seen.wait(10)
        yield -item

    with several(find, [1, 2], workers=2, stop=threading.Event()) as each:
        item, results = next(each)
        assert (item, next(results)) == (1, 1)
        seen.set()
        assert list(results) == [-1]
        assert [list(rest) for _, rest in each] == [[2, -2]]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_fault_is_raised_behind_the_results_of_its_own_item(workers):
    def find(item):
        yield item
        if item == 1:
            raise AudioError("broken")

    found: list[object] = []
    with several(find, range(4), workers=workers, stop=threading.Event()) as each:
        for item, results in each:
            try:
                found.extend(results)
            except AudioError as fault:
                found.append((item, str(fault)))
    assert found == [0, 1, (1, "broken"), 2, 3]


def test_warnings_are_shown_in_their_place():
    second = threading.Event()

    def find(item):
        if item == 0:
            assert second.wait(10)
        warnings.warn(str(item), UserWarning, stacklevel=1)
        second.set()
        yield item

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with several(find, range(2), workers=2, stop=threading.Event()) as each:
            for item, results in each:
                assert list(results) == [item]
                assert [str(warning.message) for warning in shown] == ["0", "1"][: item + 1]
        warnings.warn("last", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["0", "1", "last"]


def test_few_items_are_taken_ahead_of_their_turn():
    taken = itertools.count()
    items = (next(taken) for _ in range(1000))
    with several(lambda item: iter([item]), items, workers=2, stop=threading.Event()) as each:
        for item, results in each:
            assert list(results) == [item]
            if item == 10:
                break
    assert next(taken) < 30


def test_who_leaves_stops_what_is_under_way():
    engine, stop = engine_of(moving_model(), "onnx"), threading.Event()
    stoppable = StoppableEngine(engine, stop)
    begun, blocks = threading.Event(), sound(1.0)[None, : engine.info.step_samples]

    def find(item):
        state = stoppable.initial_state(2)
        while True:  # a recording without an end
            scores, _, state = stoppable.advance(blocks, state)
            begun.set()
            yield scores

    with (
        pytest.raises(KeyboardInterrupt),
        several(find, range(100), workers=2, stop=stop) as each,
    ):
        next(each)
        assert begun.wait(10)
        raise KeyboardInterrupt
    assert stop.is_set()
    with pytest.raises(StoppedError):
        stoppable.advance(blocks, stoppable.initial_state(2))


def test_a_stoppable_engine_is_the_engine():
    engine = engine_of(moving_model(), "onnx")
    stoppable = StoppableEngine(engine, threading.Event())
    samples, state = sound(1.0)[None, : 5 * engine.info.step_samples], engine.initial_state(3)
    for one, other in (
        (stoppable.advance(samples, state), engine.advance(samples, state)),
        (stoppable.embed(samples, state), engine.embed(samples, state)),
    ):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    scores, _, (after,) = stoppable.step(samples, [state])
    np.testing.assert_array_equal(scores, engine.advance(samples, state)[0])
    assert after["steps"] == 5
    np.testing.assert_array_equal(stoppable.score_whole(samples), engine.score_whole(samples))
    np.testing.assert_array_equal(stoppable.embed_whole(samples), engine.embed_whole(samples))
    assert stoppable.embedding_size == engine.embedding_size
    again = stoppable.with_calibration(engine.info.calibration)
    assert (again.info, type(again)) == (engine.info, StoppableEngine)
