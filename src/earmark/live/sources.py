"""Where live samples come from: a pipe or a microphone.

A source reads in a thread of its own and hands chunks over through a queue, so that what is slow in
scorer never stands in an audio callback or leaves a recorder waiting for a reader.
"""

from __future__ import annotations

import contextlib
import os
import queue
import struct
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import AudioError

ENCODINGS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
STALL_SECONDS = 5.0

_CHUNK_BYTES = 1 << 14
_QUEUED_CHUNKS = 64
_QUEUED_SECONDS = 10.0  # of a microphone, before anything is dropped
_BLOCK_SECONDS = 0.02  # of a microphone, in one call of its callback
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format tags of WAV


@dataclass(frozen=True)
class Chunk:
    """Samples as they came.

    Attributes:
        samples: `(samples, channels)`.
        sample_rate: their sample rate.
        dropped: samples that were lost just before them.
    """

    samples: NDArray[Any]
    sample_rate: int
    dropped: int = 0


class StalledError(AudioError):
    """Nothing came for a while; more may still come."""


class Pipe:
    """Samples from a pipe: raw, or a WAV stream, which is known by its first bytes.

    Args:
        descriptor: the pipe's file descriptor, open for reading.
        sample_rate: sample rate of raw samples; None: only a WAV stream is taken.
        channels: channels of raw samples.
        encoding: form of raw samples, one of `ENCODINGS`.
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
        self.name, self.channels, self._sample_rate = name, channels, sample_rate
        self._kind = np.dtype(ENCODINGS[encoding])
        self._descriptor = descriptor
        self._queue: queue.Queue[bytes | OSError | None] = queue.Queue(_QUEUED_CHUNKS)
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        self._held = b""
        self._begun = self._ended = False

    def _read(self) -> None:
        try:
            # Not through the buffered stream: its lock would be held at the interpreter's exit.
            while data := os.read(self._descriptor, _CHUNK_BYTES):
                self._queue.put(data)
            self._queue.put(None)
        except OSError as error:
            self._queue.put(error)

    def next(self, timeout: float) -> Chunk | None:
        """Return the next samples, or None at the end of the pipe.

        Raises:
            StalledError: nothing came for `timeout` seconds.
            AudioError: the pipe cannot be read, or is a WAV stream of an unsupported kind.
        """
        while not self._begun:
            self._take(timeout)
            if self._ended or len(self._held) >= 4:
                self._begun = True
                if not self._held:
                    raise AudioError(f"{self.name}: ended before a sample came")
                if self._held[:4] == b"RIFF":
                    self._read_header(timeout)
                elif self._sample_rate is None:
                    raise AudioError(
                        f"{self.name}: is no WAV stream; say how raw samples come, "
                        "such as --sample_rate 48000"
                    )
        size = self._kind.itemsize * self.channels
        while len(self._held) < size:
            if self._ended:
                return None
            self._take(timeout)
        whole = len(self._held) // size * size
        data, self._held = self._held[:whole], self._held[whole:]
        samples = np.frombuffer(data, self._kind).reshape(-1, self.channels)
        assert self._sample_rate is not None
        return Chunk(samples, self._sample_rate)

    def _take(self, timeout: float) -> None:
        """Add what comes next to what is held."""
        if self._ended:
            return
        try:
            data = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise StalledError(f"{self.name}: nothing came for {timeout:g} s") from None
        if isinstance(data, OSError):
            raise AudioError(f"{self.name}: cannot be read ({data.strerror})")
        if data is None:
            self._ended = True
        else:
            self._held += data

    def _need(self, count: int, timeout: float) -> bytes:
        while len(self._held) < count:
            if self._ended:
                raise AudioError(f"{self.name}: ends within the header of a WAV stream")
            self._take(timeout)
        data, self._held = self._held[:count], self._held[count:]
        return data

    def _read_header(self, timeout: float) -> None:
        """Read a WAV stream's header up to its samples, whose declared length may be a lie."""
        if self._need(12, timeout)[8:] != b"WAVE":
            raise AudioError(f"{self.name}: is RIFF, but not WAV")
        known = False
        while True:
            kind, length = struct.unpack("<4sI", self._need(8, timeout))
            if kind == b"data":
                break
            body = self._need(length + length % 2, timeout)
            if kind == b"fmt " and len(body) >= 16:
                tag, channels, sample_rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
                if tag == _EXTENSIBLE and len(body) >= 26:
                    (tag,) = struct.unpack("<H", body[24:26])
                form = {(_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4"}.get((tag, bits))
                if form is None or channels == 0:
                    raise AudioError(
                        f"{self.name}: is a WAV stream of {bits} bits, format {tag}; "
                        "16 or 32 bits PCM or 32 bits float are needed"
                    )
                self._kind, self.channels, self._sample_rate = np.dtype(form), channels, sample_rate
                known = True
        if not known:
            raise AudioError(f"{self.name}: is a WAV stream that does not say its format")

    def close(self) -> None:
        """Nothing to do: whoever opened the pipe closes it."""


class Microphone:
    """Samples from a microphone, at its own rate.

    Args:
        device: its name or number; without it the system's default.

    Raises:
        AudioError: no sounddevice, or no such device.
    """

    def __init__(self, device: str | None = None) -> None:
        self._sound = _sounddevice()
        self._given = int(device) if device and device.isdigit() else device
        blocks = round(_QUEUED_SECONDS / _BLOCK_SECONDS)
        self._queue: queue.Queue[tuple[NDArray[np.float32], int]] = queue.Queue(blocks)
        self._lost = 0
        try:
            found = self._sound.query_devices(self._given, "input")
            self.name = str(found["name"])
            self.sample_rate = round(found["default_samplerate"])
            self._stream = self._sound.InputStream(
                device=self._given,
                channels=min(2, int(found["max_input_channels"])),
                samplerate=self.sample_rate,
                blocksize=round(_BLOCK_SECONDS * self.sample_rate),
                dtype="float32",
                callback=self._called,
            )
            self._stream.start()
        except (self._sound.PortAudioError, ValueError) as error:
            what = " ".join(str(error).split())
            raise AudioError(
                f"microphone {device or ''}: cannot be opened ({what}); "
                "see earmark stream --list_devices".replace(" :", ":")
            ) from None

    def _called(self, samples: NDArray[np.float32], frames: int, _time: Any, status: Any) -> None:
        """Run in the audio thread: copy and leave."""
        if status.input_overflow:  # the system lost some; how many it does not say
            self._lost += frames
        try:
            self._queue.put_nowait((samples.copy(), self._lost))
            self._lost = 0
        except queue.Full:
            self._lost += frames

    def next(self, timeout: float) -> Chunk:
        """Return the next samples.

        Raises:
            StalledError: nothing came for `timeout` seconds; the device may have gone.
        """
        try:
            samples, lost = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise StalledError(
                f"{self.name}: nothing came for {timeout:g} s; has it gone?"
            ) from None
        return Chunk(samples, self.sample_rate, lost)

    def close(self) -> None:
        """Let go of the device, so that one that comes back is found."""
        with contextlib.suppress(self._sound.PortAudioError):  # it has gone
            self._stream.close()
        # PortAudio lists the devices once, when it starts.
        self._sound._terminate()
        self._sound._initialize()


def devices() -> str:
    """Return the system's audio devices, a line each.

    Raises:
        AudioError: no sounddevice.
    """
    return str(_sounddevice().query_devices())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise AudioError(
            "a microphone needs the package sounddevice: pip install earmark[live]; "
            "without it: arecord -f S16_LE -r 48000 | earmark stream - --sample_rate 48000"
        ) from None
    except OSError as error:  # PortAudio itself is missing
        raise AudioError(
            f"a microphone needs PortAudio ({error}); on Debian: apt install libportaudio2"
        ) from None
    return sounddevice
