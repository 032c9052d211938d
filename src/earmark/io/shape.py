"""Sample rate, channels and declared length of an audio file, from its header alone."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from earmark.io.quiet import no_chatter

_UNKNOWN = 1 << 62  # frames, where a header does not know


def shape_of(path: Path) -> tuple[int | None, int | None]:
    """Return sample rate and channels of a file; None where libsndfile does not tell."""
    rate, channels, _ = declared_shape(path)
    return rate, channels


def declared_shape(path: Path) -> tuple[int | None, int | None, float | None]:
    """Return sample rate, channels and seconds as a file's header has them; None: not told."""
    try:
        with no_chatter():
            about = soundfile.info(os.fsencode(path) if os.name == "posix" else path)
    except (soundfile.LibsndfileError, TypeError, OSError):
        return None, None, None
    seconds = about.frames / about.samplerate if about.samplerate else 0.0
    return about.samplerate, about.channels, seconds if 0 < about.frames < _UNKNOWN else None
