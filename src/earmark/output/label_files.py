"""Where labels of several recordings go: a file for each, because a label names no recording."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from earmark.errors import EarmarkError

SUFFIX = ".txt"  # the only one that Audacity's File > Import > Labels shows
_SLASHES = tuple(filter(None, (os.sep, os.altsep)))


def choose_label_files(output: str | None, recordings: Sequence[Path]) -> dict[Path, Path] | None:
    """Return the label file of each recording, in a folder; None: one recording, written as asked.

    Args:
        output: what the user gave as `--output_file`. A folder that exists, or a name with a slash
            at its end, is a folder for one recording too.
        recordings: the files that are to be read.

    Raises:
        EarmarkError: there are several recordings and no folder; or a label file stands beside its
            recording already, where it may have been made by hand.
    """
    several = len(recordings) > 1
    fault = f"labels of Audacity name no recording, and {len(recordings)} are given; "
    if output is None:
        if several:
            raise EarmarkError(f"{fault}add --output_file FOLDER for a label file of each")
        return None
    folder = Path(output)
    if not (folder.is_dir() or output.endswith(_SLASHES)):
        if not several:
            return None
        if folder.exists() or folder.suffix:
            raise EarmarkError(
                f"{output}: {fault}give --output_file a folder for a label file of each, "
                "such as labels/"
            )
    files = name_label_files(folder, recordings)
    for recording, file in files.items():
        if file.exists() and os.path.realpath(folder) == os.path.realpath(recording.parent):
            raise EarmarkError(
                f"{file}: is there already, beside its recording; give --output_file another "
                "folder, or remove that file first"
            )
    return files


def name_label_files(folder: Path, recordings: Iterable[Path]) -> dict[Path, Path]:
    """Return a label file for each recording: its name, with a number where names are alike.

    Names are alike also where they differ in case or in how Unicode writes them, because on some
    systems these are one file.
    """
    recordings = list(recordings)
    taken: set[str] = set()
    stems = {_key(recording.stem) for recording in recordings}
    files: dict[Path, Path] = {}
    for recording in recordings:
        stem, number = recording.stem, 1
        while _key(stem) in taken or (number > 1 and _key(stem) in stems):
            number += 1
            stem = f"{recording.stem}-{number}"
        taken.add(_key(stem))
        files[recording] = folder / f"{stem}{SUFFIX}"
    return files


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem.casefold())
