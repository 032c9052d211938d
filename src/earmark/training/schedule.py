"""Where a training stands -> learning rate and seeds. No state of its own."""

from __future__ import annotations

import math

import numpy as np

from earmark.config import TrainingSettings

_FIRST = 0.02  # of the highest rate, where the rise begins
_LAST = 0.001  # of the highest rate, where the fall ends


def learning_rate_at(settings: TrainingSettings, progress: float) -> float:
    """Return the learning rate at `progress` (0 to 1): a rise, then a half cosine.

    The one-cycle schedule of Smith and Topin (2018).
    """
    if progress < settings.warmup:
        return settings.learning_rate * (_FIRST + (1 - _FIRST) * progress / settings.warmup)
    falling = (progress - settings.warmup) / (1 - settings.warmup)
    cosine = 0.5 + 0.5 * math.cos(math.pi * falling)
    return settings.learning_rate * (_LAST + (1 - _LAST) * cosine)


def derive_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return a seed of its own for each epoch and stream of random numbers."""
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1, np.uint64)[0] >> 1)
