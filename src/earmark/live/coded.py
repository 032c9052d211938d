"""A pipe of coded audio -> samples, with FFmpeg (the extra `media`)."""

from __future__ import annotations

import contextlib
import io
import queue
import re
import threading
from typing import Any

from numpy.typing import NDArray

from earmark.errors import AudioError
from earmark.io.formats import sniff
from earmark.io.formats.marks import MARK, MARK_BYTES, MARK_OR_MP3, first_mark
from earmark.io.media import Media
from earmark.live.byte_source import ByteSource
from earmark.live.chunk import Chunk, StalledError

_QUEUED_BLOCKS = 8  # decoded and not yet taken
_PAGE = re.compile(rb"OggS\x00[^\x02]")  # of Ogg, one that begins no stream
_FLAC_IN_OGG, _FLAC_IN_OGG_BYTES = b"\x7fFLAC", 9  # before the mark of FLAC itself
_CONVERT = "ffmpeg -loglevel error -i - -f wav - | earmark stream -"


class _Feed(io.RawIOBase):
    """A pipe's bytes as a file for FFmpeg, up to the next recording's header."""

    def __init__(self, source: ByteSource, kind: sniff.Kind) -> None:
        self._source = source
        self._given = 0
        self._before = b""  # the last bytes given
        self._is_ogg = kind is sniff.OGG
        self._mark = MARK_OR_MP3 if kind in (sniff.OGG, sniff.FLAC) else MARK
        self._pages = False  # pages of Ogg that begin no stream have passed

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes, as soon as something comes."""
        source = self._source
        view = memoryview(buffer).cast("B")
        while True:
            if len(source.held) < MARK_BYTES and source.take(None):
                continue
            if not source.held:
                return 0
            stop = len(source.held) if source.ended else len(source.held) - (MARK_BYTES - 1)
            at = first_mark(source.held, self._mark)
            while at is not None and at < stop:
                if self._begins(at):
                    if at == 0:
                        return 0
                    stop = at
                    break
                at = first_mark(source.held, self._mark, at + 1)
            stop = min(stop, len(view))
            if stop > 0:
                given = source.pop(stop)
                view[:stop] = given
                self._given += stop
                self._pages = self._pages or bool(_PAGE.search(self._before + given))
                self._before = given[-MARK_BYTES:]
                return stop
            if not source.take(None):
                continue

    def _begins(self, at: int) -> bool:
        """Tell whether the mark at a place begins another recording."""
        held = self._source.held
        if at == 0 and not self._given:
            return False  # this one's own
        if not self._is_ogg:
            return True
        if held[at : at + 4] == b"OggS":  # several streams may begin together
            return self._pages or bool(_PAGE.search(held, 0, at))
        before = (self._before + held[:at])[-_FLAC_IN_OGG_BYTES:]
        return not before.startswith(_FLAC_IN_OGG)


class Coded:
    """Samples that FFmpeg decodes, in a thread of its own, because it waits for the pipe."""

    def __init__(self, source: ByteSource, kind: sniff.Kind, demuxer: str, name: str) -> None:
        self._queue: queue.Queue[tuple[NDArray[Any], int] | AudioError | None] = queue.Queue(
            _QUEUED_BLOCKS
        )
        self._name = name
        work = (source, kind, demuxer)
        threading.Thread(target=self._decode, args=work, name="decoder", daemon=True).start()

    def _decode(self, source: ByteSource, kind: sniff.Kind, demuxer: str) -> None:
        try:
            feed = _Feed(source, kind)
            remedy = f"decode it first: {_CONVERT}"
            media = Media(feed, demuxer, self._name, kind.words, remedy=remedy)  # type: ignore[arg-type]
            with contextlib.closing(media):
                for samples, rate in media.blocks():
                    self._queue.put((samples, rate))
            self._queue.put(None)
        except AudioError as error:
            self._queue.put(error)

    def next(self, timeout: float) -> Chunk | None:
        """Return the next samples, or None where they end."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise StalledError(f"{self._name}: nothing came for {timeout:g} s") from None
        if item is None:
            return None
        if isinstance(item, AudioError):
            raise item
        return Chunk(*item)
