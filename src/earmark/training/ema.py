"""The running average of a model's weights, which is validated and saved in their place."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from earmark.nn.classifier import LSTMClassifier


class WeightAverage:
    """An exponential moving average of weights and of batch norm's running statistics.

    Args:
        model: the model that learns; the average begins as a copy of it.
        decay: what stays of the average after a step; 0: the weights themselves.
    """

    def __init__(self, model: LSTMClassifier, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: LSTMClassifier, step: int) -> None:
        """Move towards the weights after step number `step`; quickly at first, then by `decay`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(_moving_tensors(self.model), _moving_tensors(model), 1 - decay)


def copy_weights(model: LSTMClassifier) -> dict[str, Tensor]:
    """Return the weights as they are now, by name."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _moving_tensors(model: LSTMClassifier) -> list[Tensor]:
    """Return the weights and the running statistics of batch norm."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
