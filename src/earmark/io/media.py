"""Formats that libsndfile cannot decode: AAC, Windows Media, WebM, video.

They are read by FFmpeg, which the package PyAV (the extra `media`) ships. It is imported when a
file needs it, because it is larger than all else that prediction needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from earmark.errors import AudioError
from earmark.io.remedy import convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MISSING_SECONDS = 0.5  # a container may count the padding of its coder
# Containers whose header or index says how long the audio is; others only guess.
_DECLARING = frozenset(["mp4", "matroska", "asf", "wav", "ape", "wv", "tta", "flv", "avi"])
# Of a pipe, no more is looked at before the first samples are given.
_LIVE = {"probesize": "65536", "analyzeduration": "500000"}
_FULL_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 2.0**63}


class MediaError(Exception):
    """What FFmpeg says about a file, in a few words, without the file's name."""


class Media:
    """Decodes the first audio track of a file.

    Args:
        file: the file, open for reading; it need not be seekable.
        demuxer: FFmpeg's name of its format.
        name: what to call it in messages.
        words: the format's name in messages.
        remedy: what to do without PyAV; empty: the command that converts the file.

    Attributes:
        sample_rate: of the track.
        channels: of the track.
        declared: frames that the container declares, or None.

    Raises:
        AudioError: PyAV is not installed, or nothing in the file can be decoded.
    """

    def __init__(
        self, file: BinaryIO, demuxer: str, name: str, words: str, *, remedy: str = ""
    ) -> None:
        av = _av(name, words, remedy or f"convert it: {convert(name)}")
        self._name, self._words, self._av = name, words, av
        self._stack = contextlib.ExitStack()
        try:
            # The format is fixed: one that names other files or addresses is never tried.
            container = av.open(
                file,
                mode="r",
                format=demuxer,
                metadata_errors="replace",
                container_options=_LIVE if not file.seekable() else {},
            )
            self._container = self._stack.enter_context(contextlib.closing(container))
            stream = next(iter(container.streams.audio), None)
        except (av.FFmpegError, ValueError, OSError) as error:
            self._stack.close()
            raise AudioError(self._unopened(demuxer, error)) from None
        if stream is None:
            self.close()
            raise AudioError(f"{name}: is {words} without an audio track")
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            self.close()
            raise AudioError(
                f"{name}: is {words} whose audio cannot be decoded; it may be encrypted or damaged"
            )
        stream.thread_type = "NONE"
        self._stream = stream
        self.sample_rate = int(stream.codec_context.sample_rate)
        self.channels = int(stream.codec_context.channels)
        self.bad_packets = 0
        self.declared: int | None = None
        length = stream.duration and stream.duration * (stream.time_base or Fraction(0))
        if not length and container.duration:
            length = Fraction(container.duration, 1_000_000)
        if demuxer in _DECLARING and length:
            self.declared = int(length * self.sample_rate)

    def _unopened(self, demuxer: str, error: Exception) -> str:
        if demuxer == "mp4":
            return (
                f"{self._name}: truncated, its index is missing, as where a recording was not "
                "finished; copy or record it again"
            )
        del error
        return (
            f"{self._name}: is {self._words} that is damaged at its begin; copy or record it again"
        )

    def blocks(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Yield samples `(samples, channels)`, full scale at -1 to 1, and their sample rate."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, self._av.EOFError):
                return
            except (self._av.FFmpegError, OSError):
                self.bad_packets += 1
                return
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self.bad_packets += 1
                continue
            for frame in frames:
                yield _samples(frame), int(frame.sample_rate)

    @property
    def missing_slack(self) -> int:
        """Frames that may be missing without a fault."""
        return round(_MISSING_SECONDS * self.sample_rate)

    def close(self) -> None:
        """Let go of the file."""
        self._stack.close()


def _samples(frame: Any) -> NDArray[np.float32]:
    array = frame.to_ndarray()
    channels = len(frame.layout.channels)
    planar = frame.format.is_planar
    samples = array.T if planar else array.reshape(-1, channels)
    form = frame.format.packed.name
    if form in _FULL_SCALE:
        values = samples.astype(np.float64 if form != "s16" else np.float32)
        if form == "u8":
            values -= 128.0
        return np.ascontiguousarray((values / _FULL_SCALE[form]).astype(np.float32))
    return np.ascontiguousarray(samples.astype(np.float32, copy=False))


def _av(name: str, words: str, remedy: str) -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise AudioError(
            f"{name}: is {words}; to read it: pip install 'earmark[media]', or {remedy}"
        ) from None
    return av
