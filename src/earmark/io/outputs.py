"""Outputs that replace no input.

A shell expands `--output_file *.wav` to the name of a recording, and a link or another spelling
hides that two names are one file. So an output is looked at before anything is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from earmark.errors import EarmarkError
from earmark.io.files import refuse_unwritable
from earmark.io.formats import sniff


def refuse_output(output: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Find out before long work that an output cannot be written, or would destroy something.

    Args:
        output: the file that is to be written.
        inputs: the files that are to be read.

    Raises:
        EarmarkError: it is one of the inputs, or audio.
        OSError: see `earmark.io.files.refuse_unwritable`.
    """
    refuse_outputs([output], inputs)


def refuse_outputs(outputs: Iterable[Path], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Find out the same of many outputs, and look at each input once.

    Args:
        outputs: the files that are to be written.
        inputs: the files that are to be read.

    Raises:
        EarmarkError: see `refuse_output`.
        OSError: see `refuse_output`.
    """
    known = _index(inputs)
    for output in outputs:
        _refuse_known(output, known)
        refuse_audio(output)
        refuse_unwritable(output)


def files_of(model: str | os.PathLike[str] | None) -> list[Path]:
    """Return the files of a model: itself, or those in its directory; none of the bundled one."""
    if model is None:
        return []
    path = Path(model)
    return [path] if not path.is_dir() else sorted(file for file in path.iterdir())


def refuse_replacing(
    output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuse an output that is one of the inputs, by whatever name, or holds one of them.

    Args:
        output: the file that is to be written.
        inputs: the files that are to be read.

    Raises:
        EarmarkError: the output is an input.
    """
    _refuse_known(Path(output), _index(inputs))


def refuse_audio(output: str | os.PathLike[str]) -> None:
    """Refuse to write a table over a file that is audio, as where a pattern gave its name.

    Raises:
        EarmarkError: the output exists and is audio.
    """
    target = Path(output)
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            return
        with target.open("rb") as file:
            kind, _ = sniff.sniff_at(file)
    except OSError:
        return
    if kind.role != sniff.OTHER:
        raise EarmarkError(
            f"{target}: is audio ({kind.words}) and would be replaced; give the output "
            "another name, or remove that file first"
        )


def _index(inputs: Iterable[str | os.PathLike[str]]) -> dict[tuple[int, int] | str, Path]:
    """Return the inputs by what they are and by where they are."""
    known: dict[tuple[int, int] | str, Path] = {}
    for item in inputs:
        path = Path(item)
        for key in (_identity(path), _resolved(path)):
            if key is not None:
                known.setdefault(key, path)
    return known


def _refuse_known(target: Path, known: Mapping[tuple[int, int] | str, Path]) -> None:
    for key in (_identity(target), _resolved(target)):
        if key is not None and (path := known.get(key)) is not None:
            same = "" if path == target else f" ({path})"
            raise EarmarkError(
                f"{target}: is an input{same} and would be replaced; give the output another name"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a file is, by whatever name; None: there is none, or it is no regular file."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return (about.st_dev, about.st_ino) if stat.S_ISREG(about.st_mode) else None


def _resolved(path: Path) -> str | None:
    """Return where a file that does not exist would be made; None: it is a pipe or device."""
    try:
        if path.exists() and not path.is_file():
            return None
        return os.path.realpath(path)
    except (OSError, ValueError, RuntimeError):
        return None
