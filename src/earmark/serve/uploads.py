"""Uploaded files: streamed to the disk under limits, known by ids, removed when nobody wants them.

A file's own name is shown to people and never used as a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from earmark.errors import AudioError
from earmark.serve.protocol import clean_name
from earmark.serve.requests import parts_of
from earmark.serve.settings import Limits, RefusedError
from earmark.serve.sources import read_file

_WRITE_BYTES = 1 << 20  # at a time


@dataclass
class Upload:
    """A file that was uploaded.

    Attributes:
        id: names it.
        name: what the user's file was called.
        path: where it lies.
        bytes: its size.
        seconds: its length by its header; 0 where that does not say.
        used: when it was last asked for.
    """

    id: str
    name: str
    path: Path
    bytes: int = 0
    seconds: float = 0.0
    used: float = field(default_factory=time.monotonic)


class UploadStore:
    """Keeps uploaded files in a folder of its own. It belongs to the event loop.

    Args:
        folder: where to; it holds nothing else.
        limits: of size, number and time.
        reading: gives the ids of files that are read now; these stay.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        reading: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._limits, self._reading, self._clock = folder, limits, reading, clock
        self._kept: dict[str, Upload] = {}
        self._coming = 0
        folder.mkdir(parents=True, exist_ok=True)

    async def take(self, body: AsyncIterator[bytes], name: str, declared: int) -> Upload:
        """Write a file as it comes, and see that it is audio.

        Args:
            body: its bytes.
            name: what the user's file is called.
            declared: its size by the request; 0 where that does not say.

        Raises:
            RefusedError: it is too large, there are too many, or it stands still.
            AudioError: it is no audio that can be read.
        """
        self.prune()
        if len(self._kept) + self._coming >= self._limits.uploads:
            self._make_room()
        if len(self._kept) + self._coming >= self._limits.uploads:
            raise RefusedError(
                "uploads", f"the server has its {self._limits.uploads} files; try again later", 503
            )
        if declared > self._limits.upload_bytes:
            raise self._too_large(name)
        upload = Upload(secrets.token_hex(12), clean_name(name), Path())
        # The suffix tells a decoder nothing; a file is known by its bytes.
        upload.path = self._folder / upload.id
        self._coming += 1
        try:
            await self._write(body, upload)
            await asyncio.to_thread(self._look, upload)
        except BaseException:
            upload.path.unlink(missing_ok=True)
            raise
        finally:
            self._coming -= 1
        upload.used = self._clock()
        self._kept[upload.id] = upload
        return upload

    def find(self, name: str) -> Upload | None:
        """Return a file by its id; it counts as used."""
        upload = self._kept.get(name)
        if upload is not None:
            upload.used = self._clock()
        return upload

    def remove(self, name: str) -> bool:
        """Remove a file; tell whether it was there."""
        upload = self._kept.pop(name, None)
        if upload is not None:
            with contextlib.suppress(OSError):
                upload.path.unlink()
        return upload is not None

    def prune(self) -> None:
        """Remove the files that nobody has asked for in a while."""
        now, reading = self._clock(), self._reading()
        for upload in list(self._kept.values()):
            if upload.id in reading:
                upload.used = now
            elif now - upload.used > self._limits.upload_idle_seconds:
                self.remove(upload.id)

    def _make_room(self) -> None:
        """Remove the file that was asked for longest ago, as of a page that was closed."""
        oldest = min(self._kept.values(), key=lambda one: one.used, default=None)
        if oldest and self._clock() - oldest.used > self._limits.upload_replaced_seconds:
            self.remove(oldest.id)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._kept)

    async def _write(self, body: AsyncIterator[bytes], upload: Upload) -> None:
        with upload.path.open("xb") as file:
            waiting: list[bytes] = []
            held = 0
            async for part in parts_of(body, self._limits.body_seconds, upload.name):
                upload.bytes += len(part)
                if upload.bytes > self._limits.upload_bytes:
                    raise self._too_large(upload.name)
                waiting.append(part)
                held += len(part)
                if held >= _WRITE_BYTES:
                    await asyncio.to_thread(file.write, b"".join(waiting))
                    waiting, held = [], 0
            await asyncio.to_thread(file.write, b"".join(waiting))

    def _look(self, upload: Upload) -> None:
        """Read the first samples, and the length that the header declares.

        Raises:
            AudioError: there are none.
        """
        if upload.bytes == 0:
            raise AudioError(f"{upload.name}: is empty (0 bytes); choose another file")
        with contextlib.suppress(soundfile.SoundFileError, OSError):
            info = soundfile.info(str(upload.path))
            upload.seconds = info.frames / info.samplerate if info.samplerate else 0.0
        limit = self._limits.upload_seconds
        if upload.seconds > limit:
            raise RefusedError(
                "length", f"{upload.name}: is longer than {limit / 3600:g} h; cut it", 413
            )
        blocks = read_file(upload.path, 16_000, upload.name, limit)
        with contextlib.closing(blocks):
            next(blocks, None)

    def _too_large(self, name: str) -> RefusedError:
        most = self._limits.upload_bytes / (1 << 20)
        return RefusedError(
            "size", f"{clean_name(name)}: is larger than {most:g} MB; cut it or convert it", 413
        )
