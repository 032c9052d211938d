"""Waveform -> mel frames, offline and streaming, one definition.

Frame t covers the `n_fft` samples that end with sample `(t + 1) * hop_length`; nothing
later is looked at. Before the first sample stand zeros, so every hop of audio gives one frame and
a stream's first frame comes after one hop. Each frame is

    log(floor + mel @ |rfft(hann * window)|^2)          natural logarithm

which is librosa's `melspectrogram(center=False, power=2.0)` of the same settings over the same
samples, then the logarithm. The transform is done in double precision: in single, quiet bands next
to loud ones were off by up to 6e-4. No normalisation happens here: that needs training clips and
is a buffer of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from earmark.config import FrontEndSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The mel scale of Slaney's Auditory Toolbox (Interval Research TR 1998-010): linear up to 1 kHz,
# where 15 mel are reached, then 27 steps for each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert frequencies in hertz to mel (Slaney's scale)."""
    logarithmic = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert mel (Slaney's scale) to frequencies in hertz."""
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, logarithmic)


def mel_filters(settings: FrontEndSettings) -> NDArray[np.float32]:
    """Return triangular mel filters of unit area in hertz, `(mels, n_fft // 2 + 1)`.

    The edges lie evenly on the mel scale from `low_hz` to `high_hz`; each triangle rises from its
    left neighbour's centre, falls to its right neighbour's, and is divided by half its width.
    """
    bins_hz = np.fft.rfftfreq(settings.n_fft, 1.0 / settings.sample_rate)
    ends = hz_to_mel(np.array([settings.low_hz, settings.high_hz]))
    edges_hz = mel_to_hz(np.linspace(ends[0], ends[1], settings.n_mels + 2))
    left, centre, right = (edges_hz[i : i + settings.n_mels, None] for i in range(3))
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (right - left))).astype(np.float32)


def band_positions(settings: FrontEndSettings, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each band's centre, times `ratio`, lies among the bands.

    Args:
        settings: the front end.
        ratio: factors of frequency, `(crops, 1)`.

    Returns:
        Fractional band numbers `(crops, mels)`, within 0 to `mels - 1`.
    """
    low, high = hz_to_mel(np.array([settings.low_hz, settings.high_hz]))
    step = (high - low) / (settings.n_mels + 1)
    centres_hz = mel_to_hz(low + step * np.arange(1, settings.n_mels + 1))
    places = (hz_to_mel(centres_hz * ratio) - low) / step - 1
    return np.clip(places, 0, settings.n_mels - 1)


class LogMel(nn.Module):
    """The front end: samples in, log-mel frames out, with an explicit state for streams."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        self.settings = settings
        window = torch.hann_window(settings.n_fft, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(settings)), persistent=False)

    def initial_state(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample: zeros `(batch, window - hop)`."""
        context = self.settings.n_fft - self.settings.hop_length
        return self.filters.new_zeros(batch, context)

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the next samples of a stream into the frames they complete.

        Args:
            samples: `(batch, samples)`, any number, none included.
            state: `(batch, kept)`, from `initial_state` or the step before.

        Returns:
            Log-mel frames `(batch, frames, mels)`, possibly no frame, and the new state.
        """
        n_fft, hop = self.settings.n_fft, self.settings.hop_length
        joined = torch.cat([state, samples], dim=1)
        frames = max(0, (joined.shape[1] - n_fft) // hop + 1)
        if frames == 0:
            return joined.new_zeros(joined.shape[0], 0, self.settings.n_mels), joined
        windows = joined.unfold(1, n_fft, hop)  # (batch, frames, window)
        spectrum = torch.fft.rfft(windows * self.window)
        power = (spectrum.real.square() + spectrum.imag.square()).float()
        mel = power @ self.filters.T  # (batch, frames, mels)
        return torch.log(mel + self.settings.floor), joined[:, frames * hop :]

    def clip_frames(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Tensor]:
        """Turn one clip, given in blocks of samples, into its frames, in bounded memory.

        Args:
            blocks: the clip's samples in order, `(samples,)` each.

        Yields:
            The frames each block completes, `(1, frames, mels)`; joined, what `forward` gives.
        """
        state, given = self.initial_state(), 0
        for block in blocks:
            samples = torch.from_numpy(block)[None].to(state.device)
            frames, state = self.step(samples, state)
            given += frames.shape[1]
            yield frames
        if given == 0:
            yield self(state[:, self.settings.n_fft - self.settings.hop_length :])

    def forward(self, samples: Tensor) -> Tensor:
        """Turn whole clips `(batch, samples)` into log-mel frames `(batch, frames, mels)`.

        A clip shorter than one hop is filled up with zeros to give one frame.
        """
        short = self.settings.hop_length - samples.shape[1]
        if short > 0:
            samples = nn.functional.pad(samples, (0, short))
        return self.step(samples, self.initial_state(samples.shape[0]))[0]
