"""Audio file -> waveform: decode, mix down, resample, in blocks.

Takes any file libsndfile decodes, at 4 to 384 kHz and with any number of channels; gives mono
float32 blocks at the rate asked for, so that a day-long file never sits in memory. This module is
the gatekeeper: a file read to its end was finite, complete and not silent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile

from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.errors import AudioError
from earmark.io.channels import MOST_CHANNELS
from earmark.io.resample import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SECONDS = 10.0

# Suffixes taken for audio when a folder is searched, in any case. The second set is audio that
# libsndfile cannot decode: it is found too, and refused with the remedy, never skipped in silence.
DECODED_SUFFIXES = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".w64",
        ".rf64",
        ".voc",
        ".bwf",
        ".sph",
        ".nist",
        ".ircam",
        ".sf",
        ".mp1",
        ".mp2",
        ".avr",
        ".paf",
        ".pvf",
    ]
)
FOREIGN_SUFFIXES = frozenset(
    [".m4a", ".mp4", ".aac", ".wma", ".amr", ".3gp", ".ape", ".wv", ".webm", ".mka"]
)

# Formats that are recognised by their first bytes, to say what they are: (offset, bytes, name).
_FOREIGN_STARTS = (
    (4, b"ftyp", "AAC or ALAC in an MPEG-4 container (m4a, mp4)"),
    (0, b"ADIF", "AAC"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"#!AMR", "an AMR voice file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
)
# libsndfile's log names the chunk whose declared size is not what the file holds. A wrong RIFF
# size around a right data chunk is a sloppy writer, not a cut file, so "RIFF" is not among them.
_SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_SLACK_SECONDS = 0.05  # a header may miscount by an mp3's last frame
_SLACK_BYTES = 256  # a trailing pad or tag; less than 3 ms of 44.1 kHz mono
_UNKNOWN_BYTES = 0x7FFF_0000  # writers to a pipe declare this much or more, for "unknown"
_OGG_END_OF_STREAM = 0x04  # header type flag of the last page, RFC 3533 section 6


def has_audio_suffix(path: Path) -> bool:
    """Tell whether the file's name ends like an audio file's, in upper or lower case."""
    return path.suffix.lower() in DECODED_SUFFIXES | FOREIGN_SUFFIXES


def read(path: Path, sample_rate: int, *, allow_silence: bool = False) -> NDArray[np.float32]:
    """Decode a whole file to mono at `sample_rate`.

    Args:
        path: the audio file.
        sample_rate: sample rate of the result.
        allow_silence: accept a file whose samples are all zero.

    Returns:
        Samples `(samples,)`, full scale at -1 to 1.

    Raises:
        AudioError: see `read_blocks`.
    """
    return np.concatenate(list(read_blocks(path, sample_rate, allow_silence=allow_silence)))


def read_blocks(
    path: Path,
    sample_rate: int,
    *,
    block_seconds: float = BLOCK_SECONDS,
    allow_silence: bool = False,
    keep_truncated: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Decode a file block by block to mono at `sample_rate`; joined, the blocks are the whole file.

    Channels are averaged. Resampling is soxr's HQ setting and carries its state from block to
    block, so the block length does not change the samples.

    Args:
        path: the audio file.
        sample_rate: sample rate of the blocks.
        block_seconds: seconds of the file decoded at a time.
        allow_silence: accept a file whose samples are all zero.
        keep_truncated: of a file that is known at once to be truncated, yield what is there
            before the fault is raised.

    Yields:
        Samples `(samples,)`, full scale at -1 to 1; at least one sample a block.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, of an unsupported rate,
            truncated, silent, too short for one sample, or holds NaN or infinite samples. What
            was decoded before the fault has been yielded by then.
    """
    file, cut = _open(path)
    with file:
        if cut and not keep_truncated:
            raise AudioError(cut)
        file_frames = file.frames
        resampler = Resampler(file.samplerate, sample_rate)
        heard = False
        for samples in _decode(file, path, max(1, round(block_seconds * file.samplerate))):
            heard = heard or bool(samples.any())
            block = resampler.push(samples)
            if len(block):
                yield block
        block = resampler.finish()
        if len(block):
            yield block
    if cut:
        raise AudioError(cut)
    if resampler.given == 0:
        raise AudioError(
            f"{path}: is too short, its {file_frames} samples leave none at {sample_rate} Hz"
        )
    if not heard and not allow_silence:
        raise AudioError(f"{path}: is silent, every sample of its mono mix is zero; check it")


def mono(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Mix samples down to float32 `(samples,)`, full scale at -1 to 1.

    Args:
        samples: `(samples,)` or `(samples, channels)` with at most `MOST_CHANNELS`; floats with
            full scale at -1 to 1, or signed whole numbers with full scale at the ends of their
            type, as int16.
        name: where they come from, for the message.

    Raises:
        AudioError: another shape or type, or NaN or infinite samples.
    """
    raw = np.asarray(samples)
    whole = raw.dtype.kind == "i"
    if not whole and raw.dtype.kind != "f":
        raise AudioError(f"{name}: has samples of type {raw.dtype}; float32 or int16 is needed")
    if raw.ndim not in (1, 2) or (raw.ndim == 2 and not 1 <= raw.shape[1] <= MOST_CHANNELS):
        raise AudioError(
            f"{name}: has shape {raw.shape}; (samples,) or (samples, channels) is needed"
        )
    values = raw.astype(np.float32)
    if whole:
        values /= -float(np.iinfo(raw.dtype).min)
    mixed = values
    if values.ndim == 2:
        with np.errstate(invalid="ignore", over="ignore"):  # refused just below
            mixed = values.mean(axis=1)
    if not np.isfinite(mixed).all():
        raise AudioError(f"{name}: holds NaN or infinite samples")
    return mixed


def _decode(
    file: soundfile.SoundFile, path: Path, block_frames: int
) -> Iterator[NDArray[np.float32]]:
    """Yield mono blocks at the file's own rate, then check that nothing was missing."""
    position = 0
    while True:
        try:
            block = file.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            seconds = position / file.samplerate
            raise AudioError(
                f"{path}: damaged or truncated somewhere after {seconds:.1f} s ({_reason(error)}); "
                "copy or record it again"
            ) from None
        if len(block) == 0:
            break
        position += len(block)
        with np.errstate(invalid="ignore", over="ignore"):  # refused just below
            samples = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(samples).all():
            raise AudioError(f"{path}: holds NaN or infinite samples; export it again")
        yield np.ascontiguousarray(samples)
    if position < file.frames - _SLACK_SECONDS * file.samplerate:
        raise AudioError(
            f"{path}: truncated, {position / file.samplerate:.1f} s of the "
            f"{file.frames / file.samplerate:.1f} s it declares; copy or record it again"
        )


def _open(path: Path) -> tuple[soundfile.SoundFile, str]:
    """Open a file that libsndfile can decode, or say in one line why not.

    Returns:
        The file, and the fault that its end is missing, or nothing.
    """
    if path.is_dir():
        raise AudioError(f"{path}: is a folder where an audio file is needed")
    try:
        if path.exists() and not path.is_file():
            raise AudioError(f"{path}: is not a regular file; save the audio to one first")
        with path.open("rb") as raw:
            start = _without_id3(raw)
            size = raw.seek(0, 2)
            raw.seek(max(0, size - 2**17))
            end = raw.read()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    if size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); copy or record it again")
    if name := _foreign_format(start):
        raise AudioError(
            f"{path}: is {name}, which cannot be decoded here; "
            f'convert it first: ffmpeg -i "{path.name}" "{path.stem}.flac"'
        )
    cut = ""
    if _is_cut(start, end, size):
        cut = f"{path}: truncated, its end is missing; copy or record it again"
    try:
        # as bytes, because soundfile refuses names that are not UTF-8
        file = soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless .raw
        if cut:
            raise AudioError(cut) from None
        raise AudioError(
            f"{path}: is not audio that can be decoded, or is damaged ({_reason(error)})"
        ) from None
    fault = None
    if not LOWEST_SAMPLE_RATE <= file.samplerate <= HIGHEST_SAMPLE_RATE:
        fault = (
            f"has a sample rate of {file.samplerate} Hz, outside the supported "
            f"{LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz; resample it first"
        )
    elif file.frames == 0 and not cut:
        fault = "holds no samples (length 0); copy or record it again"
    for declared, actual in _SHORT_CHUNK.findall(file.extra_info):
        if int(actual) + _SLACK_BYTES < int(declared) < _UNKNOWN_BYTES:
            cut = (
                f"{path}: truncated, {actual} of {declared} bytes are there; "
                "copy or record it again"
            )
    if fault:
        file.close()
        raise AudioError(f"{path}: {fault}")
    return file, cut


def _without_id3(raw: BinaryIO) -> bytes:
    """Return the file's first bytes, those after an ID3v2 tag where it has one."""
    start = raw.read(4096)
    if start[:3] == b"ID3" and len(start) > 10:  # the tag's length is in four bytes of 7 bits
        length = sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
        raw.seek(10 + length)
        start = raw.read(4096) or start
    return start


def _foreign_format(start: bytes) -> str | None:
    """Name the format of a file that libsndfile cannot decode, from its first bytes."""
    for offset, mark, name in _FOREIGN_STARTS:
        if start[offset : offset + len(mark)] == mark:
            return name
    # ADTS: twelve sync bits, then layer 00; MPEG audio (mp3) never has layer 00.
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0:
        return "AAC"
    return None


def _is_cut(start: bytes, end: bytes, size: int) -> bool:
    """Find a missing end that libsndfile would pass over or only mumble about (Ogg, MP3)."""
    if start[:4] == b"OggS":
        page = end.rfind(b"OggS")
        if page < 0 or len(end) < page + 27:
            return True
        segments = end[page + 26]
        table = end[page + 27 : page + 27 + segments]
        complete = len(table) == segments and len(end) >= page + 27 + segments + sum(table)
        return not (complete and end[page + 5] & _OGG_END_OF_STREAM)
    if start[:1] == b"\xff":  # an mp3 frame; the first may state the file's size in bytes
        for mark in (b"Xing", b"Info"):
            at = start.find(mark, 0, 200)
            flags = int.from_bytes(start[at + 4 : at + 8], "big")
            if at > 0 and flags & 0x2:
                field = at + 8 + (4 if flags & 0x1 else 0)
                return size < 0.99 * int.from_bytes(start[field : field + 4], "big")
    return False


def _reason(error: Exception) -> str:
    """Shorten libsndfile's message: without the path, which the caller names already."""
    text = getattr(error, "error_string", None) or str(error)
    if "possibly a pipe" in text:  # what it says of an mp3 in which it finds no frame
        return "no audio frame found"
    return str(text).strip().rstrip(".").removeprefix("Error : ")
