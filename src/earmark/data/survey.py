"""What the headers of a dataset's files say of its clips, before anything is decoded.

It chooses a recipe and fits one to the clips; nothing else rests on it, as a header may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from earmark.data.readers import Clip
from earmark.io.quiet import no_chatter

_MOST = 400  # clips that are looked at
_LONG = 95  # percentile


@dataclass(frozen=True)
class Survey:
    """Lengths and rates of clips.

    Attributes:
        median_seconds: length of the middle clip.
        long_seconds: length that 95 of 100 clips do not exceed.
        sample_rate: of the middle clip, in hertz.
    """

    median_seconds: float
    long_seconds: float
    sample_rate: int


def survey_clips(clips: Sequence[Clip]) -> Survey | None:
    """Look at the headers of clips that have a class, of some hundred where there are more.

    Returns:
        What they say; None where libsndfile can open none of them.
    """
    paths = [clip.path for clip in clips if clip.label is not None]
    found = [seen for path in paths[:: max(1, len(paths) // _MOST)] if (seen := _look(path))]
    if not found:
        return None
    seconds, rates = np.array(found).T
    middle = np.sort(rates)[len(rates) // 2]
    return Survey(float(np.median(seconds)), float(np.percentile(seconds, _LONG)), int(middle))


def _look(path: Path) -> tuple[float, int] | None:
    try:
        with no_chatter():
            header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError):
        return None
    return (header.duration, header.samplerate) if header.frames > 0 else None
