"""The window, the mel scale and its filters, in NumPy alone: frames need no torch (see
`earmark.runtime.frames`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.config import FrontEndSettings

# The mel scale of Slaney's Auditory Toolbox (Interval Research TR 1998-010): linear up to 1 kHz,
# where 15 mel are reached, then 27 steps for each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0
# The mel scale of Kaldi and of HTK, with the natural logarithm: 1127 ln(1 + f / 700).
_KALDI_MEL = 1127.0
_KALDI_HZ = 700.0


def hann_window(settings: FrontEndSettings) -> NDArray[np.float64]:
    """Return the window `(window_samples,)`: half a raised cosine, periodic or symmetric."""
    length = settings.window_samples
    if length == 1:
        return np.ones(1)
    turn = length - 1 if settings.symmetric_window else length
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / turn)


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
