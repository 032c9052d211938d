"""Sample rate, channels and declared length of an audio file, from its header alone."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from earmark.io.quiet import no_chatter


def shape_of(path: Path) -> tuple[int | None, int | None]:
    """Return sample rate and channels of a file; None where libsndfile does not tell."""
    try:
        with no_chatter():
            about = soundfile.info(os.fsencode(path) if os.name == "posix" else path)
    except (soundfile.LibsndfileError, TypeError, OSError):
        return None, None
    return about.samplerate, about.channels
