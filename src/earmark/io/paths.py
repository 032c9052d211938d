"""Arguments and folders -> audio files, with what was left out; outputs that replace no input.

 One rule for every command that searches a folder: names that begin with a dot and
folders that begin with two underscores are left out, links are followed, a folder is entered once,
whatever audio remains is taken, by its name or by its bytes, and all else is counted.
"""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earmark.io.formats import sniff

# Suffixes taken for audio when a folder is searched, in any case. Those that programs use too, as
# .ts, are not among them: there, as for every other name, the bytes tell.
AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".w64",
        ".rf64",
        ".voc",
        ".bwf",
        ".sph",
        ".nist",
        ".ircam",
        ".sf",
        ".mp1",
        ".mp2",
        ".avr",
        ".paf",
        ".pvf",
        ".bw64",
        ".m4a",
        ".mp4",
        ".aac",
        ".wma",
        ".amr",
        ".3gp",
        ".ape",
        ".wv",
        ".webm",
        ".mka",
        ".mkv",
        ".m4b",
        ".mov",
        ".asf",
        ".wmv",
        ".ac3",
        ".dts",
        ".tta",
        ".mpc",
        ".spx",
        ".ogv",
        ".avi",
        ".flv",
        ".mpg",
        ".mpeg",
        ".vob",
        ".m2ts",
    ]
)
_NAMED = 3  # examples in a line

HIDDEN = "hidden"
NOT_AUDIO = "not audio"
AGAIN_BY_LINK = "folders that a link leads to again"
DEAD_LINK = "links to nothing"
SPECIAL = "pipes, sockets or devices"


def has_audio_suffix(path: Path) -> bool:
    """Tell whether the file's name ends like an audio file's, in upper or lower case."""
    return path.suffix.lower() in AUDIO_SUFFIXES


@dataclass
class Found:
    """What was found, and what was not taken.

    Attributes:
        files: the audio files, each once, in order; those that cannot be read are among them.
        faults: what was asked for and is not there, a line each.
        left_out: what was passed over, by the reason.
        twins: lines about names that look alike and are not.
    """

    files: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    twins: list[str] = field(default_factory=list)

    def leave(self, reason: str, path: Path) -> None:
        """Note that a path was passed over."""
        self.left_out.setdefault(reason, []).append(path)

    def summary(self) -> str:
        """Return one line about what was left out, or nothing."""
        parts = []
        for reason, paths in self.left_out.items():
            more = ", ..." if len(paths) > _NAMED else ""
            parts.append(f"{len(paths)} {reason} ({', '.join(map(str, paths[:_NAMED]))}{more})")
        return "left out: " + "; ".join(parts) if parts else ""


def walk(folder: Path) -> Found:
    """Return the audio files in a folder and below, in a fixed order.

    Links are followed; a link to nothing whose name is that of audio is among the files, because
    it stands for a recording that cannot be read. A folder that a link leads to a second time, as
    in a loop, is left out.
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    real, linked = (
        [folder],
        deque[Path](),
    )  # linked folders come last, so that real names win
    while real or linked:
        folders, links = _take(real.pop() if real else linked.popleft(), found, seen)
        real += reversed(folders)
        linked += links
    found.files.sort()
    found.twins = _twins(found.files)
    return found


def expand(arguments: Sequence[str]) -> Found:
    """Return the audio files that arguments of a command stand for.

    Args:
        arguments: files, folders, or patterns as of a shell.

    Returns:
        What was found. A file that is named is taken whatever it is, so that a missing one is
        reported with the others; a pattern or a folder without audio is a fault.
    """
    total = Found()
    files: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if _is_folder(path):
            inside = [path]
        elif not glob.has_magic(argument) or _exists(path):
            files[path] = None
            continue
        else:
            inside = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
            if not inside:
                total.faults.append(f"{argument}: no file matches; check the pattern")
        for match in inside:  # a folder that matches stands for the files in it
            if not _is_folder(match):
                files[match] = None
                continue
            below = walk(match)
            files.update(dict.fromkeys(below.files))
            total.faults += below.faults
            total.twins += below.twins
            for reason, paths in below.left_out.items():
                total.left_out.setdefault(reason, []).extend(paths)
            if not below.files and not below.faults and match == path:
                total.faults.append(f"{argument}: holds no audio files" + _what(below))
    total.files = list(files)
    return total


def _take(folder: Path, found: Found, seen: set[tuple[int, int]]) -> tuple[list[Path], list[Path]]:
    """Take the files of a folder; return the folders in it, and those that links lead to."""
    folders: list[Path] = []
    links: list[Path] = []
    try:
        about = folder.stat()
        key = (about.st_dev, about.st_ino)
        if key in seen:
            found.leave(AGAIN_BY_LINK, folder)
            return folders, links
        seen.add(key)
        with os.scandir(folder) as entries:
            names = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.faults.append(f"{folder}: cannot be searched ({error.strerror})")
        return folders, links
    for entry in names:
        path = folder / entry.name
        if entry.name.startswith("."):
            found.leave(HIDDEN, path)
            continue
        try:
            if entry.is_dir():
                if entry.name.startswith("__"):
                    found.leave(HIDDEN, path)
                elif entry.is_symlink():
                    links.append(path)
                else:
                    folders.append(path)
                continue
            is_file = entry.is_file()
        except OSError:  # a link to itself
            is_file = False
        if not is_file and entry.is_symlink():
            if has_audio_suffix(path):
                found.files.append(path)
            else:
                found.leave(DEAD_LINK, path)
        elif not is_file:
            found.leave(SPECIAL, path)
        elif has_audio_suffix(path) or _is_audio(path):
            found.files.append(path)
        else:
            found.leave(NOT_AUDIO, path)
    return folders, links


def _is_audio(path: Path) -> bool:
    """Tell by its bytes whether a file is audio; its name does not say so."""
    try:
        with path.open("rb") as file:
            return sniff.sniff_at(file)[0].role != sniff.OTHER
    except OSError:
        return False


def _what(below: Found) -> str:
    summary = below.summary().removeprefix("left out: ")
    return f", but {summary}" if summary else ""


def _twins(files: Sequence[Path]) -> list[str]:
    """Name files whose names differ only in how Unicode writes them."""
    count = Counter(unicodedata.normalize("NFC", str(path)) for path in files)
    return [
        f"{name}: is the name of {number} files that differ only in how Unicode writes it; "
        "rename all but one"
        for name, number in count.items()
        if number > 1
    ]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
