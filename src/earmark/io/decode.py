"""Audio file -> mono waveform, in blocks.

Takes what libsndfile decodes, and with PyAV (the extra `media`) what FFmpeg does, at 4 to 384 kHz
and with any number of channels; gives mono float32 blocks at the rate asked for, so that a day-long
file never sits in memory. This module is the gatekeeper: a file read to its end was finite,
complete and not silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.errors import AudioError
from earmark.io.decoders import decode_part, seconds_of_part
from earmark.io.levels import Levels, Mixer, cancelled_note, rate_note, refuse_scale
from earmark.io.notes import Notes, Warn
from earmark.io.recording import inspect, open_file
from earmark.io.remedy import AGAIN, convert
from earmark.io.resample import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SECONDS = 10.0


def read(
    path: Path,
    sample_rate: int,
    *,
    allow_silence: bool = False,
    warn: Warn | None = None,
) -> NDArray[np.float32]:
    """Decode a whole file to mono at `sample_rate`.

    Args:
        path: the audio file.
        sample_rate: of the result, in Hz.
        allow_silence: accept a file whose samples are all zero.
        warn: takes a line about what is suspicious; see `read_blocks`.

    Returns:
        Samples `(samples,)`, full scale at -1 to 1.

    Raises:
        AudioError: see `read_blocks`.
    """
    blocks = read_blocks(path, sample_rate, allow_silence=allow_silence, warn=warn)
    return np.concatenate(list(blocks))


def most_seconds(path: Path) -> float | None:
    """Return the length that a file has at most, before it is decoded.

    It is what libsndfile expects once the header is held against what the file holds, and gives at
    most; a damaged file may have less.

    Returns:
        Seconds; None where only decoding tells.

    Raises:
        AudioError: the file is missing, a folder, empty or not audio.
    """
    raw, size = open_file(path)
    with raw:
        found = inspect(raw, size, path)
        if found.cut or not found.parts or any(part.demuxer for part in found.parts):
            return None
        return sum(seconds_of_part(raw, part, path) for part in found.parts)


def read_blocks(
    path: Path,
    sample_rate: int,
    *,
    block_seconds: float = BLOCK_SECONDS,
    allow_silence: bool = False,
    keep_truncated: bool = False,
    warn: Warn | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode a file block by block to mono at `sample_rate`; joined, the blocks are the whole file.

    Channels are averaged, but for those that would cancel. Resampling is soxr's HQ setting and
    carries its state from block to block, so the block length does not change the samples.

    Args:
        path: the audio file.
        sample_rate: of the blocks, in Hz.
        block_seconds: seconds of the file decoded at a time; whole seconds of several channels.
        allow_silence: accept a file whose samples are all zero.
        keep_truncated: of a file that is known at once to be truncated or damaged, yield what is
            there before the fault is raised.
        warn: takes a line about each thing that is suspicious but no fault, without the file's
            name in front left out; None: they are Python warnings of the class `AudioWarning`.

    Yields:
        Samples `(samples,)`, full scale at -1 to 1; at least one sample a block.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, of an unsupported rate,
            truncated, damaged, silent, too short for one sample, at a scale far from 1, or holds
            NaN or infinite samples; or some of it is in no format that is known. What was decoded
            before the fault has been yielded by then.
    """
    raw, size = open_file(path)
    with raw:
        found = inspect(raw, size, path)
        cut = found.cut and f"{path}: {found.cut}" + ("" if "; " in found.cut else f"; {AGAIN}")
        if cut and not keep_truncated:
            raise AudioError(cut)
        if not found.parts:
            raise AudioError(cut or f"{path}: holds no samples (length 0); {AGAIN}")
        say = Notes(path, warn)
        say.all(found.notes)
        levels, remedy = Levels(), _scaled(path)
        resampler: Resampler | None = None
        mixer: Mixer | None = None
        given, read_frames, sounded, cancelled = 0, 0, False, 0.0
        for part in found.parts:
            for samples, rate, coding in decode_part(raw, part, path, block_seconds, bool(cut)):
                if resampler is None or resampler.from_hz != rate:
                    if resampler is not None and len(block := resampler.finish()):
                        given += len(block)
                        yield block
                    resampler = Resampler(rate, sample_rate)
                    say.one(rate_note(rate, sample_rate))
                if mixer is None or mixer.sample_rate != rate:
                    mixer, cancelled = (
                        Mixer(rate),
                        cancelled + (mixer.cancelled if mixer else 0.0),
                    )
                with np.errstate(invalid="ignore", over="ignore"):  # refused just below
                    mono = mixer.mix(samples)
                if not np.isfinite(mono).all():
                    raise AudioError(f"{path}: holds NaN or infinite samples; export it again")
                refuse_scale(samples, str(path), remedy)
                levels.add(samples, rate, coding=coding)
                read_frames += len(samples)
                sounded = sounded or bool(mono.any())
                block = resampler.push(mono)
                if len(block):
                    given += len(block)
                    yield block
        if resampler is not None and len(block := resampler.finish()):
            given += len(block)
            yield block
    cancelled += mixer.cancelled if mixer else 0.0
    say.one(cancelled_note(cancelled))
    say.all(levels.notes())
    if cut:
        raise AudioError(cut)
    if read_frames == 0:
        raise AudioError(f"{path}: holds no samples (length 0); {AGAIN}")
    if given == 0:
        raise AudioError(
            f"{path}: is too short, its {read_frames} samples leave none at {sample_rate} Hz"
        )
    if not sounded and not allow_silence:
        raise AudioError(f"{path}: is silent, every sample of its mono mix is zero; check it")


def _scaled(path: Path) -> str:
    """Return the end of a message: how samples at another scale are brought to 1."""
    command = convert(path).replace(" -vn ", " -vn -af volume=1/{scale} ")
    return f"scale them: {command}"
