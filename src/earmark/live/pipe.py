"""A pipe of audio -> samples as they come, whatever the format.

The format is known by the first bytes: WAV and its relatives and AU are read here, FLAC, Ogg, mp3
and all else by FFmpeg (the extra `media`); what has no known mark is raw samples. A second header,
as of a recorder that began again, begins another recording, and is never taken for samples.
"""

from __future__ import annotations

from earmark.errors import AudioError
from earmark.io import pcm
from earmark.io.formats import sniff
from earmark.io.formats.marks import MARK_BYTES, MARK_OR_MP3, first_mark
from earmark.io.formats.tags import id3_length
from earmark.io.levels import refuse_rate
from earmark.io.pcm import Form
from earmark.live.byte_source import ByteSource
from earmark.live.chunk import Chunk, StalledError
from earmark.live.coded import Coded

_MARK_BYTES = 12  # in which a format is known
_LONGEST_CHUNK = 1 << 24  # behind samples
# What known formats begin with; raw samples that begin with another byte need no closer look.
_FIRST_BYTES = frozenset(
    bytes([value]) for value in b"RFBOIf.drcACN P2wMTDVt/G#\x00\x0b\x1a\x30\x7f\xff"
)
_DEMUXERS = {"nist": "nistsphere", "svx": "iff"}  # where FFmpeg has another name
_FORMS = {
    **dict.fromkeys((sniff.WAV, sniff.RIFX, sniff.RF64, sniff.BW64), pcm.wav_form),
    sniff.AU: pcm.au_form,
    sniff.CAF: pcm.caf_form,
}


class _HeaderError(Exception):
    """A header is not yet there as a whole."""


class Pipe:
    """Samples from a pipe: in any format that a file may have, or raw.

    Args:
        descriptor: the pipe's file descriptor, open for reading.
        sample_rate: of raw samples, in Hz; None: raw samples are not taken.
        channels: of raw samples.
        encoding: of raw samples, one of `earmark.io.pcm.WIDTHS`.
        name: what to call it in messages.
    """

    def __init__(
        self,
        descriptor: int,
        sample_rate: int | None = None,
        channels: int = 1,
        encoding: str = "s16le",
        name: str = "stdin",
    ) -> None:
        self.name = name
        self._raw = None if sample_rate is None else Form(encoding, channels, sample_rate)
        self._bytes = ByteSource(descriptor, name)
        self._reader: _Samples | Coded | None = None
        self._recordings = 0

    def next(self, timeout: float) -> Chunk | None:
        """Return the next samples, or None at the end of the pipe.

        Raises:
            StalledError: nothing came for `timeout` seconds.
            AudioError: the pipe cannot be read, or what comes is no audio.
        """
        while True:
            note = ""
            if self._reader is None:
                if self._recordings and not self._bytes.fill(1, timeout):
                    return None
                self._reader, note = self._begin(timeout)
                self._recordings += 1
            chunk = self._reader.next(timeout)
            if chunk is not None:
                return Chunk(chunk.samples, chunk.sample_rate, chunk.dropped, note)
            self._reader = None
            if self._bytes.ended and not self._bytes.held:
                return None

    def _begin(self, timeout: float) -> tuple[_Samples | Coded, str]:
        """Find out what comes; return what reads it, and what to say of it."""
        source = self._bytes
        source.fill(1, timeout)
        if not source.held:
            raise AudioError(f"{self.name}: ended before a sample came")
        if self._raw is not None and not self._recordings and source.held[:1] not in _FIRST_BYTES:
            return self._begin_raw(sniff.UNKNOWN), ""
        kind = self._kind(timeout)
        note = f"{self.name}: another recording begins ({kind.words})" if self._recordings else ""
        if kind.role == sniff.OTHER:
            return self._begin_raw(kind), note
        if kind in _FORMS:
            header, form = self._header(kind, timeout)
            if form is None:
                raise AudioError(
                    f"{self.name}: is {kind.words} that does not say its format; see what writes it"
                )
            if form.coding:
                refuse_rate(self.name, form.sample_rate)
                return _Samples(source, form, following=True), note
            source.held = header + source.held
        demuxer = "wav" if _FORMS.get(kind) is pcm.wav_form else _DEMUXERS.get(kind.key, kind.key)
        return Coded(source, kind, demuxer, self.name), note

    def _kind(self, timeout: float) -> sniff.Kind:
        """Return the format that the next bytes are in."""
        source = self._bytes
        try:
            source.fill(_MARK_BYTES, timeout)
            while (tag := id3_length(source.held)) and source.fill(tag + _MARK_BYTES, timeout):
                source.pop(tag)
            kind = sniff.sniff(source.held)
            if kind.role == sniff.OTHER or kind in (sniff.MPEG, sniff.AAC):
                source.fill(sniff.HEAD_BYTES, timeout)  # weak marks: a second frame must follow
        except StalledError:
            if self._raw is None:
                raise
        return sniff.sniff(source.held[: sniff.HEAD_BYTES])

    def _begin_raw(self, kind: sniff.Kind) -> _Samples:
        if self._raw is None or self._recordings:
            if kind is not sniff.UNKNOWN and kind is not sniff.ZEROS:
                raise AudioError(f"{self.name}: is {kind.words}; {kind.remedy}")
            more = "" if not self._recordings else f" after {self._recordings} recording(s)"
            raise AudioError(
                f"{self.name}: what comes{more} has no mark of a format; say how raw samples come, "
                "such as --sample_rate 48000 --encoding s16le"
            )
        return _Samples(self._bytes, self._raw, following=False)

    def _header(self, kind: sniff.Kind, timeout: float) -> tuple[bytes, Form | None]:
        """Read a header; what was held stays held where it is not yet whole."""
        source, kept = self._bytes, b""

        def need(count: int) -> bytes:
            nonlocal kept
            if not source.fill(count, timeout):
                raise _HeaderError
            data = source.pop(count)
            kept += data
            return data

        try:
            form, read = _FORMS[kind](need)
        except _HeaderError:
            raise AudioError(
                f"{self.name}: ends within the header of {kind.words}; see what writes it"
            ) from None
        except StalledError:
            source.held = kept + source.held
            raise
        return read, form

    def close(self) -> None:
        """Nothing to do: whoever opened the pipe closes it."""


class _Samples:
    """Uncoded samples, raw or behind a header."""

    def __init__(self, source: ByteSource, form: Form, *, following: bool) -> None:
        self._source, self._form, self._following = source, form, following
        self._left = form.declared

    def next(self, timeout: float) -> Chunk | None:
        """Return the next samples, or None where they end."""
        source, width = self._source, self._form.width
        while True:
            if self._left == 0:
                if self._ends(timeout):
                    return None
                self._left = None  # the header was wrong: the samples go on
            needed = max(width, MARK_BYTES) if self._following else width
            if len(source.held) < needed and source.take(timeout):
                continue
            stop = len(source.held)
            if self._left is not None:
                stop = min(stop, self._left)
            mark = first_mark(source.held, MARK_OR_MP3) if self._following else None
            if mark is not None and mark < stop:
                stop = mark
                if stop < width:
                    source.pop(stop)
                    return None
            elif self._following and not source.ended and self._left is None:
                stop = max(0, stop - (MARK_BYTES - 1))  # a header may have begun there
            whole = stop // width * width
            if whole == 0:
                if self._left is not None and self._left < width:
                    source.pop(self._left)
                    self._left = 0
                    continue
                if source.ended:
                    source.pop(len(source.held))
                    return None
                source.take(timeout)
                continue
            if self._left is not None:
                self._left -= whole
            return Chunk(pcm.decode(source.pop(whole), self._form), self._form.sample_rate)

    def _ends(self, timeout: float) -> bool:
        """Go over chunks behind the declared samples; tell whether the samples end there."""
        source = self._source
        declared = self._form.declared or 0
        if declared % 2 and source.fill(1, timeout) and source.held[:1] == b"\0":
            source.pop(1)
        while source.fill(_MARK_BYTES, timeout):
            if id3_length(source.held) or sniff.sniff(source.held).role != sniff.OTHER:
                return True
            name, length = source.held[:4], int.from_bytes(source.held[4:8], "little")
            if not name.isascii() or not name.decode().isprintable() or length > _LONGEST_CHUNK:
                return False
            source.fill(8 + length + length % 2, timeout)
            source.pop(8 + length + length % 2)
        source.pop(len(source.held))
        return True
