"""Sample rate, channels and declared length of an audio file, from its header alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import soundfile

from earmark.errors import AudioError
from earmark.io.media import Media
from earmark.io.quiet import no_chatter
from earmark.io.recording import inspect, open_file

_Shape = tuple[int | None, int | None, float | None]
_UNKNOWN = 1 << 62  # frames, where a header does not know


def shape_of(path: Path) -> tuple[int | None, int | None]:
    """Return sample rate and channels of a file; None where its header does not tell."""
    rate, channels, _ = declared_shape(path)
    return rate, channels


def declared_shape(path: Path) -> _Shape:
    """Return sample rate, channels and seconds as a file's header has them; None: not told."""
    try:
        with no_chatter():
            about = soundfile.info(os.fsencode(path) if os.name == "posix" else path)
    except (soundfile.LibsndfileError, TypeError, OSError):
        return _shape_of_media(path)
    seconds = about.frames / about.samplerate if about.samplerate else 0.0
    return about.samplerate, about.channels, seconds if 0 < about.frames < _UNKNOWN else None


def _shape_of_media(path: Path) -> _Shape:
    """Return the same of a file that libsndfile cannot read, as FFmpeg has it."""
    try:
        raw, size = open_file(path)
        with raw:
            parts = inspect(raw, size, path).parts
            if not parts or not parts[0].demuxer or parts[0].pieces is not None:
                return None, None, None  # several recordings in one file among them
            raw.seek(0)
            media = Media(raw, parts[0].demuxer, str(path), parts[0].kind)
            with contextlib.closing(media):
                seconds = media.declared / media.sample_rate if media.declared else None
                return media.sample_rate, media.channels, seconds
    except (AudioError, OSError):
        return None, None, None
