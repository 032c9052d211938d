"""A stretch of a recording, by going to its place: nothing before it is decoded.

For listening and pictures: of a damaged file the place may be wrong, and of a lossy one the first
samples may differ a little from those of `earmark.io.decode`, which reads from the begin.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.io.levels import Mixer
from earmark.io.quiet import no_chatter

if TYPE_CHECKING:
    from numpy.typing import NDArray


def seek(
    path: Path, sample_rate: int, *, start: float, seconds: float
) -> NDArray[np.float32] | None:
    """Return a stretch of a file as mono at `sample_rate`, `(samples,)`.

    Args:
        path: the file.
        sample_rate: of the result, in Hz.
        start: its begin, in seconds.
        seconds: its length; at the end of the file there is less.

    Returns:
        None where nothing can be gone to there: libsndfile does not know the format, the header
        is wrong, or the file ends before.
    """
    import soundfile
    import soxr

    faults = (soundfile.SoundFileError, TypeError, OSError, ValueError)
    with contextlib.suppress(*faults), no_chatter():
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            rate = file.samplerate
            file.seek(round(start * rate))
            block = file.read(round(seconds * rate), "float32", always_2d=True)
        if len(block) and np.isfinite(block).all():
            mono: NDArray[np.float32] = soxr.resample(Mixer(rate).mix(block), rate, sample_rate)
            return mono
    return None
