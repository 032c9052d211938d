"""The model's own mel frames, at a size for a screen.

Frames for the network are computed where its blocks are scored, those for a screen where samples
come in: by the same code, but only each `stride`-th of them, and with bands joined until 64 or
fewer are left. That is a fifth of the cost of all frames, and a byte for each band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.runtime.frames import MelFrames

MOST_BANDS = 64
COLUMNS_PER_SECOND = 25.0
_SPAN = 16.0  # nepers of power from black to white, 69 dB


class FrontEndView:
    """What computes columns for all streams of one model; it holds no stream's state.

    Args:
        settings: the model's front end.
        per_second: about so many columns a second; a whole number of frames lies between two.

    Attributes:
        bands: bands of a column.
        stride_samples: samples from one column to the next.
    """

    def __init__(self, settings: FrontEndSettings, per_second: float = COLUMNS_PER_SECOND) -> None:
        self.settings = settings
        stride = max(1, round(settings.frames_per_second / per_second))
        self.stride_samples = stride * settings.hop_length
        joined = -(-settings.n_mels // MOST_BANDS)
        self._frames = MelFrames(settings, self.stride_samples)
        self._joined = [slice(n, n + joined) for n in range(0, settings.n_mels, joined)]
        self.bands = len(self._joined)
        self._low = float(np.log(settings.floor))
        self.context = settings.context_samples + self.stride_samples

    @property
    def per_second(self) -> float:
        """Columns in a second."""
        return self.settings.sample_rate / self.stride_samples

    def frames(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-mel frames `(columns, mels)` of windows that end after each stride.

        Args:
            samples: `(context + columns x stride - stride,)`, what the windows reach back to first.
        """
        first = self.context - self._frames.reach_samples
        return self._frames.compute(samples[None, first:])[0]

    def columns(self, frames: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return frames as columns `(columns, bands)`: 0 is the front end's floor."""
        bands = np.stack([frames[:, part].max(axis=1) for part in self._joined], axis=1)
        return np.clip((bands - self._low) * (255 / _SPAN), 0, 255).astype(np.uint8)


class Columns:
    """The columns of one stream.

    Args:
        view: what computes them.

    Attributes:
        given: columns so far.
    """

    def __init__(self, view: FrontEndView) -> None:
        self.view, self.given = view, 0
        self._kept = np.zeros(view.context - view.stride_samples, np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Take the next samples, at the model's rate; return the columns that they complete."""
        view = self.view
        joined = np.concatenate([self._kept, samples])
        columns = (len(joined) - view.context) // view.stride_samples + 1
        if columns <= 0:
            self._kept = joined
            return np.zeros((0, view.bands), np.uint8)
        self._kept = joined[columns * view.stride_samples :]
        self.given += columns
        used = view.context + (columns - 1) * view.stride_samples
        return view.columns(view.frames(joined[:used]))
