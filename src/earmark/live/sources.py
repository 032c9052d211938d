"""A microphone as a source of live samples; sounddevice when asked for.

A source reads in a thread of its own and hands chunks over through a queue, so that what is slow in
the scorer never stands in an audio callback or leaves a recorder waiting for a reader.
"""

from __future__ import annotations

import contextlib
import queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import AudioError
from earmark.live.chunk import Chunk, StalledError

STALL_SECONDS = 5.0

_QUEUED_SECONDS = 10.0  # before anything is dropped
_BLOCK_SECONDS = 0.02  # in one call of the callback


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
