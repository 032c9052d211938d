"""Audio file -> waveform: decode, mix down, resample, in blocks. Layer 1: NumPy, no torch.

Takes any file libsndfile decodes, at 4 to 384 kHz and with any number of channels; gives mono
float32 blocks at the rate asked for, so that a day-long file never sits in memory. This module is
the gatekeeper: a file read to its end was finite, complete and not silent.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr

from earmark.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST_RATE_HZ = 4_000
HIGHEST_RATE_HZ = 384_000
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
_RESAMPLER_SECONDS = 0.5  # its filter reaches back less than a tenth of that
_UNKNOWN_BYTES = 0x7FFF_0000  # writers to a pipe declare this much or more, for "unknown"
_OGG_END_OF_STREAM = 0x04  # header type flag of the last page, RFC 3533 section 6


def has_audio_suffix(path: Path) -> bool:
    """Tell whether the file's name ends like an audio file's, in upper or lower case."""
    return path.suffix.lower() in DECODED_SUFFIXES | FOREIGN_SUFFIXES


def read(path: Path, rate_hz: int, *, allow_silence: bool = False) -> NDArray[np.float32]:
    """Decode a whole file to mono at `rate_hz`.

    Args:
        path: the audio file.
        rate_hz: sample rate of the result.
        allow_silence: accept a file whose samples are all zero.

    Returns:
        Samples `(samples,)`, full scale at -1 to 1.

    Raises:
        AudioError: see `read_blocks`.
    """
    return np.concatenate(list(read_blocks(path, rate_hz, allow_silence=allow_silence)))


def read_blocks(
    path: Path,
    rate_hz: int,
    *,
    block_seconds: float = BLOCK_SECONDS,
    allow_silence: bool = False,
    hear_cut: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Decode a file block by block to mono at `rate_hz`; joined, the blocks are the whole file.

    Channels are averaged. Resampling is soxr's HQ setting and carries its state from block to
    block, so the block length does not change the samples.

    Args:
        path: the audio file.
        rate_hz: sample rate of the blocks.
        block_seconds: seconds of the file decoded at a time.
        allow_silence: accept a file whose samples are all zero.
        hear_cut: of a file that is known at once to be truncated, yield what is there before the
            fault is raised.

    Yields:
        Samples `(samples,)`, full scale at -1 to 1; at least one sample a block.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, of an unsupported rate,
            truncated, silent, too short for one sample, or holds NaN or infinite samples. What
            was decoded before the fault has been yielded by then.
    """
    file, cut = _open(path)
    with file:
        if cut and not hear_cut:
            raise AudioError(cut)
        file_frames = file.frames
        resampler = Resampler(file.samplerate, rate_hz)
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
            f"{path}: is too short, its {file_frames} samples leave none at {rate_hz} Hz"
        )
    if not heard and not allow_silence:
        raise AudioError(f"{path}: is silent, every sample of its mono mix is zero; check it")


def mono(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Mix samples down to float32 `(samples,)`, full scale at -1 to 1.

    Args:
        samples: `(samples,)` or `(samples, channels)`; floats with full scale at -1 to 1, or
            signed whole numbers with full scale at the ends of their type, as int16.
        name: where they come from, for the message.

    Raises:
        AudioError: another shape or type, or NaN or infinite samples.
    """
    raw = np.asarray(samples)
    whole = raw.dtype.kind == "i"
    if not whole and raw.dtype.kind != "f":
        raise AudioError(f"{name}: has samples of type {raw.dtype}; float32 or int16 is needed")
    if raw.ndim not in (1, 2) or (raw.ndim == 2 and raw.shape[1] == 0):
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


@dataclass(frozen=True)
class ResamplerState:
    """Where a `Resampler` stands, as a value that can be kept and gone on from.

    Attributes:
        heard: samples that went in.
        given: samples that came out.
        recent: the last samples that went in, enough to make the next ones that come out.
    """

    heard: int
    given: int
    recent: NDArray[np.float32]


class Resampler:
    """Changes the sample rate of a stream with soxr's HQ setting; chunks change no sample.

    Args:
        from_hz: rate of what goes in.
        to_hz: rate of what comes out.

    Attributes:
        heard: samples that went in.
        given: samples that came out.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz, self.heard, self.given = from_hz, to_hz, 0, 0
        common = math.gcd(from_hz, to_hz)
        self._period, self._period_given = from_hz // common, to_hz // common
        self._needed = round(_RESAMPLER_SECONDS * from_hz)
        self._recent: deque[NDArray[np.float32]] = deque()
        self._kept = self._skip = 0
        self._soxr = None
        if from_hz != to_hz:
            self._soxr = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    @classmethod
    def resumed(
        cls, from_hz: int, to_hz: int, state: ResamplerState
    ) -> tuple[Resampler, NDArray[np.float32]]:
        """Go on from a state.

        soxr keeps its own state to itself, so a new stream is given the recent samples again; what
        comes out then differs by rounding, below 1e-6.

        Returns:
            The resampler, and samples that it gives earlier than the first one did, often none.
        """
        resampler = cls(from_hz, to_hz)
        first = state.heard - len(state.recent)  # a whole number of periods
        resampler.heard, resampler.given = first, state.given
        resampler._skip = state.given - first // resampler._period * resampler._period_given
        return resampler, resampler.push(state.recent)

    @property
    def state(self) -> ResamplerState:
        """Where it stands now."""
        recent = np.concatenate([*self._recent, np.zeros(0, np.float32)])
        first = max(0, self.heard - self._needed) // self._period * self._period
        if self._soxr is not None:
            recent = recent[len(recent) - (self.heard - first) :]
        return ResamplerState(self.heard, self.given, recent)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples `(samples,)`; return what can be given by now."""
        self.heard += len(samples)
        if self._soxr is None:
            self.given += len(samples)
            return samples
        if len(samples):
            self._recent.append(samples)
        self._kept += len(samples)
        while self._recent and self._kept - len(self._recent[0]) >= self._needed + self._period:
            self._kept -= len(self._recent.popleft())
        return self._given(self._soxr.resample_chunk(samples))

    def finish(self) -> NDArray[np.float32]:
        """Return the rest of a stream that has ended."""
        if self._soxr is None:
            return np.zeros(0, np.float32)
        return self._given(self._soxr.resample_chunk(np.zeros(0, np.float32), last=True))

    def _given(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leave out what was given before the state that this one goes on from."""
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        self.given += len(samples) - skipped
        return samples[skipped:]


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
    if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
        fault = (
            f"has a sample rate of {file.samplerate} Hz, outside the supported "
            f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz; resample it first"
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
