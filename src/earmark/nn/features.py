"""Waveform -> mel frames, offline and streaming, one definition.

    samples     (batch, samples)                -1 to 1
    emphasise   (batch, samples)                x[t] - pre_emphasis * x[t - 1], where asked for
    window      (batch, frames, win_length)     Hann
    power       (batch, frames, n_fft // 2 + 1) |rfft|^2, the window filled up with zeros
    mel         (batch, frames, n_mels)         log(floor + power @ filters), natural logarithm

Frame t covers the `win_length` samples that end with sample `(t + 1) * hop_length`; nothing
later is looked at. Before the first sample stand zeros, so every hop of audio gives one frame and
a stream's first frame comes after one hop.

With the default settings this is librosa's `melspectrogram(center=False, power=2.0)` of the same
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
# The mel scale of Kaldi and of HTK, with the natural logarithm: 1127 ln(1 + f / 700).
_KALDI_MEL = 1127.0
_KALDI_HZ = 700.0


def hz_to_mel(hz: NDArray[np.float64], scale: str = "slaney") -> NDArray[np.float64]:
    """Convert frequencies in hertz to mel, on the scale `slaney` or `kaldi`."""
    if scale == "kaldi":
        return _KALDI_MEL * np.log1p(hz / _KALDI_HZ)
    logarithmic = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mel: NDArray[np.float64], scale: str = "slaney") -> NDArray[np.float64]:
    """Convert mel, on the scale `slaney` or `kaldi`, to frequencies in hertz."""
    if scale == "kaldi":
        return _KALDI_HZ * np.expm1(mel / _KALDI_MEL)
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, logarithmic)


def mel_filters(settings: FrontEndSettings) -> NDArray[np.float32]:
    """Return triangular mel filters, `(mels, n_fft // 2 + 1)`.

    The edges lie evenly on the mel scale from `low_hz` to `high_hz`; each triangle rises from its
    left neighbour's centre and falls to its right neighbour's. On Slaney's scale the sides are
    straight over hertz, and each is divided by half its width; on Kaldi's they are straight over
    mel, the height is 1 and the last bin is not used.
    """
    bins_hz = np.fft.rfftfreq(settings.n_fft, 1.0 / settings.sample_rate).astype(np.float64)
    scale = settings.mel_scale
    ends = hz_to_mel(np.array([settings.low_hz, settings.high_hz]), scale)
    edges_mel = np.linspace(ends[0], ends[1], settings.n_mels + 2)
    if scale == "kaldi":
        triangles = _triangles(edges_mel, hz_to_mel(bins_hz, scale))
        triangles[:, -1] = 0.0
        return triangles.astype(np.float32)
    edges_hz = mel_to_hz(edges_mel)
    widths = edges_hz[2:, None] - edges_hz[:-2, None]
    return (_triangles(edges_hz, bins_hz) * (2.0 / widths)).astype(np.float32)


def _triangles(edges: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return triangles of height 1 at some places, `(edges - 2, places)`."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (places - left) / (centre - left)
    falling = (right - places) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def hann_window(settings: FrontEndSettings) -> Tensor:
    """Return the window `(window_samples,)` in double precision."""
    return torch.hann_window(
        settings.window_samples, periodic=not settings.symmetric_window, dtype=torch.float64
    )


def band_positions(settings: FrontEndSettings, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each band's centre, times `ratio`, lies among the bands.

    Args:
        settings: the front end.
        ratio: factors of frequency, `(crops, 1)`.

    Returns:
        Fractional band numbers `(crops, mels)`, within 0 to `mels - 1`.
    """
    scale = settings.mel_scale
    low, high = hz_to_mel(np.array([settings.low_hz, settings.high_hz]), scale)
    step = (high - low) / (settings.n_mels + 1)
    centres_hz = mel_to_hz(low + step * np.arange(1, settings.n_mels + 1), scale)
    places = (hz_to_mel(centres_hz * ratio, scale) - low) / step - 1
    return np.clip(places, 0, settings.n_mels - 1)


class LogMel(nn.Module):
    """The front end: samples in, log-mel frames out, with an explicit state for streams."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", hann_window(settings), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(settings)), persistent=False)

    def initial_state(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample: zeros `(batch, context_samples)`."""
        return self.filters.new_zeros(batch, self.settings.context_samples)

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the next samples of a stream into the frames they complete.

        Args:
            samples: `(batch, samples)`, any number, none included.
            state: `(batch, kept)`, from `initial_state` or the step before.

        Returns:
            Log-mel frames `(batch, frames, mels)`, possibly no frame, and the new state.
        """
        hop, context = self.settings.hop_length, self.settings.context_samples
        joined = torch.cat([state, samples], dim=1)
        frames = max(0, (joined.shape[1] - context) // hop)
        if frames == 0:
            return joined.new_zeros(joined.shape[0], 0, self.settings.n_mels), joined
        windows = self._emphasise(joined).unfold(1, self.settings.window_samples, hop)
        spectrum = torch.fft.rfft(windows * self.window, n=self.settings.n_fft)
        power = (spectrum.real.square() + spectrum.imag.square()).float()
        mel = power @ self.filters.T  # (batch, frames, mels)
        return torch.log(mel + self.settings.floor), joined[:, frames * hop :]

    def _emphasise(self, samples: Tensor) -> Tensor:
        """Take from each sample a part of the one before it; the first has none."""
        if not self.settings.pre_emphasis:
            return samples
        exact = samples.double()
        return exact[:, 1:] - self.settings.pre_emphasis * exact[:, :-1]

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
            yield self(state[:, self.settings.context_samples :])

    def forward(self, samples: Tensor) -> Tensor:
        """Turn whole clips `(batch, samples)` into log-mel frames `(batch, frames, mels)`.

        A clip shorter than one hop is filled up with zeros to give one frame.
        """
        short = self.settings.hop_length - samples.shape[1]
        if short > 0:
            samples = nn.functional.pad(samples, (0, short))
        return self.step(samples, self.initial_state(samples.shape[0]))[0]
