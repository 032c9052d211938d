"""The built-in sounds: ten synthetic classes after ESC-10.

They let a machine without data run the whole job at once. They are drawn from a seed, never
recorded, and much easier than real sounds, so everything made from them carries the word
synthetic and no accuracy on them says anything about recordings.

Each class has 20 sources with their own pitch, timbre, level and negative, and each source two
takes with their own timing; a source's takes share a fold.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray

from earmark.data.readers import SYNTHETIC, Clip, Dataset
from earmark.data.synthetic.synthesis import (
    SAMPLE_RATE,
    Samples,
    band,
    contour,
    formants,
    harmonics,
    noise,
    place,
    swell,
)
from earmark.io.files import write_text, write_whole

NAME = "synthetic sounds (generated, not recorded)"
CLIP_SECONDS = 5.0
FOLDS = 5
SOURCES_PER_FOLD = 4
TAKES = 2

_CLIP_SAMPLES = round(CLIP_SECONDS * SAMPLE_RATE)


def write_dataset(folder: Path, *, seed: int = 0) -> Dataset:
    """Generate the built-in sounds as FLAC files with a table `synthetic-sounds.csv`.

    Args:
        folder: where to write; files of an earlier call with this seed are written again alike.
        seed: seed of every sound.

    Returns:
        The dataset, marked synthetic.
    """
    clips = []
    for label, fold, source, take, samples in generate(seed):
        name = f"{fold}-{source:02d}-{'AB'[take]}.flac"
        path = folder / label.replace(" ", "_") / name
        data = io.BytesIO()
        soundfile.write(data, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        write_whole(path, lambda file, data=data: file.write(data.getvalue()))  # type: ignore[misc]
        clips.append(Clip(path, label, group=f"{label}/{source}", fold=str(fold)))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("path", "label", "fold", "group"))
    for clip in clips:
        relative = clip.path.relative_to(folder).as_posix()
        writer.writerow((relative, clip.label, clip.fold, clip.group))
    write_text(folder / f"{SYNTHETIC}.csv", table.getvalue())
    return Dataset(NAME, tuple(clips), synthetic=True)


def generate(seed: int = 0) -> Iterator[tuple[str, int, int, int, NDArray[np.float32]]]:
    """Yield `(label, fold, source, take, samples)` for every built-in clip, in a fixed order."""
    for number, (label, sound) in enumerate(SOUNDS.items()):
        for source in range(FOLDS * SOURCES_PER_FOLD):
            for take in range(TAKES):
                voice = np.random.default_rng((seed, number, source))
                timing = np.random.default_rng((seed, number, source, take + 1))
                samples = _with_background(sound(voice, timing), voice, timing)
                yield label, source // SOURCES_PER_FOLD + 1, source, take, samples


def _with_background(clean: Samples, voice: Generator, timing: Generator) -> NDArray[np.float32]:
    """Add coloured noise 15 to 45 dB below the sound and set the level to -30 to -3 dB peak."""
    colour = voice.uniform(0.0, 2.0)
    hiss = noise(timing, len(clean), colour)
    level = 10 ** (-voice.uniform(15, 45) / 20)
    mixed = clean / (np.abs(clean).max() + 1e-9) + level * hiss / (np.abs(hiss).max() + 1e-9)
    peak = 10 ** (-voice.uniform(3, 30) / 20)
    return (mixed * (peak / np.abs(mixed).max())).astype(np.float32)


def _clicks(timing: Generator, per_second: float, decay_s: float, spread: float) -> Samples:
    """Return short noise bursts at random times, with log-normal levels."""
    clip = np.zeros(_CLIP_SAMPLES)
    length = round(6 * decay_s * SAMPLE_RATE)
    fall = np.exp(-np.arange(length) / (decay_s * SAMPLE_RATE))
    for at in timing.uniform(0, CLIP_SECONDS, timing.poisson(per_second * CLIP_SECONDS) + 1):
        place(clip, timing.lognormal(0, spread) * timing.standard_normal(length) * fall, at)
    return clip


# --- the ten sounds: voice draws what a source keeps, timing what differs between its takes -------


def _dog(voice: Generator, timing: Generator) -> Samples:
    pitch, length = voice.uniform(280, 900), voice.uniform(0.09, 0.25)
    vowels = voice.uniform(0.8, 1.3) * np.array([700.0, 1500.0, 2600.0])
    gap = voice.uniform(0.25, 0.9)
    clip, at = np.zeros(_CLIP_SAMPLES), timing.uniform(0, 1.0)
    for _ in range(timing.integers(1, 7)):
        samples = round(length * timing.uniform(0.8, 1.2) * SAMPLE_RATE)
        curve = contour([0.7, 1.15, 1.0, 0.6], samples) * pitch * timing.uniform(0.93, 1.07)
        bark = harmonics(curve, 24, 0.8) + 0.5 * timing.standard_normal(samples)
        place(clip, formants(bark, vowels, 0.25) * swell(samples, 0.1, 0.6), at)
        at += gap * timing.uniform(0.7, 1.4) + length
    return clip


def _rain(voice: Generator, timing: Generator) -> Samples:
    steady = band(noise(timing, _CLIP_SAMPLES, voice.uniform(0, 0.8)), 400, 10_000)
    drops = _clicks(timing, voice.uniform(20, 150), voice.uniform(0.001, 0.004), 0.6)
    low = voice.uniform(800, 2500)
    return steady / steady.std() + voice.uniform(0.3, 1.5) * band(drops, low, 9000) / drops.std()


def _sea_waves(voice: Generator, timing: Generator) -> Samples:
    at = np.arange(_CLIP_SAMPLES) / SAMPLE_RATE
    period, depth = voice.uniform(2.5, 7.0), voice.uniform(0.6, 0.95)
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * (at / period + timing.uniform()))
    low = noise(timing, _CLIP_SAMPLES, voice.uniform(1.2, 1.8))
    foam = band(noise(timing, _CLIP_SAMPLES, 0.6), 700, voice.uniform(4000, 9000))
    surge = 1 - depth + depth * swell**2
    return surge * low / low.std() + 0.6 * surge**2 * foam / foam.std()


def _baby_cry(voice: Generator, timing: Generator) -> Samples:
    pitch, vibrato = voice.uniform(330, 560), voice.uniform(4, 8)
    vowels = voice.uniform(0.85, 1.2) * np.array([1100.0, 2900.0, 4500.0])
    length = voice.uniform(0.5, 1.3)
    clip, at = np.zeros(_CLIP_SAMPLES), timing.uniform(0, 0.5)
    while at < CLIP_SECONDS - 0.3:
        samples = round(length * timing.uniform(0.7, 1.3) * SAMPLE_RATE)
        wobble = 1 + 0.025 * np.sin(2 * np.pi * vibrato * np.arange(samples) / SAMPLE_RATE)
        curve = contour([0.85, 1.08, 1.1, 1.0, 0.8], samples) * wobble * pitch
        cry = formants(harmonics(curve, 20, 0.6), vowels, 0.2)
        place(clip, cry * swell(samples, 0.12, 0.25), at)
        at += samples / SAMPLE_RATE + timing.uniform(0.15, 0.5)
    return clip


def _clock_tick(voice: Generator, timing: Generator) -> Samples:
    interval, ring = voice.choice([0.2, 0.25, 0.4, 0.5, 1.0]), voice.uniform(1500, 5500)
    decay = voice.uniform(0.003, 0.012)
    clip, at, beat = np.zeros(_CLIP_SAMPLES), timing.uniform(0, interval), 0
    time = np.arange(round(0.08 * SAMPLE_RATE)) / SAMPLE_RATE
    while at < CLIP_SECONDS:
        tone = ring * (1.0 if beat % 2 else 0.82)
        tick = (np.sin(2 * np.pi * tone * time) + 0.7 * timing.standard_normal(len(time))) * np.exp(
            -time / decay
        )
        place(clip, tick * timing.uniform(0.85, 1.0), at)
        at, beat = at + interval, beat + 1
    return clip


def _sneeze(voice: Generator, timing: Generator) -> Samples:
    clip, at = np.zeros(_CLIP_SAMPLES), timing.uniform(0, 2.5)
    inhale, burst = (
        round(s * SAMPLE_RATE) for s in (voice.uniform(0.3, 0.8), voice.uniform(0.2, 0.5))
    )
    breath = band(timing.standard_normal(inhale), 600, 4000) * np.linspace(0, 1, inhale) ** 2
    place(clip, 0.25 * breath, at)
    at += inhale / SAMPLE_RATE + timing.uniform(0.02, 0.15)
    pitch = contour([1.3, 1.0, 0.7], burst) * voice.uniform(180, 420)
    hiss = band(timing.standard_normal(burst), voice.uniform(900, 2500), 10_000)
    sneeze = hiss / hiss.std() + 0.5 * harmonics(pitch, 12, 1.0)
    place(clip, sneeze * swell(burst, 0.04, 0.85), at)
    return clip


def _helicopter(voice: Generator, timing: Generator) -> Samples:
    at = np.arange(_CLIP_SAMPLES) / SAMPLE_RATE
    blades = voice.uniform(9, 24)
    turn = (at * blades + timing.uniform()) % 1.0
    chop = np.exp(-turn * voice.uniform(4, 9))
    rotor = noise(timing, _CLIP_SAMPLES, voice.uniform(1.0, 1.7))
    engine = harmonics(np.full(_CLIP_SAMPLES, voice.uniform(120, 400)), 6, 1.0)
    distance = contour(list(timing.uniform(0.5, 1.0, 4)), _CLIP_SAMPLES)
    return distance * (chop * rotor / rotor.std() + voice.uniform(0.02, 0.15) * engine)


def _chainsaw(voice: Generator, timing: Generator) -> Samples:
    idle, rev = voice.uniform(45, 80), voice.uniform(110, 190)
    points = [idle if timing.uniform() < 0.3 else rev for _ in range(7)]
    pitch = contour(points, _CLIP_SAMPLES)
    pitch *= 1 + 0.02 * contour(list(timing.standard_normal(60)), _CLIP_SAMPLES)
    motor = harmonics(pitch, 60, voice.uniform(0.4, 0.8))
    rasp = band(timing.standard_normal(_CLIP_SAMPLES), 1500, 9000)
    load = (pitch / rev) ** 1.5
    return load * (motor / motor.std() + voice.uniform(0.2, 0.8) * rasp / rasp.std())


def _rooster(voice: Generator, timing: Generator) -> Samples:
    pitch = voice.uniform(450, 850)
    vowels = voice.uniform(0.85, 1.2) * np.array([1300.0, 2500.0, 3800.0])
    lengths = voice.uniform(0.8, 1.2) * np.array([0.18, 0.22, 0.3, 0.9])
    clip, at = np.zeros(_CLIP_SAMPLES), timing.uniform(0, 1.5)
    while at < CLIP_SECONDS - 1.0:
        for length, height in zip(lengths, (0.75, 1.0, 1.15, 1.3), strict=True):
            samples = round(length * SAMPLE_RATE)
            curve = contour([0.9, 1.05, 1.0, 0.75], samples) * height * pitch
            note = formants(harmonics(curve, 16, 0.5), vowels, 0.22)
            place(clip, note * swell(samples, 0.1, 0.3), at)
            at += length + timing.uniform(0.02, 0.07)
        at += timing.uniform(1.0, 2.5)
    return clip


def _crackling_fire(voice: Generator, timing: Generator) -> Samples:
    roar = band(noise(timing, _CLIP_SAMPLES, 1.6), 40, voice.uniform(400, 1200))
    crackle = _clicks(timing, voice.uniform(3, 16), voice.uniform(0.0008, 0.004), 1.2)
    snap = band(crackle, voice.uniform(600, 1800), 10_000)
    return voice.uniform(0.15, 0.6) * roar / roar.std() + snap / snap.std()


SOUNDS: dict[str, Callable[[Generator, Generator], Samples]] = {
    "baby cry": _baby_cry,
    "chainsaw": _chainsaw,
    "clock tick": _clock_tick,
    "crackling fire": _crackling_fire,
    "dog": _dog,
    "helicopter": _helicopter,
    "rain": _rain,
    "rooster": _rooster,
    "sea waves": _sea_waves,
    "sneeze": _sneeze,
}
