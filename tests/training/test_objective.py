"""What training makes small."""

import numpy as np
import pytest
import torch

from earmark.nn.classifier import LSTMClassifier
from earmark.training.augment import Crops
from earmark.training.objective import Objective, class_weights, segment_targets
from tests.builders import small_recipe


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


def test_negatives_weigh_nothing_in_the_balance_of_classes():
    labels = np.array([0] * 90 + [1] * 10)
    with_negatives = np.concatenate([labels, np.full(300, -1)])
    torch.testing.assert_close(class_weights(with_negatives, 2, 1.0), class_weights(labels, 2, 1.0))


def test_crops_without_a_heaviest_label_are_not_counted_as_right_or_wrong():
    torch.manual_seed(0)
    model = LSTMClassifier(6, 4, 1, 3)
    x = torch.randn(4, 10, 6)
    right = torch.nn.functional.one_hot(model.logits(x).argmax(1), 3).float()
    targets = torch.cat([right[:2], torch.full((2, 3), 1 / 3)])
    crops = Crops(x, targets, targets[:, None].expand(-1, 10, -1))
    _, correct, decided = Objective(model, small_recipe(), torch.ones(3), 5)(crops)
    assert (correct.item(), decided.item()) == (2, 2)
