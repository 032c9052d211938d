"""Samples -> log-mel frames in NumPy, for the engine that needs no torch and for the live page.

    joined      (batch, context + frames * hop)  samples, with those that frames reach back to
    windows     (batch, frames, n_fft)           Hann, the window filled up with zeros
    power       (batch, frames, n_fft // 2 + 1)  |rfft|^2
    mel         (batch, frames, n_mels)          log(floor + power @ filters)

What `earmark.nn.features` defines, in double precision up to the power like there. A real Fourier
transform needs a tenth of the arithmetic of the matrix products that an ONNX graph has to make do
with. Single precision would save nothing: NumPy's transform takes as long.

Two things make it quick. Frames are computed some at a time, in memory that each thread keeps, so
that what lies between stays in the processor's cache. And neighbouring bands are one matrix product
over the few bins that any of them has, because 99 of 100 weights of the filters are zero.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.nn.mel import hann_window, mel_filters

_TILE_SAMPLES = 65_536  # of windows that are computed at a time: a megabyte of transforms
_TOGETHER = 16  # bands that are one product
_MOST_PRODUCTS = 250_000  # in one of matrices; from 262,144 on OpenBLAS calls for more threads


_KEPT = threading.local()


class _Bands(NamedTuple):
    """Neighbouring bands.

    Attributes:
        bins: those of the transform that any of them has.
        bands: their places.
        filters: their weights, `(bins, bands)`.
    """

    bins: slice
    bands: slice
    filters: NDArray[np.float32]


class MelFrames:
    """Computes the frames of one front end. It holds no stream's state, so threads may share it.

    Args:
        settings: the front end.
        stride_samples: samples from one frame to the next; 0: the front end's own hop.
    """

    def __init__(self, settings: FrontEndSettings, stride_samples: int = 0) -> None:
        self.settings = settings
        self.stride_samples = stride_samples or settings.hop_length
        self._window = hann_window(settings)
        filters = mel_filters(settings).T
        self._bands = [
            _cut(filters, start, min(start + _TOGETHER, settings.n_mels))
            for start in range(0, settings.n_mels, _TOGETHER)
        ]
        largest = max(part.filters.size for part in self._bands)
        most = min(_TILE_SAMPLES // settings.n_fft, _MOST_PRODUCTS // largest)
        self._most_frames = max(1, most)  # at a time

    @property
    def reach_samples(self) -> int:
        """Samples that a frame is computed from."""
        return self.settings.window_samples + bool(self.settings.pre_emphasis)

    def compute(self, joined: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return all frames that lie in samples.

        Args:
            joined: `(batch, samples)`; the first frame begins with the first of them.

        Returns:
            Log-mel frames `(batch, frames, n_mels)`, possibly no frame.
        """
        streams, samples = joined.shape
        frames = max(0, (samples - self.reach_samples) // self.stride_samples + 1)
        mel = np.empty((streams, frames, self.settings.n_mels), np.float32)
        if not mel.size:
            return mel
        length = min(frames, self._most_frames)
        several = min(streams, self._most_frames // length)
        space = _Space.of(self._most_frames, self.settings.n_fft, self.settings.window_samples)
        with np.errstate(over="ignore", invalid="ignore"):  # of samples far above full scale
            for stream in range(0, streams, several):
                rows = joined[stream : stream + several]
                for first in range(0, frames, length):
                    place = mel[stream : stream + several, first : first + length]
                    start = first * self.stride_samples
                    end = start + (place.shape[1] - 1) * self.stride_samples + self.reach_samples
                    self._compute_tile(rows[:, start:end], space, place)
        return mel

    def _compute_tile(
        self, samples: NDArray[np.float32], space: _Space, mel: NDArray[np.float32]
    ) -> None:
        """Write the frames of some samples, as many as `mel (streams, frames, n_mels)` takes."""
        settings = self.settings
        windows, spectrum, power = space.part(mel.shape[0], mel.shape[1])
        signal: NDArray[np.floating] = samples
        if settings.pre_emphasis:
            exact = samples.astype(np.float64)
            signal = exact[:, 1:] - settings.pre_emphasis * exact[:, :-1]
        stream, sample = signal.strides
        seen = as_strided(
            signal,
            (*mel.shape[:2], settings.window_samples),
            (stream, self.stride_samples * sample, sample),
            writeable=False,
        )
        np.multiply(seen, self._window, out=windows[..., : settings.window_samples])
        np.fft.rfft(windows, out=spectrum)
        parts = spectrum.view(np.float64)  # real and imaginary in turn
        np.square(parts, out=parts)
        np.add(parts[..., ::2], parts[..., 1::2], out=power, casting="same_kind")
        for part in self._bands:
            np.matmul(power[..., part.bins], part.filters, out=mel[..., part.bands])
        np.add(mel, np.float32(settings.floor), out=mel)
        np.log(mel, out=mel)


class _Space(NamedTuple):
    """What lies between samples and frames, used again and again, `(frames, ...)`."""

    windows: NDArray[np.float64]
    spectrum: NDArray[np.complex128]
    power: NDArray[np.float32]

    @classmethod
    def of(cls, frames: int, n_fft: int, window_samples: int) -> _Space:
        """Return this thread's space; behind the windows stand zeros."""
        spaces: dict[tuple[int, int, int], _Space] = _KEPT.__dict__.setdefault("spaces", {})
        key = (frames, n_fft, window_samples)
        if key not in spaces:
            bins = (frames, n_fft // 2 + 1)
            windows = np.zeros((frames, n_fft))
            spaces[key] = cls(windows, np.empty(bins, np.complex128), np.empty(bins, np.float32))
        return spaces[key]

    def part(self, streams: int, frames: int) -> _Space:
        """Return the part for so many frames of so many streams, `(streams, frames, ...)`."""
        shape, rows = (streams, frames, -1), streams * frames
        return _Space(
            windows=self.windows[:rows].reshape(shape),
            spectrum=self.spectrum[:rows].reshape(shape),
            power=self.power[:rows].reshape(shape),
        )


def _cut(filters: NDArray[np.float32], start: int, end: int) -> _Bands:
    """Return the bands from one to before another, and of the bins those that they have."""
    own = filters[:, start:end]
    bins = np.flatnonzero(own.any(axis=1))
    # A band between two bins has none; its product is with one bin of weight zero.
    used = slice(int(bins[0]), int(bins[-1]) + 1) if bins.size else slice(0, 1)
    return _Bands(used, slice(start, end), np.ascontiguousarray(own[used]))
