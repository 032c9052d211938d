"""Make a set of short ordered sounds: ten words, said by twelve synthetic speakers.

    python -m tools.make_words words/

Needs the program `espeak-ng`. Writes `WORD/SPEAKER-TAKE.wav` at 8 kHz, 0.3 to 1 s long, and
`words.csv`, whose folds hold two speakers each, so that the speakers of a test are new to the
model. A speaker is a voice, its pitch and its pace. Takes differ in these, in where they are cut,
and in the room: its echo, its noise, the microphone's colour and level. The same call makes the
same files, given the same espeak-ng.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 8_000
SHORTEST, LONGEST = 0.3, 1.0  # seconds
# Some differ in the order of their sounds more than in the sounds.
WORDS = ("stop", "spot", "tops", "left", "felt", "cat", "tack", "act", "light", "tile")
TAKES = 3
SPEAKERS_PER_FOLD = 2
_SEED = 20
_SILENCE = 0.02  # of the loudest sample; what is quieter at the ends of a take is cut off
_MARGIN = 0.15  # most seconds that stay before and after it
_ECHO = 0.25  # longest time in seconds in which the room's echo falls by 60 dB


class Speaker(NamedTuple):
    """How one speaker sounds, in espeak-ng's words.

    Attributes:
        voice: language and variant.
        pitch: 0 to 99.
        speed: words a minute.
    """

    voice: str
    pitch: int
    speed: int


SPEAKERS = (
    Speaker("en-gb+m1", 35, 150),
    Speaker("en-us+f2", 60, 165),
    Speaker("en-gb-scotland+m3", 45, 140),
    Speaker("en-029+f3", 55, 150),
    Speaker("en-gb-x-rp+m4", 30, 175),
    Speaker("en-us+f4", 70, 140),
    Speaker("en-gb-x-gbclan+m5", 50, 160),
    Speaker("en-gb+f5", 45, 180),
    Speaker("en-us+klatt2", 40, 155),
    Speaker("en-gb-x-gbcwmd+f1", 65, 150),
    Speaker("en-us+m7", 25, 165),
    Speaker("en-gb-scotland+Annie", 55, 160),
)


def say(word: str, speaker: Speaker, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one take of a word, `(samples,)` at 8 kHz.

    Raises:
        SystemExit: espeak-ng is missing or fails.
    """
    pitch = int(np.clip(speaker.pitch + rng.integers(-12, 13), 0, 99))
    speed = int(speaker.speed * np.exp(rng.uniform(-0.2, 0.2)))
    command = ["espeak-ng", "-v", speaker.voice, "-p", str(pitch), "-s", str(speed), "--stdout"]
    try:
        done = subprocess.run([*command, word], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"espeak-ng cannot say {word!r}: {error}") from None
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max())
    first, last = (rng.uniform(0, _MARGIN * SAMPLE_RATE, 2)).astype(int)
    samples = np.pad(samples[loud[0] : loud[-1] + 1], (first, last))
    take: NDArray[np.float32] = _record(samples, rng).astype(np.float32)
    return take


def _record(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return samples as a microphone in some room would record them."""
    seconds = np.arange(round(_ECHO * SAMPLE_RATE)) / SAMPLE_RATE
    echo = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / rng.uniform(0.05, _ECHO))
    echo *= rng.uniform(0.05, 0.3) / np.sqrt((echo**2).sum())
    echo[0] = 1
    wet = np.convolve(samples, echo)[: len(samples)]
    bins = np.fft.rfft(wet)
    colour = np.interp(np.linspace(0, 3, len(bins)), np.arange(4), rng.normal(0, 4, 4))  # dB
    wet = np.fft.irfft(bins * 10 ** (colour / 20), len(wet))
    wet *= np.exp(rng.uniform(np.log(0.05), np.log(0.5))) / np.abs(wet).max()
    noise = np.sqrt((wet**2).mean()) * 10 ** (-rng.uniform(5, 30) / 20)
    return np.clip(wet + noise * rng.standard_normal(len(wet)), -1, 1)


def main() -> None:
    """Write the set and its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    rows, seconds = [], []
    for number, speaker in enumerate(SPEAKERS):
        for place, word in enumerate(WORDS):
            for take in range(TAKES):
                samples = say(word, speaker, np.random.default_rng((_SEED, number, place, take)))
                path = Path(word) / f"{number}-{take}.wav"
                (out / word).mkdir(parents=True, exist_ok=True)
                soundfile.write(out / path, samples, SAMPLE_RATE, "PCM_16")
                fold = number // SPEAKERS_PER_FOLD + 1
                rows.append([path.as_posix(), word, fold, f"speaker {number}"])
                seconds.append(len(samples) / SAMPLE_RATE)
    if min(seconds) < SHORTEST or max(seconds) > LONGEST:
        raise SystemExit(f"takes last {min(seconds):.2f} to {max(seconds):.2f} s; adjust a pace")
    with (out / "words.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "fold", "group"], *rows])
    print(
        f"{len(rows)} takes of {len(WORDS)} words by {len(SPEAKERS)} speakers, "
        f"{min(seconds):.2f} to {max(seconds):.2f} s, median {np.median(seconds):.2f} s"
    )


if __name__ == "__main__":
    main()
