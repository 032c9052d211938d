"""Pooled vectors -> how likely a sound is of some class at all, by its likeness to known ones.

pooled      (..., size)
whitened    (..., dimensions)   a linear map that makes the spread within classes alike everywhere
cosines     (..., prototypes)   with each stored vector; the largest counts
known       (...)               its sigmoid, scaled and shifted

A network that only learnt to tell its classes apart is as sure of sounds that are none of them. How
far such a sound lies from all that is known tells it better (Lee et al. 2018, "A simple unified
framework for detecting out-of-distribution samples"). `earmark.training.similarity` fits it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_LENGTH = 1e-6  # added to the length of a vector, so that none is divided by zero


class Similarity(nn.Module):
    """The probability that a pooled vector is of some class. Nothing of it is trained by gradients.

    Args:
        size: features of a pooled vector.
        prototypes: stored vectors.
        dimensions: of each.

    Attributes:
        weight: of the whitening, `(dimensions, size)`.
        bias: of the whitening, `(dimensions,)`.
        prototypes: the stored vectors, each of length 1, `(prototypes, dimensions)`.
        slope: of the largest cosine, `(1,)`.
        offset: added to it, `(1,)`.
    """

    weight: Tensor
    bias: Tensor
    prototypes: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, size: int, prototypes: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(dimensions, size))
        self.register_buffer("bias", torch.zeros(dimensions))
        self.register_buffer("prototypes", torch.zeros(prototypes, dimensions))
        self.register_buffer("slope", torch.zeros(1))
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return probabilities `(..., 1)` of pooled vectors `(..., size)`."""
        return torch.sigmoid(self.cosine(pooled) * self.slope + self.offset)

    def cosine(self, pooled: Tensor) -> Tensor:
        """Return the largest cosine with a stored vector, `(..., 1)`."""
        whitened = functional.linear(pooled, self.weight, self.bias)
        length = torch.linalg.vector_norm(whitened, dim=-1, keepdim=True)
        cosines = functional.linear(whitened / (length + SMALLEST_LENGTH), self.prototypes)
        return cosines.amax(-1, keepdim=True)
