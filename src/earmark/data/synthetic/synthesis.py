"""Building blocks of generated sounds: noise, harmonics, formants, envelopes."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SAMPLE_RATE = 22_050  # of the built-in sounds

Samples = NDArray[np.float64]


def noise(rng: Generator, samples: int, colour: float, sample_rate: float = SAMPLE_RATE) -> Samples:
    """Return noise whose power falls with frequency to the power of `colour` (0 white, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / sample_rate)
    return np.fft.irfft(spectrum * np.maximum(hz, 20.0) ** (-colour / 2), samples)


def band(
    sound: Samples, low_hz: float, high_hz: float, sample_rate: float = SAMPLE_RATE
) -> Samples:
    """Keep the range from `low_hz` to `high_hz`, with soft edges of a fifth of an octave."""
    spectrum = np.fft.rfft(sound)
    hz = np.maximum(np.fft.rfftfreq(len(sound), 1 / sample_rate), 1.0)
    low = 1 / (1 + (low_hz / hz) ** 10)
    high = 1 / (1 + (hz / high_hz) ** 10)
    return np.fft.irfft(spectrum * low * high, len(sound))


def formants(
    sound: Samples, centres_hz: NDArray[np.float64], width: float, sample_rate: float = SAMPLE_RATE
) -> Samples:
    """Raise the ranges around `centres_hz`, each `width` of its centre wide."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / sample_rate)
    gain = 0.08 + sum(np.exp(-(((hz - c) / (width * c)) ** 2)) for c in centres_hz)
    return np.fft.irfft(spectrum * gain, len(sound))


def harmonics(
    pitch_hz: Samples, partials: int, slope: float, sample_rate: float = SAMPLE_RATE
) -> Samples:
    """Return partials of a moving pitch; partial k has amplitude k to the power of `-slope`."""
    turn = np.exp(2j * np.pi * np.cumsum(pitch_hz) / sample_rate)
    sound, partial = np.zeros(len(pitch_hz)), np.ones_like(turn)
    for k in range(1, partials + 1):
        partial *= turn
        audible = pitch_hz * k < 0.45 * sample_rate
        sound += np.where(audible, partial.imag, 0.0) / k**slope
    return sound


def swell(samples: int, attack: float, release: float) -> Samples:
    """Return an envelope that rises over `attack` and falls over `release` of its length."""
    at = np.linspace(0, 1, samples)
    return np.minimum(1, at / max(attack, 1e-6)) * np.minimum(1, (1 - at) / max(release, 1e-6))


def contour(points: list[float], samples: int) -> Samples:
    """Return a curve through evenly spaced points."""
    return np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, len(points)), points)


def place(
    clip: Samples, sound: Samples, at_seconds: float, sample_rate: float = SAMPLE_RATE
) -> None:
    """Add a sound to a clip; what reaches past the end is cut."""
    start = round(at_seconds * sample_rate)
    part = sound[: max(0, len(clip) - start)]
    clip[start : start + len(part)] += part
