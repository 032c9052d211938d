"""Clips of events, kept as WAV files for a while: bounded by size and by age, known by their ids.

A clip is looked up by its id among those that are kept; no id is ever a path.
"""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

_FULL_SCALE = 32_767


class ClipStore:
    """Keeps clips in a folder of its own; threads may share it.

    Args:
        folder: where to; it holds nothing else.
        most_bytes: all clips together; the oldest go first.
        age_seconds: older ones go.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._most, self._age, self._clock = folder, most_bytes, age_seconds, clock
        self._kept: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock, self._bytes = threading.Lock(), 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """Where the clips lie, as ID.wav."""
        return self._folder

    @staticmethod
    def new_id() -> str:
        """Return an id that no clip has."""
        return secrets.token_hex(12)

    def add(self, samples: NDArray[np.int16], sample_rate: int, name: str) -> None:
        """Keep samples `(samples,)` under an id.

        Raises:
            OSError: they cannot be written.
        """
        data = to_wav(samples, sample_rate)
        path = self._folder / f"{name}.wav"
        try:  # the folder ends with the process, so nothing waits for the disk itself
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._kept[name] = (self._clock(), len(data))
            self._bytes += len(data)
        self.prune()

    def path(self, name: str) -> Path | None:
        """Return the file of a clip, or None where it is not kept."""
        with self._lock:
            return self._folder / f"{name}.wav" if name in self._kept else None

    def prune(self) -> None:
        """Remove what is too old or too much."""
        gone = []
        with self._lock:
            while self._kept:
                name, (made, size) = next(iter(self._kept.items()))
                if self._bytes <= self._most and self._clock() - made <= self._age:
                    break
                del self._kept[name]
                self._bytes -= size
                gone.append(name)
        for name in gone:
            (self._folder / f"{name}.wav").unlink(missing_ok=True)

    @property
    def bytes(self) -> int:
        """Size of all clips."""
        return self._bytes

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._kept)


def to_pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return samples of full scale at -1 to 1 as 16-bit numbers."""
    return np.round(np.clip(samples, -1, 1) * _FULL_SCALE).astype(np.int16)


def to_wav(samples: NDArray[np.int16], sample_rate: int) -> bytes:
    """Return a WAV file of samples `(samples,)`."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
