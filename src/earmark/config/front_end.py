"""How a waveform becomes log-mel frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.config.codec import check, check_types, rename_keys

LOWEST_SAMPLE_RATE = 4_000
HIGHEST_SAMPLE_RATE = 384_000
MEL_SCALES = ("slaney", "kaldi")
_EARLIER_NAMES = {
    "rate_hz": "sample_rate",
    "window_samples": "n_fft",
    "hop_samples": "hop_length",
    "mels": "n_mels",
}
_LATER = {
    "win_length": 0,
    "symmetric_window": False,
    "pre_emphasis": 0.0,
    "mel_scale": "slaney",
    "min_clip_seconds": 0.0,
}
_MOST_FILLED = 60.0  # seconds


@dataclass(frozen=True)
class FrontEndSettings:
    """How a waveform becomes log-mel frames.

    Attributes:
        sample_rate: of the model, in hertz; audio of other rates is resampled to it.
        n_fft: length of the Fourier transform, in samples.
        hop_length: samples from one frame to the next, at most the window.
        n_mels: mel bands per frame, the `input_size` of the documented model.
        low_hz: lower edge of the first mel band.
        high_hz: upper edge of the last mel band, at most half of `sample_rate`.
        floor: power added before the logarithm; it hides quantisation noise and digital silence.
        win_length: length of the Hann window, in samples; zeros fill it up to `n_fft`. 0: `n_fft`.
        symmetric_window: the window ends with the zero that it begins with; else it is periodic.
        pre_emphasis: so much of the sample before is taken from each sample, 0 to below 1.
        mel_scale: `slaney`, with triangles of unit area in hertz, or `kaldi`, with triangles of
            height 1 in mel.
        min_clip_seconds: silence is added to the end of a shorter clip until it is so long; a
            stream is taken as it comes. For a model that answers late, in long steps.
    """

    sample_rate: int = 32_000
    n_fft: int = 1024
    hop_length: int = 640
    n_mels: int = 40
    low_hz: float = 20.0
    high_hz: float = 16_000.0
    floor: float = 1e-6
    win_length: int = 0
    symmetric_window: bool = False
    pre_emphasis: float = 0.0
    mel_scale: str = "slaney"
    min_clip_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        rule = f"{LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE}"
        inside = LOWEST_SAMPLE_RATE <= self.sample_rate <= HIGHEST_SAMPLE_RATE
        check(inside, "sample_rate", rule, self.sample_rate)
        check(self.n_fft >= 2, "n_fft", "at least 2", self.n_fft)
        check(1 <= self.hop_length <= self.n_fft, "hop_length", "1 to n_fft", self.hop_length)
        check(self.n_mels >= 1, "n_mels", "at least 1", self.n_mels)
        check(self.low_hz >= 0, "low_hz", "at least 0", self.low_hz)
        rule = "above low_hz and at most half of sample_rate"
        check(self.low_hz < self.high_hz <= self.sample_rate / 2, "high_hz", rule, self.high_hz)
        check(self.floor > 0, "floor", "above 0", self.floor)
        inside = self.hop_length <= self.window_samples <= self.n_fft
        check(inside, "win_length", "0, or hop_length to n_fft", self.win_length)
        check(0 <= self.pre_emphasis < 1, "pre_emphasis", "0 to below 1", self.pre_emphasis)
        rule = f"one of {', '.join(MEL_SCALES)}"
        check(self.mel_scale in MEL_SCALES, "mel_scale", rule, self.mel_scale)
        inside = 0 <= self.min_clip_seconds <= _MOST_FILLED
        check(inside, "min_clip_seconds", f"0 to {_MOST_FILLED:g}", self.min_clip_seconds)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote under the names of now, with what came later."""
        return {**_LATER, **rename_keys(values, _EARLIER_NAMES)}

    @property
    def window_samples(self) -> int:
        """Samples that a frame is computed from."""
        return self.win_length or self.n_fft

    @property
    def context_samples(self) -> int:
        """Samples before its own hop that a frame reaches back to: the state of a stream."""
        return self.window_samples - self.hop_length + (1 if self.pre_emphasis else 0)

    @property
    def min_clip_samples(self) -> int:
        """Samples up to which a shorter clip is filled with zeros; at least one frame's."""
        return max(self.hop_length, round(self.min_clip_seconds * self.sample_rate))

    @property
    def frames_per_second(self) -> float:
        """Frames the front end gives for each second of audio."""
        return self.sample_rate / self.hop_length
