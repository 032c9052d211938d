"""A file on disk -> what it holds: recordings one after another, each with its decoder.

The format is known by the bytes, never by the name. What follows the end of one recording is looked
at like the begin of a file, so that joined files are read to their end, and bytes that are no audio
are counted and named.
"""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import BinaryIO

from earmark.errors import AudioError
from earmark.io.formats import aiff, boxes, chunks, flac, mpeg, ogg, riff, sniff
from earmark.io.formats.contents import SLACK_BYTES, Contents, Part
from earmark.io.formats.marks import next_mark
from earmark.io.formats.sniff import Kind, sniff_at
from earmark.io.formats.tags import tag_length
from earmark.io.remedy import AGAIN, convert

_MOST_RECORDINGS = 100_000
_MP3_TAGS = (0x50, 0x55)  # of WAV
_LIBSNDFILE_TAGS = frozenset([0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x45, 0x64])
_AAC_TAGS = frozenset([0xFF, 0x1600, 0x1602, 0x1610, 0x706D, 0xA106])
_TAIL = 1 << 16


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """Open a regular file that is not empty; return it with its size.

    Raises:
        AudioError: there is none, or it cannot be read.
    """
    try:
        if path.is_dir():
            raise AudioError(f"{path}: is a folder where an audio file is needed")
        if not path.exists():
            if path.is_symlink():
                raise AudioError(
                    f"{path}: is a link to {path.readlink()}, which is not there; mount its "
                    "disk or fetch the file (git annex get, dvc pull)"
                )
            raise AudioError(f"{path}: no such file; check the path")
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioError(f"{path}: is not a regular file; save the audio to one first")
        raw = path.open("rb")
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # a null byte
        raise AudioError(f"{path!r}: is no name that a file can have") from None
    size = raw.seek(0, 2)
    if size == 0:
        raw.close()
        raise AudioError(f"{path}: is empty (0 bytes); {AGAIN}")
    return raw, size


def inspect(raw: BinaryIO, size: int, path: Path) -> Contents:
    """Say what a file holds.

    Raises:
        AudioError: it is no audio.
    """
    found = Contents()
    at = 0
    for _ in range(_MOST_RECORDINGS):
        kind, begin = sniff_at(raw, at)
        whole = at == 0
        if kind.role == sniff.OTHER:
            place = mpeg.find(raw, at) if kind in (sniff.UNKNOWN, sniff.ZEROS) else None
            if place is not None:
                kind, begin, whole = sniff.MPEG, place, False
        if kind.role == sniff.OTHER:
            if at:
                break
            if kind is not sniff.UNKNOWN:
                raise AudioError(f"{path}: is {kind.words}; {kind.remedy}")
            found.parts.append(Part())  # libsndfile knows a few more
            return found
        part = _contents(raw, kind, begin, size, path, whole=whole)
        found.parts += part.parts
        found.notes += [note for note in part.notes if note not in found.notes]
        found.cut = found.cut or part.cut
        if part.end <= at:
            break
        at = found.end = _behind_tags(raw, part.end, size)
        if size - at <= SLACK_BYTES or part.cut:
            return found
    unread = size - at
    if chunks.zeros(raw, at, size):
        return found
    alone = f"head -c {at} {shlex.quote(str(path))} > NAME{path.suffix}"
    found.cut = found.cut or (
        f"at least {unread} bytes behind its audio are in no format that is known and were not "
        f"read; to keep the audio alone: {alone}"
    )
    return found


def _contents(
    raw: BinaryIO, kind: Kind, begin: int, size: int, path: Path, *, whole: bool
) -> Contents:
    """Look at one recording."""
    if kind.role == sniff.MEDIA:
        limit = next_mark(raw, begin + 1, size)
        end = boxes.end_of(raw, kind.key, begin, limit)
        part = _part(begin, min(end, limit), size, whole, kind.words, demuxer=kind.key)
        cut = "truncated, its end is missing" if end > limit else ""
        return Contents([part], min(end, limit), cut)
    if kind is sniff.FLAC:
        return flac.inspect(raw, begin, size, whole=whole)
    if kind is sniff.OGG:
        return ogg.inspect(raw, begin, size, whole=whole)
    if kind is sniff.MPEG:
        return mpeg.inspect(raw, begin, size, whole=whole)
    if kind in (sniff.WAV, sniff.RIFX, sniff.RF64, sniff.BW64):
        contents = riff.wav(raw, begin, size)
        tag, (first, last) = contents.coding, contents.samples
        if tag in _MP3_TAGS:
            inside = mpeg.find(raw, first)
            if inside is not None:
                found = mpeg.inspect(raw, inside, last, whole=False)
                found.end = contents.end
                return found
        if tag in _AAC_TAGS:
            coded, _ = sniff_at(raw, first)
            if coded is not sniff.AAC:
                raise AudioError(
                    f"{path}: is a WAV file of AAC whose frames have no bounds, which nothing can "
                    "decode; have it recorded as m4a: ffmpeg -i SOURCE -vn -c:a copy NAME.m4a"
                )
            return Contents([Part(((first, last),), demuxer="aac", kind="AAC in WAV")], size)
        if tag not in _LIBSNDFILE_TAGS:
            words = f"a WAV file of {_CODINGS.get(tag, f'coding 0x{tag:04x}')}"
            end = next_mark(raw, begin + 1, size)
            return Contents([_part(begin, end, size, whole, words, demuxer="wav")], end)
        return contents
    if kind is sniff.AIFF:
        return aiff.aiff(raw, begin, size)
    if kind is sniff.AU:
        return aiff.au(raw, begin, size)
    if kind is sniff.CAF:
        return aiff.caf(raw, begin, size)
    if kind is sniff.W64:
        return riff.w64(raw, begin, size)
    end = next_mark(raw, begin + 1, size)
    return Contents([_part(begin, end, size, whole, kind.words)], end)


def _part(begin: int, end: int, size: int, whole: bool, kind: str, demuxer: str = "") -> Part:
    """Return a stretch for a decoder: the file itself where it is all of it."""
    pieces = None if whole and end == size else ((begin, end),)
    return Part(pieces, demuxer=demuxer, kind=kind)


_CODINGS = {
    **dict.fromkeys((0x160, 0x161, 0x162, 0x163), "Windows Media audio"),
    **dict.fromkeys((0x2000, 0x2001), "AC-3 or DTS"),
}


def _behind_tags(raw: BinaryIO, at: int, size: int) -> int:
    """Return where the tags behind a recording end."""
    while at < size:
        raw.seek(at)
        length = tag_length(raw.read(min(_TAIL, size - at)))
        if not length:
            break
        if sniff_at(raw, at)[0].role != sniff.OTHER:  # an ID3 tag that belongs to what follows
            break
        at = min(size, at + length)
    return at


def not_decoded(path: Path, part: Part) -> str:
    """Say that a file cannot be decoded, without the decoder's words."""
    if part.kind:
        return f"{path}: is {part.kind} that is damaged; {AGAIN}"
    return (
        f"{path}: is not audio in a format that is known; if it plays elsewhere, convert it: "
        f"{convert(path)}"
    )
