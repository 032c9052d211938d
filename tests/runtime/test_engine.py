"""Both engines: batches of states, streams that stand differently, and other calibrations."""

import dataclasses

import numpy as np
import pytest

from earmark.config import Calibration
from earmark.decision.calibration import with_temperature
from earmark.errors import ModelError
from earmark.runtime.engine import joined, split_states
from tests.runtime.builders import KINDS, SHAPES, engine_of, moving_model, sound


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def blocks(engine, streams, steps=6):
    size = steps * engine.info.step_samples
    return np.stack([sound(1.0, seed=seed)[:size] for seed in range(streams)])


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_a_batch_of_states_advances_as_each_alone(kind, options):
    engine = engine_of(moving_model(**options), kind)
    samples = blocks(engine, 5)
    states = [engine.initial_state(4) for _ in range(5)]
    for stream in (1, 3):  # these two have begun already
        states[stream] = engine.step(samples[stream : stream + 1], [states[stream]])[2][0]
    scores, so_far, after = engine.advance(samples, joined(states))
    assert scores.shape == (5, 6, 3)
    assert so_far.shape == (5, 3)
    for stream, state in enumerate(split_states(after)):
        alone, whole, (its,) = engine.step(samples[stream : stream + 1], [states[stream]])
        # batched sums in another order; measured below 5e-6
        np.testing.assert_allclose(scores[stream], alone[0], atol=1e-5)
        np.testing.assert_allclose(so_far[stream], whole[0], atol=1e-5)
        assert state.keys() == its.keys()
        for name, array in state.items():
            np.testing.assert_allclose(array, its[name], atol=1e-4)


def test_the_new_states_can_be_written_to(kind):
    engine = engine_of(moving_model(**SHAPES[2]), kind)
    _, _, after = engine.advance(blocks(engine, 2), joined([engine.initial_state(4)] * 2))
    for array in after.values():
        array[0] = array[1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_another_calibration_is_laid_over_the_same_weights(kind, temperature):
    trained = moving_model(**SHAPES[2])
    trained = dataclasses.replace(trained, calibration=Calibration(2.0, (0.5, 0.5, 0.5)))
    engine = engine_of(trained, kind)
    samples = blocks(engine, 2)
    state = joined([engine.initial_state(4)] * 2)
    given = Calibration(temperature, (0.1, 0.2, 0.3))
    other = engine.with_calibration(given)
    fitted = engine_of(dataclasses.replace(trained, calibration=given), kind)
    (scores, so_far, _), (its_scores, its_so_far, _) = (
        one.advance(samples, state) for one in (other, fitted)
    )
    np.testing.assert_allclose(scores, its_scores, atol=1e-5)
    np.testing.assert_allclose(so_far, its_so_far, atol=1e-5)
    before = engine.advance(samples, state)[1]
    ratio = with_temperature(before, temperature / 2.0)
    np.testing.assert_allclose(other.advance(samples, state)[1], ratio, atol=1e-5)
    assert other.info.calibration == given
    assert engine.info.calibration.temperature == 2.0
    assert other.info.fingerprint == engine.info.fingerprint
    assert other.info.calibration_fingerprint != engine.info.calibration_fingerprint
    back = other.with_calibration(engine.info.calibration)
    np.testing.assert_array_equal(back.advance(samples, state)[1], before)


def test_a_calibration_of_other_classes_is_refused(kind):
    engine = engine_of(moving_model(), kind)
    with pytest.raises(ModelError, match="has 3 classes, the calibration thresholds for 2"):
        engine.with_calibration(Calibration(1.0, (0.5, 0.5)))
