"""The model's own mel frames, at a size for a screen.

An exported model computes its frames inside its graph and does not give them out, so they are
computed here once more, from the same samples with the same window and the same filters, but only
each `stride`-th of them, in single precision, and with bands joined until 64 or fewer are left:
a fifth of the cost of all frames, and a byte for each band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.nn.mel import mel_filters

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
        self._filters = mel_filters(settings).T.astype(np.float32)
        self._joined = [slice(n, n + joined) for n in range(0, settings.n_mels, joined)]
        self.bands = len(self._joined)
        length = settings.window_samples
        turn = length - 1 if settings.symmetric_window else length
        phase = 2 * np.pi * np.arange(length) / turn
        self._window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
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
        settings = self.settings
        size = settings.window_samples + bool(settings.pre_emphasis)
        ends = range(self.context, len(samples) + 1, self.stride_samples)
        windows = np.stack([samples[end - size : end] for end in ends])
        if settings.pre_emphasis:
            windows = windows[:, 1:] - np.float32(settings.pre_emphasis) * windows[:, :-1]
        spectrum = np.fft.rfft(windows * self._window, settings.n_fft)
        power = spectrum.real**2 + spectrum.imag**2
        mel = np.asarray(power, np.float32) @ self._filters
        return np.asarray(np.log(mel + np.float32(settings.floor)), np.float32)

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
