"""Files are written whole or not at all.

Every file Earmark leaves behind goes through `write_whole`: the bytes go to a temporary file in the
same folder, reach the disk, and only then take the final name in one step. A reader, or a run that
goes on after a kill, never meets half a file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        OSError: one of them is a file, which is named, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        _refuse_file(next(path for path in (folder, *folder.parents) if path.exists()))


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from one that comes into its place, as where a disk is unmounted.

    None: it is not there.
    """
    try:
        about = folder.stat()
    except (OSError, ValueError):
        return None
    return about.st_dev, about.st_ino


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create or replace `path` with what `write` puts into the open binary file it is given.

    See `writing`.
    """
    with writing(path) as file:
        write(file)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield an open binary file that creates or replaces `path` where the block ends well.

    A link is followed. A pipe or device is written to, because it cannot be replaced.

    Raises:
        OSError: the folder is not writable or the disk is full; `path` is then as it was. Where a
            folder on the way to it is a file, that is the one named.
    """
    target = path.resolve() if path.is_symlink() else path
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        if path.exists() and not path.is_file():  # asked of the path: /dev/stdout leads nowhere
            with path.open("wb") as file:
                yield file
            return
        make_folder(target.parent)
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        # Name the file meant, not none or the temporary one.
        if isinstance(error, OSError) and not isinstance(error, NotADirectoryError):
            error.filename, error.filename2 = str(path), None
        raise


def refuse_unwritable(path: Path) -> None:
    """Find out before long work that its result could not be written; leave nothing behind.

    Raises:
        OSError: `path` is a folder, or a folder on the way to it is a file or not writable.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if path.exists() and not path.is_file():
        return  # a pipe or device
    target = path.resolve() if path.is_symlink() else path
    nearest = next(folder for folder in target.parents if folder.exists())
    if not nearest.is_dir():
        _refuse_file(nearest)
    tried = nearest / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        tried.touch()
        tried.unlink()
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _refuse_file(file: Path) -> NoReturn:
    raise NotADirectoryError(errno.ENOTDIR, "Is a file where a folder is needed", str(file))


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    write_whole(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        ValueError: it is no JSON, or nested so deep that none of ours is.
        OSError: it cannot be read.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """Return the value in a text of JSON; see `read_json`."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of key order and format."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
