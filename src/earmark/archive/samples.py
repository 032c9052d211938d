"""A stretch of a recording as a picture and as a sound, small enough to stand inside a page."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.config import FrontEndSettings
from earmark.errors import AudioError
from earmark.io.decode import read_blocks
from earmark.io.stretch import seek
from earmark.nn.mel import mel_filters

RATE = 32_000
BEFORE_SECONDS = 0.75
LENGTH_SECONDS = 5.0
_SEARCHED_SECONDS = 1200.0  # of a file in which no place can be gone to
_FRONT_END = FrontEndSettings(RATE, 1024, 320, 96, 40.0, 15_000.0, 1e-9)
_RANGE_DB = 70.0
# Dark blue over red to a light yellow; the ends are those of a night sky and a lamp.
_COLOURS = (
    *((12, 15, 31), (44, 24, 88), (104, 32, 120), (168, 48, 112)),
    *((222, 84, 82), (246, 140, 66), (253, 200, 90), (252, 250, 190)),
)


def cut(path: Path, onset: float) -> NDArray[np.float32] | None:
    """Return some seconds of a recording around the begin of an event, at `RATE`, or None."""
    start = max(0.0, onset - BEFORE_SECONDS)
    found = seek(path, RATE, start=start, seconds=LENGTH_SECONDS)
    return _search(path, start) if found is None else found


def _search(path: Path, start: float) -> NDArray[np.float32] | None:
    """Decode a file up to a place, if that is not far."""
    if start > _SEARCHED_SECONDS:
        return None
    kept: list[NDArray[np.float32]] = []
    at, first, last = 0, round(start * RATE), round((start + LENGTH_SECONDS) * RATE)
    with contextlib.suppress(AudioError):
        blocks = read_blocks(
            path, RATE, allow_silence=True, keep_truncated=True, warn=lambda _: None
        )
        for block in blocks:
            kept.append(block[max(0, first - at) : max(0, last - at)])
            at += len(block)
            if at >= last:
                break
    samples = np.concatenate([np.zeros(0, np.float32), *kept])
    return samples if len(samples) else None


def spectrogram(samples: NDArray[np.float32]) -> bytes:
    """Return a picture of samples as PNG: time to the right, mel bands upwards."""
    settings = _FRONT_END
    padded = np.pad(samples, (settings.n_fft // 2, settings.n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(padded, settings.n_fft)
    window = np.hanning(settings.n_fft + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(frames[:: settings.hop_length] * window)) ** 2
    decibels = 10 * np.log10(mel_filters(settings) @ power.T + settings.floor)
    top = max(float(decibels.max()), -60.0)
    share = np.clip((decibels - top + _RANGE_DB) / _RANGE_DB, 0, 1)
    return png(np.round(share[::-1] * 255).astype(np.uint8))


def png(levels: NDArray[np.uint8]) -> bytes:
    """Return levels `(rows, columns)` as a PNG file in colours."""
    anchors = np.linspace(0, 255, len(_COLOURS))
    colours = np.array(_COLOURS, np.float64)
    palette = np.stack([np.interp(np.arange(256), anchors, colours[:, n]) for n in range(3)], 1)
    rows = np.pad(levels, ((0, 0), (1, 0))).tobytes()  # each row begins with its filter, none
    height, width = levels.shape
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", np.round(palette).astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(rows, 9)),
            (b"IEND", b""),
        )
    )


def sound(samples: NDArray[np.float32]) -> tuple[str, bytes]:
    """Return samples as a file that every browser plays, with its type."""
    peak = float(np.abs(samples).max(initial=0.0))
    louder = samples * min(30.0, 0.7 / peak) if peak > 0 else samples  # quiet sounds are the rule
    for format, kind, subtype in (
        ("MP3", "audio/mpeg", "MPEG_LAYER_III"),
        ("WAV", "audio/wav", "PCM_16"),
    ):
        file = io.BytesIO()
        with contextlib.suppress(soundfile.LibsndfileError, ValueError, TypeError):
            soundfile.write(file, louder, RATE, format=format, subtype=subtype)
            return kind, file.getvalue()
    raise AudioError("libsndfile can write neither mp3 nor WAV; install soundfile again")


def address(kind: str, data: bytes) -> str:
    """Return data as an address that stands inside a page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
