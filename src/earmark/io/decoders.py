"""One part of a file -> samples: libsndfile, or FFmpeg for what libsndfile cannot."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np
import soundfile

from earmark.errors import AudioError
from earmark.io.formats.contents import SLACK_BYTES, Part
from earmark.io.formats.splice import Splice
from earmark.io.levels import refuse_rate
from earmark.io.media import Media
from earmark.io.quiet import no_chatter
from earmark.io.recording import not_decoded
from earmark.io.remedy import AGAIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

Blocks: TypeAlias = "Iterator[tuple[NDArray[np.float32], int, str]]"

# libsndfile's log names the chunk whose declared size is not what the file holds. A wrong RIFF
# size around a right data chunk is a sloppy writer, not a cut file, so "RIFF" is not among them.
_SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)",
    re.MULTILINE,
)
_UNKNOWN_BYTES = 0x7FFF_0000  # writers to a pipe declare this much or more, for "unknown"
_SLACK_SECONDS = 0.05  # a header may miscount by a coder's last frame
_UNKNOWN_FRAMES = 1 << 62


def decode_part(raw: BinaryIO, part: Part, path: Path, block_seconds: float, cut: bool) -> Blocks:
    """Decode one part: yield samples `(samples, channels)`, their rate and their coding."""
    if part.demuxer:
        yield from _decode_media(raw, part, path, block_seconds)
    else:
        yield from _decode_sound(raw, part, path, block_seconds, cut)


def seconds_of_part(raw: BinaryIO, part: Part, path: Path) -> float:
    """Return the seconds that libsndfile expects of a part; it gives no more than that."""
    file, _ = _open(raw, part, path, False)
    with file:
        return float(file.frames) / file.samplerate


def _decode_sound(raw: BinaryIO, part: Part, path: Path, block_seconds: float, cut: bool) -> Blocks:
    """Decode with libsndfile, then check that nothing was missing."""
    file, source = _open(raw, part, path, cut)
    with file:
        rate = file.samplerate
        refuse_rate(path, rate)
        if file.frames == 0:
            if cut or part.pieces is not None:
                return
            raise AudioError(f"{path}: holds no samples (length 0); {AGAIN}")
        size, position = _block_frames(block_seconds, rate, file.channels), 0
        while True:
            try:
                with _calm(part):
                    block = file.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                if position and part.frames is not None and position + part.slack >= part.frames:
                    break  # all that is there was read
                raise AudioError(
                    f"{path}: damaged or truncated somewhere after {position / rate:.1f} s; {AGAIN}"
                ) from None
            if len(block) == 0:
                break
            position += len(block)
            yield block, rate, file.subtype
        if isinstance(source, Splice) and source.fault:
            raise AudioError(f"{path}: cannot be read ({source.fault.strerror})")
        expected = file.frames if part.frames is None else part.frames
        slack = max(part.slack, _SLACK_SECONDS * rate)
        if position + slack < expected < _UNKNOWN_FRAMES and not cut:
            raise AudioError(
                f"{path}: truncated or damaged, {position / rate:.1f} s of the "
                f"{expected / rate:.1f} s in it could be decoded; {AGAIN}"
            )


def _decode_media(raw: BinaryIO, part: Part, path: Path, block_seconds: float) -> Blocks:
    """Decode with FFmpeg, then check that nothing was missing."""
    source: BinaryIO = raw
    if part.pieces is not None:
        source = Splice(raw, part.pieces)  # type: ignore[assignment]
    else:
        raw.seek(0)
    with contextlib.closing(Media(source, part.demuxer, str(path), part.kind)) as media:
        refuse_rate(path, media.sample_rate)
        position, rate = 0, media.sample_rate
        held: list[NDArray[np.float32]] = []
        count = 0
        for samples, now in media.blocks():
            if held and (now != rate or samples.shape[1] != held[-1].shape[1]):
                yield np.concatenate(held), rate, ""
                held, count = [], 0
            rate = now
            held.append(samples)
            count, position = count + len(samples), position + len(samples)
            size = _block_frames(max(1.0, block_seconds), rate, 2)
            if count >= size:
                joined = np.concatenate(held)
                yield joined[:size], rate, ""
                held, count = [joined[size:]], count - size
        if count:
            yield np.concatenate(held), rate, ""
        if position == 0:
            raise AudioError(f"{path}: holds no samples that can be decoded; {AGAIN}")
        if media.bad_packets:
            raise AudioError(
                f"{path}: damaged, {media.bad_packets} pieces of its audio could not be decoded; "
                f"{AGAIN}"
            )
        if media.declared and position + media.missing_slack < media.declared:
            raise AudioError(
                f"{path}: truncated, {position / rate:.1f} s of the "
                f"{media.declared / rate:.1f} s it declares; {AGAIN}"
            )


def _open(raw: BinaryIO, part: Part, path: Path, cut: bool) -> tuple[soundfile.SoundFile, object]:
    """Open a part with libsndfile."""
    source: object = None
    try:
        with _calm(part):
            if part.pieces is None:
                # as bytes, because soundfile refuses names that are not UTF-8
                file = soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path)
                if part.instead and file.frames + part.slack < (part.frames or 0):
                    file.close()  # it expects less than is there
                    source = Splice(raw, part.instead)
                    file = soundfile.SoundFile(source)
            else:
                source = Splice(raw, part.pieces)
                file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
        raise AudioError(not_decoded(path, part)) from None
    for declared, actual in _SHORT_CHUNK.findall(file.extra_info) if part.pieces is None else ():
        if int(actual) + SLACK_BYTES < int(declared) < _UNKNOWN_BYTES and not cut:
            file.close()
            raise AudioError(f"{path}: truncated, {actual} of {declared} bytes are there; {AGAIN}")
    return file, source


def _calm(part: Part) -> contextlib.AbstractContextManager[None]:
    return no_chatter() if part.kind in ("mp3", "") else contextlib.nullcontext()


def _block_frames(block_seconds: float, rate: int, channels: int) -> int:
    """Return how many frames to decode at a time: whole seconds where channels may cancel."""
    if channels > 1:
        return max(1, round(block_seconds)) * rate
    return max(1, round(block_seconds * rate))
