"""Which axis of an array of samples is that of the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import AudioError

MOST_CHANNELS = 32


def channels_last(samples: NDArray[Any], name: str) -> NDArray[Any]:
    """Return a whole clip as `(samples,)` or `(samples, channels)`, whichever way round it came.

    The axis of at most `MOST_CHANNELS` beside a longer one is that of the channels: libraries give
    `(samples, channels)`, as soundfile, and `(channels, samples)`, as librosa and torchaudio.

    Args:
        samples: of the clip.
        name: where they come from, for the message.

    Raises:
        AudioError: both axes are long, or both are short, so that nobody can tell.
    """
    array = np.asarray(samples)
    if array.ndim != 2 or 0 in array.shape or 1 in array.shape:
        return array.reshape(-1) if array.ndim == 2 else array
    first, second = (length <= MOST_CHANNELS for length in array.shape)
    if first == second:
        raise AudioError(
            f"{name}: has shape {array.shape}, which may be samples by channels or channels by "
            f"samples; give (samples, channels) with at most {MOST_CHANNELS} channels and more "
            "samples than that"
        )
    return array.T if first else array
