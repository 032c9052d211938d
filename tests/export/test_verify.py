"""Comparing two engines: a difference anywhere is found, in chunks and batches of every size."""

import numpy as np
import pytest
import torch

from earmark.export.verify import measure_difference
from earmark.runtime.torch_engine import TorchEngine
from tests.export.test_build import sounds, trained


class Watched(TorchEngine):
    """An engine that keeps what it was asked, and may be wrong in one place."""

    def __init__(self, engine, wrong=lambda scores, clip_scores, steps: None):
        vars(self).update(vars(engine))
        self.wrong = wrong
        self.asked = []

    def step(self, samples, states):
        scores, clip_scores, after = super().step(samples, states)
        self.asked.append(samples.shape)
        self.wrong(scores, clip_scores, states[0]["steps"][0])
        return scores, clip_scores, after


@pytest.fixture(scope="module")
def engine():
    return TorchEngine(trained(stack=2))


def test_an_engine_differs_from_itself_by_nothing(engine):
    assert measure_difference(engine, engine, sounds()) == 0.0


def test_clips_come_whole_in_sevens_and_step_by_step_alone_and_in_threes(engine):
    watched, step = Watched(engine), engine.info.step_samples
    clips = sounds(4, 0.5)
    measure_difference(watched, engine, clips)
    steps = len(clips[0]) // step
    sevens = [7] * (steps // 7) + [steps % 7] * (steps % 7 > 0)
    once = [steps, *sevens, *([1] * steps), steps]
    assert watched.asked == [(streams, n * step) for streams in (1, 3) for n in once]


def test_a_clip_shorter_than_a_step_is_filled_up_to_one(engine):
    watched = Watched(engine)
    measure_difference(watched, engine, [np.zeros(5, np.float32)])
    assert watched.asked == [(streams, engine.info.step_samples) for streams in (1, 3)]


def add_to_the_last_step(scores, clip_scores, steps):
    scores[-1, -1, 0] += 0.25


def add_late(scores, clip_scores, steps):
    if steps > 20:
        clip_scores[-1, -1] -= 0.25


def spoil(scores, clip_scores, steps):
    scores[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("wrong", "difference"), [(add_to_the_last_step, 0.25), (add_late, 0.25), (spoil, np.inf)]
)
def test_one_wrong_score_is_found(engine, wrong, difference):
    found = measure_difference(engine, Watched(engine, wrong), sounds())
    assert found == pytest.approx(difference, abs=1e-6)


def test_another_model_differs():
    made, other = trained(), trained()
    with torch.no_grad():
        other.model.head[-1].bias.add_(torch.tensor([0.01, 0, 0]))
    assert measure_difference(TorchEngine(made), TorchEngine(other), sounds()) > 1e-4
