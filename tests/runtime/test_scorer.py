"""Blocks and windows in whole steps, and scores of a block with the state that follows."""

import numpy as np
import pytest

from earmark.config import EventSettings
from earmark.errors import ModelError
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import CLASSES, FRONT_END
from tests.runtime.builders import SHAPES, engine_of, moving_model, sound


@pytest.mark.parametrize(
    ("block_seconds", "steps"), [(0.0, 1), (0.02, 1), (0.05, 1), (0.1, 2), (0.52, 9)]
)
def test_a_block_is_the_nearest_whole_number_of_steps_and_at_least_one(block_seconds, steps):
    engine = engine_of(moving_model(stack=3), "torch")  # a step of 60 ms
    scorer = StreamScorer(engine, EventSettings(), block_seconds=block_seconds)
    assert scorer.step_seconds == pytest.approx(0.06)
    assert scorer.block_samples == steps * 480


@pytest.mark.parametrize(("window_seconds", "window"), [(0.01, 1), (0.75, 12), (3.0, 50)])
def test_the_window_is_counted_in_steps(window_seconds, window):
    engine = engine_of(moving_model(stack=3), "torch")
    settings = EventSettings(window_seconds=window_seconds)
    assert StreamScorer(engine, settings).window == window


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_two_blocks_give_the_scores_of_one_and_leave_the_states_before_alone(kind):
    scorer = StreamScorer(engine_of(moving_model(**SHAPES[2]), kind), EventSettings())
    samples, start = sound(6.0)[: 20 * scorer.block_samples], scorer.initial_state().model
    kept = {name: array.copy() for name, array in start.items()}
    whole, _ = scorer.score(samples, start)
    first, between = scorer.score(samples[: 8 * scorer.block_samples], start)
    second, _ = scorer.score(samples[8 * scorer.block_samples :], between)
    assert whole.shape == (20, 3)
    # float32 sums in another order; measured below 5e-6
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-5)
    for name, array in start.items():
        np.testing.assert_array_equal(array, kept[name])


def test_a_model_that_looks_ahead_is_refused():
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, bidirectional=True)
    with pytest.raises(ModelError, match="bidirectional"):
        StreamScorer(TorchEngine(TrainedModel(model, CLASSES, FRONT_END)), EventSettings())
