"""Generated sounds of no class: noise, tones, hums, clicks, speech, silence.

A classifier must answer to whatever it is given, which from a microphone is mostly of no interest.
These clips stand for that in training (their target is every class alike) and, drawn from another
seed, in the choice of the thresholds. They are drawn, never recorded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from earmark.data.synthetic.synthesis import (
    Samples,
    band,
    contour,
    formants,
    harmonics,
    noise,
    place,
    swell,
)

# To be raised when the same seed gives other sounds than before.
VERSION = 1
# Rates of telephones, speech synthesis, old recordings and broadcasts.
_LOWER_SAMPLE_RATES = (8_000, 11_025, 16_000, 22_050, 32_000)


def make_negatives(
    count: int, seed: int, sample_rate: int, seconds: float = 5.0
) -> list[tuple[str, NDArray[np.float32]]]:
    """Return `count` generated clips, the kinds in turn, each with the name of its kind.

    Half of them are made at a lower sample rate first: the upper bands of much that is recorded
    are empty, and a model that never met that takes the empty bands for a mark of a class.

    Args:
        count: clips.
        seed: seed of all of them.
        sample_rate: sample rate.
        seconds: length of each.

    Returns:
        `(kind, samples)` pairs; samples lie within -1 to 1, at peaks from -80 to 0 dB.
    """
    clips = []
    kinds = [*KINDS.items(), ("babble", _babble)]  # twice: where people are, there is speech
    lower = [rate for rate in _LOWER_SAMPLE_RATES if rate < sample_rate]
    for number in range(count):
        kind, sound = kinds[number % len(kinds)]
        rng = np.random.default_rng((seed, number))
        made_hz = int(rng.choice(lower)) if lower and rng.uniform() < 0.5 else sample_rate
        samples = sound(rng, round(seconds * made_hz), float(made_hz))
        samples = soxr.resample(samples, made_hz, sample_rate, quality="HQ")
        samples = np.resize(samples, round(seconds * sample_rate))  # by a sample, if at all
        peak = np.abs(samples).max()
        level = 10 ** (-80 * rng.uniform() ** 2 / 20)  # half of them above -20 dB
        clips.append((kind, (samples * (level / peak if peak else 0.0)).astype(np.float32)))
    return clips


def _silence(_rng: Generator, samples: int, _sample_rate: float) -> Samples:
    """Digital silence."""
    return np.zeros(samples)


def _noise(rng: Generator, samples: int, sample_rate: float) -> Samples:
    """Steady noise of some colour, at times without its low or high end."""
    hiss = noise(rng, samples, float(rng.choice(np.array([0.0, rng.uniform(0, 2.5)]))), sample_rate)
    if rng.uniform() < 0.4:
        edges = np.sort(np.exp(rng.uniform(np.log(50), np.log(0.5 * sample_rate), 2)))
        hiss = band(hiss, edges[0], edges[1] * 1.5, sample_rate)
    return hiss


def _white_noise(rng: Generator, samples: int, _sample_rate: float) -> Samples:
    """White noise, up to the highest frequency that the rate has."""
    return rng.standard_normal(samples)


def _tone(rng: Generator, samples: int, sample_rate: float) -> Samples:
    """A steady or gliding tone, pure or with partials, at times in beeps."""
    ends = np.exp(rng.uniform(np.log(60), np.log(0.3 * sample_rate), 2))
    glides = rng.uniform() < 0.3
    pitch = contour([float(ends[0]), float(ends[1] if glides else ends[0])], samples)
    tone = harmonics(pitch, max(1, int(rng.integers(-10, 12))), 1.0, sample_rate)
    if rng.uniform() < 0.3:
        period = rng.uniform(0.1, 2.0) * sample_rate
        tone *= (np.arange(samples) % period) < period * rng.uniform(0.1, 0.9)
    return tone


def _hum(rng: Generator, samples: int, sample_rate: float) -> Samples:
    """Mains or fan: low partials over noise."""
    pitch = np.full(samples, rng.choice(np.array([50.0, 60.0, rng.uniform(20, 200)])))
    low = harmonics(pitch, int(rng.integers(2, 30)), rng.uniform(0.5, 1.5), sample_rate)
    hiss = noise(rng, samples, rng.uniform(0.5, 2), sample_rate)
    return low / low.std() + rng.uniform(0.05, 2) * hiss / hiss.std()


def _knocks(rng: Generator, samples: int, sample_rate: float) -> Samples:
    """A few bumps and handling noises at random times over faint noise."""
    clip = 0.003 * rng.uniform(0, 1) * noise(rng, samples, 1.0, sample_rate)
    for at in rng.uniform(0, samples / sample_rate, rng.integers(1, 8)):
        length = round(rng.uniform(0.01, 0.4) * sample_rate)
        fall = np.exp(-np.arange(length) / (0.2 * length))
        bump = band(rng.standard_normal(length), 20, rng.uniform(100, 4000), sample_rate)
        place(clip, bump * fall * rng.lognormal(0, 0.5), at, sample_rate)
    return clip


def _babble(rng: Generator, samples: int, sample_rate: float) -> Samples:
    """Speech without words: syllables of moving formants over a voice's pitch, hisses, bursts."""
    clip, at = np.zeros(samples), rng.uniform(0, 0.5)
    voice, size, hissing = rng.uniform(75, 330), rng.uniform(0.85, 1.2), rng.uniform(0.05, 0.6)
    slope, breath = rng.uniform(0.6, 1.3), 10 ** (-rng.uniform(5, 50) / 20)
    while at < samples / sample_rate:
        begins = rng.choice(("hiss", "burst", "voice"), p=(0.3, 0.3, 0.4))
        if begins == "hiss":  # as in "sell"
            length = round(rng.uniform(0.05, 0.18) * sample_rate)
            low = rng.uniform(1200, 6000)
            hiss = band(rng.standard_normal(length), low, rng.uniform(1.3, 5) * low, sample_rate)
            hiss *= hissing * rng.uniform(0.3, 1) / (hiss.std() + 1e-9)
            place(clip, hiss * swell(length, 0.3, 0.3), at, sample_rate)
            at += length / sample_rate
        elif begins == "burst":  # as in "tell": a short silence, then the burst
            at += rng.uniform(0.03, 0.09)
            length = round(rng.uniform(0.01, 0.04) * sample_rate)
            burst = band(rng.standard_normal(length), rng.uniform(300, 3000), 8000, sample_rate)
            burst *= hissing * rng.uniform(0.3, 1.5) / (burst.std() + 1e-9)
            place(clip, burst * swell(length, 0.05, 0.9), at, sample_rate)
            at += length / sample_rate
        length = round(rng.uniform(0.08, 0.3) * sample_rate)
        curve = contour(list(voice * rng.uniform(0.8, 1.25, 3)), length)
        source, turn = harmonics(curve, 80, slope, sample_rate), np.linspace(0, 1, length)
        source += breath * rng.standard_normal(length)
        first, second = (
            formants(source, size * _vowel(rng), 0.12, sample_rate) for _ in range(2)
        )  # a vowel that moves to another
        spoken = first * (1 - turn) + second * turn
        spoken *= rng.uniform(0.4, 1) / (spoken.std() + 1e-9)
        place(clip, spoken * swell(length, 0.2, 0.4), at, sample_rate)
        at += length / sample_rate
        at += rng.choice((0, rng.uniform(0, 0.1), rng.uniform(0.2, 0.8)), p=(0.5, 0.35, 0.15))
    hiss = noise(rng, samples, 1.0, sample_rate)
    return clip + 10 ** (-rng.uniform(20, 60) / 20) * clip.std() * hiss / hiss.std()


def _vowel(rng: Generator) -> Samples:
    """Return the frequencies of a vowel's formants, in hertz."""
    low = [rng.uniform(280, 850), rng.uniform(800, 2300), rng.uniform(2300, 3200)]
    return np.array([*low, rng.uniform(3300, 4200), rng.uniform(4500, 9000)])


KINDS: dict[str, Callable[[Generator, int, float], Samples]] = {
    "silence": _silence,
    "noise": _noise,
    "white noise": _white_noise,
    "tone": _tone,
    "hum": _hum,
    "knocks": _knocks,
    "babble": _babble,
}
