"""What a live source gives."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from earmark.errors import AudioError


class Chunk(NamedTuple):
    """Samples as they came.

    Attributes:
        samples: `(samples, channels)`.
        sample_rate: their sample rate, in Hz.
        dropped: samples that were lost just before them.
        note: what to say of the source from here on.
    """

    samples: NDArray[Any]
    sample_rate: int
    dropped: int = 0
    note: str = ""


class StalledError(AudioError):
    """Nothing came for a while; more may still come."""
