"""Commands that help, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import PurePath

AGAIN = "copy or record it again"  # only where bytes are missing or damaged


def convert(path: str | PurePath) -> str:
    """Return the command that makes a FLAC file of what FFmpeg can read."""
    source = PurePath(path)
    target = (
        source.with_suffix(".flac")
        if source.suffix.lower() != ".flac"
        else (source.with_suffix(".wav"))
    )
    given, made = shlex.quote(str(source)), shlex.quote(str(target))
    # a name that begins with a dash would be taken for an option
    given, made = (f"./{text}" if text.startswith("-") else text for text in (given, made))
    return f"ffmpeg -i {given} -vn {made}"
