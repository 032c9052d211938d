"""Waveform -> mel frames, offline and streaming, one definition.

    samples     (batch, samples)                -1 to 1
    emphasise   (batch, samples)                x[t] - pre_emphasis * x[t - 1], where asked for
    window      (batch, frames, win_length)     Hann
    power       (batch, frames, n_fft // 2 + 1) |rfft|^2, the window filled up with zeros
    mel         (batch, frames, n_mels)         log(floor + power @ filters), natural logarithm

Frame t covers the `win_length` samples that end with sample `(t + 1) * hop_length`; nothing
later is looked at. Before the first sample stand zeros, so every hop of audio gives one frame and
a stream's first frame comes after one hop. After a clip shorter than one hop, or than
`min_clip_seconds`, stand zeros too.

With the default settings this is librosa's `melspectrogram(center=False, power=2.0)` of the same
samples, then the logarithm. The transform is done in double precision: in single, quiet bands next
to loud ones were off by up to 6e-4. No normalisation happens here: that needs training clips and
is a buffer of the model. `earmark.runtime.frames` computes the same in NumPy, for prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from earmark.config import FrontEndSettings
from earmark.nn.mel import hann_window, mel_filters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LogMel(nn.Module):
    """The front end: samples in, log-mel frames out, with an explicit state for streams."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", torch.from_numpy(hann_window(settings)), persistent=False)
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
        state, missing = self.initial_state(), self.settings.min_clip_samples
        for block in blocks:
            samples = torch.from_numpy(block)[None].to(state.device)
            frames, state = self.step(samples, state)
            missing -= len(block)
            yield frames
        if missing > 0:
            yield self.step(state.new_zeros(1, missing), state)[0]

    def forward(self, samples: Tensor) -> Tensor:
        """Turn whole clips `(batch, samples)` into log-mel frames `(batch, frames, mels)`.

        Shorter clips than `min_clip_samples` are filled up with zeros.
        """
        missing = self.settings.min_clip_samples - samples.shape[1]
        if missing > 0:
            samples = nn.functional.pad(samples, (0, missing))
        return self.step(samples, self.initial_state(samples.shape[0]))[0]
