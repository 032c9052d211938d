"""Make a bank of augmented crops, with what the teacher says of each, to train the base on.

    python -m tools.base_bank --esc50 path/to/ESC-50 --teacher mn04_as_mAP_432.pt --out bank
    python -m tools.base_bank --audio blanket sonic --negatives 256 \\
        --teacher mn04_as_mAP_432.pt --out bank-extra
    python -m tools.base_bank --esc50 path/to/ESC-50 --yamnet yamnet.tflite --out bank

Each crop is 5.12 s at 32 kHz and comes from clips of one official fold, and where the first of them
is CC0 or CC BY, so are all. Kept of it is what the layers give that stay as published (`early.npy`,
see `tools.base_network.encode_early`), the teacher's steps (`steps.npy`: the mean over the bands of
its last convolution; their mean is its embedding), and which clips it comes from (`rows.json`).
The first crops are the unchanged clips, in the order of the table, filled up with silence. The last
command adds what a second teacher says of the same crops (`yamnet.npy`); it is for a trial.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from tools.base_network import (
    CROP_SAMPLES,
    FRONT_END,
    build_base,
    encode_early,
    mobile,
    take_published,
)
from tools.teacher import SAMPLE_RATE, load_teacher, read_weights
from tools.teacher import LogMel as TeacherLogMel
from torch import Tensor

from earmark.data.synthetic.negatives import make_negatives
from earmark.nn.features import LogMel

Samples = NDArray[np.float32]
FREE = ("CC0", "CC-BY")  # licences of the clips that weights for shipping may learn from
BATCH = 16
AUDIO_LIST = Path(__file__).with_name("base_audio.txt")
_LOUDEST = 32_767
_YAMNET_RATE = 16_000
_CLIP_SEED, _AUDIO_SEED, _NEGATIVE_SEED = 7, 13, 5


def read_table(esc50: Path) -> list[dict[str, str]]:
    """Return the rows of ESC-50's table: path, label, fold, group, licence."""
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def read_clip(path: Path) -> Samples:
    """Return a file as mono samples at the teacher's rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    resampled: Samples = soxr.resample(samples.mean(1), rate, SAMPLE_RATE).astype(np.float32)
    return resampled


def fill_crop(wave: Samples) -> Samples:
    """Return the beginning of a clip, filled up with silence to the length of a crop."""
    return np.pad(wave[:CROP_SAMPLES], (0, max(0, CROP_SAMPLES - len(wave))))


def place_clip(wave: Samples, rng: Generator) -> Samples:
    """Return a crop of a clip: now and then faster or slower, begun elsewhere, or not at all."""
    if rng.uniform() < 0.6:
        speed = np.exp(rng.uniform(-0.18, 0.18))
        places = np.arange(0, len(wave) - 1, speed)
        wave = np.interp(places, np.arange(len(wave)), wave).astype(np.float32)
    if rng.uniform() < 0.6:
        wave = np.roll(wave, rng.integers(len(wave)))
    if len(wave) >= CROP_SAMPLES:
        return wave[:CROP_SAMPLES]
    if rng.uniform() < 0.5:
        return np.resize(wave, CROP_SAMPLES)
    return fill_crop(wave)


def filter_randomly(wave: Samples, rng: Generator) -> Samples:
    """Raise and lower bands smoothly; one in six also loses what lies above some frequency."""
    spectrum = np.fft.rfft(wave)
    position = np.log1p(np.arange(len(spectrum)) * 16_000 / len(spectrum) / 700.0)
    points = np.linspace(0, position[-1], 7)
    decibels = np.interp(position, points, rng.normal(0, 4.0, 7))
    if rng.uniform() < 1 / 6:
        cutoff = np.log1p(np.exp(rng.uniform(np.log(3_500), np.log(12_000))) / 700.0)
        decibels = decibels - 400 * np.clip(position - cutoff, 0, 0.2)
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(wave)).astype(np.float32)


def augment(wave: Samples, other: Samples, rng: Generator) -> Samples:
    """Return one augmented crop of a clip, perhaps with another one in or after it.

    Args:
        wave: the clip.
        other: a clip of the same fold.
        rng: draws every change.
    """
    x = place_clip(wave, rng)
    kind = rng.uniform()
    if kind < 0.35:  # two at once
        y = place_clip(other, rng)
        ratio = 10 ** (rng.uniform(-12, 6) / 20) * _level(x) / _level(y)
        x = x + y * min(ratio, 30.0)
    elif kind < 0.5:  # one after the other
        y = place_clip(other, rng)
        cut = rng.integers(CROP_SAMPLES // 5, 4 * CROP_SAMPLES // 5)
        x = np.concatenate([x[:cut], y[: CROP_SAMPLES - cut]])
    if rng.uniform() < 0.5:
        x = filter_randomly(x, rng)
    x = x * 10 ** (rng.uniform(-15, 8) / 20)
    if rng.uniform() < 0.2:
        noise = rng.standard_normal(CROP_SAMPLES).astype(np.float32)
        if rng.uniform() < 0.5:
            noise = filter_randomly(noise, rng)
        x = x + noise * 10 ** (rng.uniform(-75, -30) / 20)
    return np.clip(x, -1, 1).astype(np.float32)


def _level(wave: Samples) -> float:
    """Return the root mean square, never zero."""
    return float(np.sqrt(np.mean(np.square(wave)) + 1e-10))


class BankWriter:
    """Computes crops in batches and writes them to the arrays of a folder.

    Args:
        folder: where the bank is made.
        count: crops that it will hold.
        teacher: file of the teacher's weights.
    """

    def __init__(self, folder: Path, count: int, teacher: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._early = _open(folder / "early.npy", (count, 128, 32, 16))
        self._steps = _open(folder / "steps.npy", (count, 16, 384))
        self.rows: list[dict[str, Any]] = []
        base = build_base()
        take_published(base, read_weights(teacher))
        self._encoder, self._log_mel = mobile(base), LogMel(FRONT_END)
        self._teacher, self._teacher_log_mel = load_teacher(teacher), TeacherLogMel()
        self._waiting: list[tuple[Samples, dict[str, Any]]] = []

    def add(self, wave: Samples, *, fold: int, clips: list[int], free: bool) -> None:
        """Add one crop; it is computed when a batch is full.

        Args:
            wave: `(CROP_SAMPLES,)`.
            fold: the official fold of its clips; 0: of none, so it may train for every fold.
            clips: numbers of its clips in the table.
            free: weights for shipping may learn from it.
        """
        self._waiting.append((wave, {"fold": fold, "clips": clips, "free": free}))
        if len(self._waiting) == BATCH:
            self.flush()

    @torch.inference_mode()
    def flush(self) -> None:
        """Compute what waits."""
        if not self._waiting:
            return
        x = torch.from_numpy(np.stack([wave for wave, _ in self._waiting]))
        here = slice(len(self.rows), len(self.rows) + len(x))
        mel = self._teacher_log_mel(x)[..., : CROP_SAMPLES // FRONT_END.hop_length]
        self._steps[here] = self._teacher.maps(mel).mean(2).transpose(1, 2).numpy()
        early = encode_early(self._encoder, self._log_mel(x))
        self._early[here] = early.permute(0, 2, 3, 1).numpy()  # channels last
        self.rows += [row for _, row in self._waiting]
        self._waiting = []

    def close(self) -> None:
        """Compute what waits and write what each crop is."""
        self.flush()
        (self.folder / "rows.json").write_text(json.dumps(self.rows), encoding="utf-8")


class YamnetWriter:
    """Adds YAMNet's embeddings of the same crops to a bank, `(crops, 1024)`: means over windows.

    Args:
        folder: the bank.
        yamnet: YAMNet as a TensorFlow Lite file.
    """

    def __init__(self, folder: Path, yamnet: Path) -> None:
        litert = importlib.import_module("ai_edge_litert.interpreter")
        self._yamnet = litert.Interpreter(
            str(yamnet), num_threads=1, experimental_preserve_all_tensors=True
        )
        self._yamnet.allocate_tensors()
        details = self._yamnet.get_tensor_details()
        self._pooled = next(d for d in details if d["name"].endswith("reduce_mean"))
        self._given = self._yamnet.get_input_details()[0]
        self.rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        shape = (len(self.rows), int(self._pooled["shape"][-1]))
        self._found, self._count = _open(folder / "yamnet.npy", shape), 0

    def add(self, wave: Samples, *, fold: int, clips: list[int], free: bool) -> None:
        """Embed one crop; see `BankWriter.add`.

        Raises:
            SystemExit: the bank holds another crop in this place.
        """
        if self.rows[self._count] != {"fold": fold, "clips": clips, "free": free}:
            raise SystemExit(f"crop {self._count} of the bank is another one; make the bank anew")
        samples = soxr.resample(wave, SAMPLE_RATE, _YAMNET_RATE).astype(np.float32)
        length = int(self._given["shape"][-1])
        scale, zero = self._pooled["quantization"]
        windows = []
        for start in range(0, len(samples) - length + 1, length):
            self._yamnet.set_tensor(self._given["index"], samples[start : start + length])
            self._yamnet.invoke()
            pooled = self._yamnet.get_tensor(self._pooled["index"]).ravel()
            windows.append(scale * (pooled.astype(np.float32) - zero))
        self._found[self._count] = np.mean(windows, axis=0)
        self._count += 1

    def flush(self) -> None:
        """Do nothing: no crop waits."""

    def close(self) -> None:
        """Do nothing: what each crop is was written before."""


class Bank:
    """What `BankWriter` wrote, read only; several folders are joined.

    Attributes:
        rows: of each crop its `fold`, `clips` and whether it is `free`.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._early, self._steps = [], []
        self._yamnet: list[NDArray[np.float16]] = []
        self.rows: list[dict[str, Any]] = []
        self._places: list[tuple[int, int]] = []
        for part, folder in enumerate(folders):
            rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
            self._early.append(np.load(folder / "early.npy", mmap_mode="r"))
            self._steps.append(np.load(folder / "steps.npy", mmap_mode="r"))
            self.rows += rows
            self._places += [(part, number) for number in range(len(rows))]

    def read(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return early features `(crops, 16, 128, 32)` and the steps that `read_steps` gives."""
        places = [self._places[number] for number in chosen]
        early = np.stack([self._early[part][number] for part, number in places])
        return torch.from_numpy(early).float().permute(0, 3, 1, 2), self.read_steps(chosen)

    def read_steps(self, chosen: NDArray[np.int64]) -> Tensor:
        """Return the teacher's steps `(crops, 16, 384)`."""
        places = [self._places[number] for number in chosen]
        return torch.from_numpy(
            np.stack([self._steps[part][number] for part, number in places])
        ).float()

    def read_yamnet(self, chosen: NDArray[np.int64]) -> Tensor:
        """Return YAMNet's embeddings `(crops, 1024)`, which `YamnetWriter` added."""
        if not self._yamnet:
            self._yamnet = [np.load(path / "yamnet.npy", mmap_mode="r") for path in self._folders]
        places = [self._places[number] for number in chosen]
        return torch.from_numpy(
            np.stack([self._yamnet[part][number] for part, number in places])
        ).float()


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16]:
    opened: NDArray[np.float16] = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    return opened


def _restore(wave: NDArray[np.int16]) -> Samples:
    restored: Samples = wave.astype(np.float32) / np.float32(_LOUDEST)
    return restored


def add_clips(bank: BankWriter | YamnetWriter, esc50: Path, crops: int) -> None:
    """Add crops of all clips of ESC-50, of each first the clip itself."""
    rows = read_table(esc50)
    # As whole numbers they fit into memory.
    waves = [
        np.clip(np.round(read_clip(esc50 / row["path"]) * _LOUDEST), -_LOUDEST, _LOUDEST).astype(
            np.int16
        )
        for row in rows
    ]
    kinds = [(row["fold"], row["licence"] in FREE) for row in rows]
    partners = [[m for m, other in enumerate(kinds) if other == kind] for kind in kinds]
    for crop in range(crops):
        rng = np.random.default_rng((_CLIP_SEED, crop))
        for number, (fold, free) in enumerate(kinds):
            wave = _restore(waves[number])
            partner = int(rng.choice(partners[number]))
            x, clips = fill_crop(wave), [number]
            if crop:
                x = augment(wave, _restore(waves[partner]), rng)
                clips = [number, partner]
            bank.add(x, fold=int(fold), clips=clips, free=free)
        bank.flush()


def read_audio_names() -> set[str]:
    """Return the names of the files that `base_audio.txt` lists with their licences."""
    lines = AUDIO_LIST.read_text(encoding="utf-8").splitlines()
    return {line.split(":")[0] for line in lines if re.match(r"[\w-]+\.(ogg|flac): ", line)}


def cut_audio(folders: list[Path]) -> list[Samples]:
    """Return pieces of a crop's length of the listed files in folders; short ones joined first.

    A file that `base_audio.txt` does not name is left out: its licence was not found good enough.
    """
    pieces, names = [], read_audio_names()
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.name in names)
        waves = [read_clip(path) for path in files]
        short = [wave for wave in waves if len(wave) < CROP_SAMPLES]
        waves = [wave for wave in waves if len(wave) >= CROP_SAMPLES]
        for wave in waves + ([np.concatenate(short)] if short else []):
            ends = range(CROP_SAMPLES, len(wave) + 1, CROP_SAMPLES)
            pieces += [wave[end - CROP_SAMPLES : end] for end in ends]
    return pieces


def add_pieces(bank: BankWriter | YamnetWriter, pieces: list[Samples], crops: int) -> None:
    """Add crops of pieces of audio that are no clips of ESC-50, of each first the piece itself."""
    for crop in range(crops):
        rng = np.random.default_rng((_AUDIO_SEED, crop))
        for piece in pieces:
            x = augment(piece, pieces[rng.integers(len(pieces))], rng) if crop else piece
            bank.add(x, fold=0, clips=[], free=True)


def main() -> None:
    """Make the bank."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--esc50", type=Path, help="folder of ESC-50 with esc50.csv")
    parser.add_argument(
        "--audio",
        type=Path,
        nargs="*",
        default=[],
        help="folders of other audio; read are the files that base_audio.txt lists",
    )
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument("--teacher", type=Path, help="mn04_as_mAP_432.pt: make a bank")
    teacher.add_argument("--yamnet", type=Path, help="yamnet.tflite: add to the bank made before")
    parser.add_argument("--crops", type=int, default=5, help="of each clip or piece (%(default)s)")
    parser.add_argument(
        "--negatives", type=int, default=0, help="generated sounds of no class (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    clips = len(read_table(args.esc50)) if args.esc50 else 0
    pieces = cut_audio(args.audio)
    count = args.crops * (clips + len(pieces)) + args.negatives
    bank: BankWriter | YamnetWriter
    if args.yamnet:
        bank = YamnetWriter(args.out, args.yamnet)
    else:
        bank = BankWriter(args.out, count, args.teacher)
    if args.esc50:
        add_clips(bank, args.esc50, args.crops)
    add_pieces(bank, pieces, args.crops)
    seconds = CROP_SAMPLES / SAMPLE_RATE
    for _, wave in make_negatives(args.negatives, _NEGATIVE_SEED, SAMPLE_RATE, seconds):
        bank.add(wave[:CROP_SAMPLES], fold=0, clips=[], free=True)
    bank.close()
    print(f"{args.out}: {len(bank.rows)} crops in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
