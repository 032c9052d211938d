"""Damages real recordings in many ways and checks what `earmark predict` says of each.

Every file is a clip of ESC-10 in one of a score of formats, changed in one way: cut, a stretch
taken out or overwritten, bytes flipped, a size in its header changed, joined with another, renamed,
zeros put around it. The command runs in this process. For each file it must end, without a
traceback or a line of a decoder on standard error; and it must either give an answer for all the
audio that the change left, or name the file.

    python tools/mutate_recordings.py --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from earmark.io import decode

BATCH = 25  # files in one run of the command
SLOWEST_SECONDS = 30.0  # for one batch; a hang is far beyond
RATE = 16_000  # one that all coders take
_SHORT = 0.3  # seconds that coders may add or keep
# What the command itself writes on standard error.
_OWN_LINE = re.compile(r"(unreadable|warning|left out|earmark): ")

# name, options of soundfile; all of them are written from the same samples
FORMATS: tuple[tuple[str, dict[str, str]], ...] = (
    ("16.wav", {"subtype": "PCM_16"}),
    ("24.wav", {"subtype": "PCM_24"}),
    ("u8.wav", {"subtype": "PCM_U8"}),
    ("float.wav", {"subtype": "FLOAT"}),
    ("ulaw.wav", {"subtype": "ULAW"}),
    ("adpcm.wav", {"subtype": "MS_ADPCM"}),
    ("extensible.wav", {"format": "WAVEX", "subtype": "PCM_16"}),
    ("rf64.wav", {"format": "RF64", "subtype": "PCM_16"}),
    ("a.w64", {"subtype": "PCM_16"}),
    ("a.aiff", {"subtype": "PCM_16"}),
    ("a.au", {"subtype": "PCM_16"}),
    ("a.caf", {"subtype": "PCM_16"}),
    ("a.flac", {"subtype": "PCM_16"}),
    ("a.ogg", {"subtype": "VORBIS"}),
    ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
    ("a.mp3", {"subtype": "MPEG_LAYER_III"}),
)
MEDIA = ((".m4a", "ipod", "aac"), (".webm", "webm", "libopus"), (".aac", "adts", "aac"))


@dataclass(frozen=True)
class Recording:
    """A healthy file.

    Attributes:
        name: its name.
        data: its bytes.
        seconds: how long it is.
        head: bytes before its audio, about.
    """

    name: str
    data: bytes
    seconds: float
    head: int


@dataclass(frozen=True)
class Case:
    """A changed file.

    Attributes:
        path: where it lies.
        change: what was done to it.
        left: seconds of audio that can still be found in it, at least.
        fault: it cannot be whole: an answer without a word is wrong, whatever its length.
    """

    path: Path
    change: str
    left: float
    fault: bool = False


def healthy(clips: list[Path]) -> list[Recording]:
    """Return clips in all formats."""
    made = []
    for clip in clips:
        samples, rate = decode.read(clip, RATE), RATE
        samples = samples[: int(np.flatnonzero(samples)[-1]) + 1]  # padding with zeros is no audio
        for name, options in FORMATS:
            file = io.BytesIO()
            format = options.get("format", Path(name).suffix[1:].upper())
            soundfile.write(
                file,
                samples,
                rate,
                format=format,
                **{k: v for k, v in options.items() if k != "format"},
            )
            made.append(_recording(f"{clip.stem}-{name}", file.getvalue(), len(samples) / rate))
        made.append(_recording(clip.name, clip.read_bytes(), len(samples) / rate))
        made += _media(clip.stem, samples, rate)
    return made


def _media(stem: str, samples: np.ndarray, rate: int) -> Iterator[Recording]:
    try:
        import av
    except ModuleNotFoundError:
        return
    for suffix, format, codec in MEDIA:
        rate_there = 48_000 if codec == "libopus" else rate
        file = io.BytesIO()
        with av.open(file, "w", format=format) as container:
            stream = container.add_stream(codec, rate=rate_there, layout="mono")
            resampler = av.AudioResampler(stream.codec_context.format, "mono", rate_there)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        yield _recording(stem + suffix, file.getvalue(), len(samples) / rate)


def _recording(name: str, data: bytes, seconds: float) -> Recording:
    at = data.find(b"data") if name.endswith(".wav") else -1
    heads = {".flac": 42, ".mp3": 500, ".ogg": 4500, ".opus": 1000, ".m4a": 64}
    head = at + 8 if at > 0 else heads.get(Path(name).suffix, 128)
    return Recording(name, data, seconds, min(head, len(data) // 2))


def cut(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Take the end away."""
    keep = rng.randrange(1, len(one.data) - 600)
    return one.data[:keep], _share(one, keep), one.name.endswith((".aac",)) is False


def hole(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Take a stretch out."""
    length = rng.randrange(1, len(one.data) // 3)
    at = rng.randrange(one.head, len(one.data) - length)
    left = one.seconds * (1 - length / (len(one.data) - one.head)) - 1.0
    return one.data[:at] + one.data[at + length :], max(0.0, left), False


def overwrite(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Write noise over a stretch, as where a card has lost a block."""
    length = rng.randrange(1, 5_000)
    at = rng.randrange(one.head, max(one.head + 1, len(one.data) - length))
    data = one.data[:at] + rng.randbytes(length) + one.data[at + length :]
    return data[: len(one.data)], one.seconds - 1.0, False


def flip(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Change some bytes of the audio."""
    data = bytearray(one.data)
    for _number in range(rng.choice((1, 3, 30))):
        data[rng.randrange(one.head, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data), one.seconds - 1.0, False


def flip_header(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Change a byte of the header: the rest may then mean something else."""
    data = bytearray(one.data)
    data[rng.randrange(min(one.head, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data), 0.0, False


def resize(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Change a size in the header to 0, to the highest, to less or to more than there is."""
    data = bytearray(one.data)
    place = _size_field(one)
    if place is None:
        return flip_header(rng, one, one)
    at, width, order, unit = place
    true = int.from_bytes(data[at : at + width], order) & ((1 << 36) - 1 if unit else -1)
    most = (1 << (36 if unit else 8 * width)) - 1
    new = rng.choice((0, most, rng.randrange(true), rng.randrange(true, 2 * true)))
    if unit:  # the other bits of FLAC's field stay
        new |= int.from_bytes(data[at : at + width], order) & ~((1 << 36) - 1)
    data[at : at + width] = new.to_bytes(width, order)
    return bytes(data), one.seconds, False


def join(rng: random.Random, one: Recording, two: Recording) -> tuple[bytes, float, bool]:
    """Put another recording behind it, as `cat` does."""
    del rng
    return one.data + two.data, one.seconds + two.seconds, False


def join_same(rng: random.Random, one: Recording, two: Recording) -> tuple[bytes, float, bool]:
    """Put itself behind it, twice."""
    del rng, two
    return one.data * 3, 3 * one.seconds, False


def rename(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Leave the bytes as they are; the name is changed by the caller."""
    del rng
    return one.data, one.seconds, False


def zeros(rng: random.Random, one: Recording, _: Recording) -> tuple[bytes, float, bool]:
    """Put zeros behind it, as where space was taken in advance."""
    return one.data + bytes(rng.randrange(1, 100_000)), one.seconds, False


def _share(one: Recording, keep: int) -> float:
    return max(0.0, one.seconds * (keep - one.head) / (len(one.data) - one.head) - 0.5)


def _size_field(one: Recording) -> tuple[int, int, Literal["little", "big"], bool] | None:
    """Return place, width and byte order of a size, and whether it is FLAC's number of samples."""
    data, suffix = one.data, Path(one.name).suffix
    if data[:4] == b"RF64":
        return 12 + 16, 8, "little", False
    if suffix == ".wav":
        return data.index(b"data") + 4, 4, "little", False
    if suffix == ".w64":
        return data.index(b"data") + 16, 8, "little", False
    if suffix == ".aiff":
        return data.index(b"SSND") + 4, 4, "big", False
    if suffix == ".au":
        return 8, 4, "big", False
    if suffix == ".caf":
        return data.index(b"data") + 4, 8, "big", False
    if suffix == ".flac":
        return 18, 8, "big", True
    for mark in (b"Xing", b"Info"):
        at = data.find(mark, 0, 1000)
        if suffix == ".mp3" and at > 0:
            return at + 8, 4, "big", False
    return None


Change = Callable[[random.Random, Recording, Recording], "tuple[bytes, float, bool]"]
CHANGES: tuple[Change, ...] = (
    *(cut, hole, overwrite, flip, flip_header),
    *(resize, join, join_same, rename, zeros),
)
_SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".dat", ".txt", "")


def cases(count: int, seed: int, clips: list[Path], folder: Path) -> Iterator[Case]:
    """Write changed files and yield them."""
    recordings = healthy(clips)
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        change = CHANGES[number % len(CHANGES)]
        one, two = rng.choice(recordings), rng.choice(recordings)
        data, left, fault = change(rng, one, two)
        suffix = Path(one.name).suffix if change is not rename else rng.choice(_SUFFIXES)
        path = folder / f"{number:05}-{change.__name__}-{Path(one.name).stem}{suffix}"
        path.write_bytes(data)
        what = f"{change.__name__} {one.name}" + (f" + {two.name}" if change is join else "")
        yield Case(path, what, left, fault)


def predict(paths: list[Path]) -> tuple[dict[str, float], str, list[str]]:
    """Run `earmark predict` on files in this process.

    Returns:
        The seconds of each file that was answered; what went wrong with the run itself, or
        nothing; the lines on standard error, those of C libraries among them.
    """
    from earmark import cli

    out, fault = io.StringIO(), ""
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        error, sys.stderr = sys.stderr, open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        try:
            with contextlib.redirect_stdout(out):
                code = cli.main(["predict", "--format", "json", *map(str, paths)])
            if code not in (0, 1):
                fault = f"exit code {code}"
        except BaseException as raised:
            fault = f"{type(raised).__name__}: {raised}"
        finally:
            sys.stderr.flush()
            sys.stderr = error
            os.dup2(kept, 2)
            os.close(kept)
        caught.seek(0)
        lines = caught.read().decode("utf-8", "replace").splitlines()
    answered = {}
    if out.getvalue():
        document = json.loads(out.getvalue())
        answered = {item["path"]: float(item["seconds"]) for item in document["predictions"]}
    return answered, fault, lines


def judge(case: Case, seconds: float | None, lines: list[str]) -> str:
    """Return what is wrong with what was said of a changed file, or nothing."""
    # A line about level or rate says nothing about what is missing.
    about = [
        line
        for line in lines
        if str(case.path) in line
        and not re.match(r"warning: .*(is clipped|is very quiet|has a sample rate of)", line)
    ]
    if seconds is None:
        return "" if about else "neither an answer nor a fault"
    if about:
        return ""
    if case.fault:
        return "cut, and not a word"
    if seconds < case.left - _SHORT:
        return f"{seconds:.1f} s of {case.left:.1f} s, and not a word"
    return ""


def main() -> int:
    """Change files, predict them, and print what went wrong and how many of each there were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=6, help="clips that they are made of")
    args = parser.parse_args()
    found = sorted(Path(os.environ["EARMARK_ESC10"]).rglob("*.ogg"))
    clips = found[:: max(1, len(found) // args.clips)][: args.clips]
    wrong = run(args.count, args.seed, clips)
    return 1 if wrong else 0


def run(count: int, seed: int, clips: list[Path]) -> int:
    """Return how many of the files went wrong; print each, and a table."""
    total: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    named: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        waiting: list[Case] = []

        def batch() -> None:
            nonlocal slowest
            begun = time.monotonic()
            seconds, fault, lines = predict([case.path for case in waiting])
            slowest = max(slowest, time.monotonic() - begun)
            foreign = [line for line in lines if not _OWN_LINE.match(line)]
            for problem in [fault] * bool(fault) + foreign:
                print(f"run of {waiting[0].path.name} ...: {problem}")
                wrong["run"] += 1
            for case in waiting:
                kind = case.change.split()[0]
                heard = seconds.get(str(case.path))
                total[kind] += 1
                answered[kind] += heard is not None
                named[kind] += any(str(case.path) in line for line in lines)
                if problem := judge(case, heard, lines):
                    print(f"{case.change}: {problem}")
                    wrong[kind] += 1
                case.path.unlink()
            waiting.clear()

        for case in cases(count, seed, clips, Path(folder)):
            waiting.append(case)
            if len(waiting) == BATCH:
                batch()
        if waiting:
            batch()
    if slowest > SLOWEST_SECONDS:
        print(f"a run took {slowest:.0f} s")
        wrong["slow"] += 1
    print("change        files  answered  named  wrong")
    for change in CHANGES:
        kind = change.__name__
        print(f"{kind:12} {total[kind]:6} {answered[kind]:9} {named[kind]:6} {wrong[kind]:6}")
    sums = [sum(counter.values()) for counter in (total, answered, named, wrong)]
    print("together     {:6} {:9} {:6} {:6}".format(*sums))
    print(f"slowest run of {BATCH} files: {slowest:.1f} s")
    return sum(wrong.values())


if __name__ == "__main__":
    sys.exit(main())
