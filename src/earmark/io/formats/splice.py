"""A file put together from stretches of another.

Headers lie: a recorder that lost power, a writer into a pipe and a size of 32 bits all leave one
that declares something else than what lies behind it. `Splice` puts a corrected header in front of
the same bytes, or leaves out what is no audio, without a copy: a decoder reads it like a file.
"""

from __future__ import annotations

import io
import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO, TypeAlias

Piece: TypeAlias = "bytes | tuple[int, int]"  # bytes as they are, or (begin, end) in the file


class Splice(io.RawIOBase):
    """Reads pieces one after another as one file.

    Args:
        raw: the file that stretches are read from, open for reading; it stays open.
        pieces: bytes, or the begin and end of a stretch of `raw`.

    Attributes:
        fault: the first error that reading met. It is kept, because the decoders that call have no
            way to pass it on.
    """

    def __init__(self, raw: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._raw = raw
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._ends = list(itertools.accumulate(_length(piece) for piece in self._pieces))
        self._place = 0
        self.fault: OSError | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as files do."""
        size = self._ends[-1] if self._ends else 0
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there is something; return how much that was."""
        view = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view):
                at = bisect_right(self._ends, self._place)
                if at == len(self._ends):
                    break
                piece, left = self._pieces[at], self._ends[at] - self._place
                part = view[done : done + left]
                if isinstance(piece, bytes):
                    part[:] = piece[len(piece) - left :][: len(part)]
                    count = len(part)
                else:
                    self._raw.seek(piece[1] - left)
                    count = self._raw.readinto(part)  # type: ignore[attr-defined]
                if not count:  # the file has become shorter since it was looked at
                    break
                done += count
                self._place += count
        except OSError as error:
            self.fault = self.fault or error
        return done


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
