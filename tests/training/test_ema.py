"""The running average of the weights."""

import pytest
import torch

from earmark.nn.classifier import LSTMClassifier
from earmark.training.ema import WeightAverage, copy_weights


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LSTMClassifier(6, 4, 1, 3)


def filled(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def test_the_average_begins_as_a_copy_and_leaves_the_model_alone(model):
    average = WeightAverage(model, 0.9)
    torch.testing.assert_close(average.model.state_dict(), model.state_dict(), atol=0, rtol=0)
    before = copy_weights(model)
    average.update(filled(average.model, 5.0), 3)
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


def test_the_decay_grows_from_a_tenth_to_what_was_asked(model):
    average = WeightAverage(filled(model, 0.0), 0.9)
    weight = next(average.model.parameters())
    average.update(filled(model, 1.0), 0)
    assert weight.flatten()[0].item() == pytest.approx(0.9)  # decay 1/10
    average.update(filled(model, 2.0), 10_000)
    assert weight.flatten()[0].item() == pytest.approx(0.9 * 0.9 + 0.1 * 2)


def test_a_decay_of_0_keeps_the_weights_themselves(model):
    average = WeightAverage(filled(model, 0.0), 0.0)
    average.update(filled(model, 1.0), 7)
    torch.testing.assert_close(average.model.state_dict(), model.state_dict())


def test_a_copy_of_weights_does_not_follow_them(model):
    copy = copy_weights(model)
    filled(model, 9.0)
    assert not any(torch.equal(copy[name], p) for name, p in model.named_parameters())
