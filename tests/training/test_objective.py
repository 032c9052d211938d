"""What training makes small."""

import numpy as np
import pytest
import torch

from earmark.training.objective import class_weights, segment_targets


def test_a_segment_s_target_is_what_sounds_in_its_window():
    activity = torch.zeros(1, 24, 2)
    activity[0, 12:, 0], activity[0, 18:, 1] = 0.25, 0.75  # nothing, then one class, then both
    targets = segment_targets(activity, 2, 3)  # 6 frames, every 2
    assert targets.shape == (1, 10, 2)
    torch.testing.assert_close(targets.sum(2), torch.ones(1, 10))
    torch.testing.assert_close(targets[0, 0], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(targets[0, 6], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(targets[0, 9], torch.tensor([0.25, 0.75]))
    faint = segment_targets(activity * 0.1, 2, 3)
    torch.testing.assert_close(faint[0, 6], torch.tensor([0.625, 0.375]))


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_rare_classes_weigh_more_and_the_mean_weight_is_1(balance):
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2, balance)
    assert (weights[1] / weights[0]).item() == pytest.approx(9**balance)
    assert (90 * weights[0] + 10 * weights[1]).item() / 100 == pytest.approx(1)
