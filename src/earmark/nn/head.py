"""Pooled vectors -> logits.

pooled      (..., size)
hidden      (..., hidden_size)      dropout, fully connected, ReLU; none where the head is linear
logits      (..., num_classes)      dropout, fully connected
"""

from __future__ import annotations

from torch import Tensor, nn


class Head(nn.Sequential):
    """Fully connected layers with ReLU and dropout: pooled vectors to logits.

    Args:
        size: features of a pooled vector.
        hidden_size: units between the two layers; 0: there is one layer only.
        num_classes: classes.
        dropout: share of units dropped while training, before each layer.
    """

    def __init__(self, size: int, hidden_size: int, num_classes: int, dropout: float) -> None:
        parts: list[nn.Module] = []
        if hidden_size:
            parts += [nn.Dropout(dropout), nn.Linear(size, hidden_size), nn.ReLU()]
        parts += [nn.Dropout(dropout), nn.Linear(hidden_size or size, num_classes)]
        super().__init__(*parts)

    def before_last(self, pooled: Tensor) -> Tensor:
        """Return what the last layer is given of pooled vectors, `(..., features)`."""
        for layer in list(self)[:-1]:
            pooled = layer(pooled)
        return pooled

    def linear_layers(self) -> list[nn.Linear]:
        """Return the fully connected layers in order."""
        return [layer for layer in self if isinstance(layer, nn.Linear)]
