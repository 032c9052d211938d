"""What a file of sound holds, as against what its header claims."""

from __future__ import annotations

from dataclasses import dataclass, field

from earmark.io.formats.splice import Piece

SLACK_BYTES = 256  # a trailing pad; less than 3 ms of 44.1 kHz mono
SLIGHT = 0.01  # damage below this share of a file is a warning, above it a fault


@dataclass(frozen=True)
class Part:
    """A stretch of a file that one decoder reads from its begin to its end.

    Attributes:
        pieces: what the decoder is given; None: the file as it is.
        frames: samples of each channel that are there, by what the file holds; None: its decoder
            finds out.
        instead: pieces to take where the decoder expects fewer frames than are there.
        slack: frames that may be missing without a fault.
        demuxer: FFmpeg's name of the format; empty: libsndfile decodes it.
        kind: what to call it in messages.
    """

    pieces: tuple[Piece, ...] | None = None
    frames: int | None = None
    instead: tuple[Piece, ...] | None = None
    slack: int = 0
    demuxer: str = ""
    kind: str = ""


@dataclass
class Contents:
    """What stands from one place of a file on, in one format.

    Attributes:
        parts: what is to be decoded, in order.
        end: the place where this format ends.
        cut: how it is truncated or damaged, or nothing.
        notes: what is suspicious, but no fault.
        coding: of WAV, the number of its coding.
        samples: of WAV, where its samples begin and end.
    """

    parts: list[Part] = field(default_factory=list)
    end: int = 0
    cut: str = ""
    notes: list[str] = field(default_factory=list)
    coding: int = 0
    samples: tuple[int, int] = (0, 0)


def damage(lost: int, of: int, where: str, contents: Contents) -> None:
    """Name bytes that no decoder can use: a note where they are few, else a fault."""
    text = f"{where}, {lost} of {of} bytes could not be decoded"
    if lost < SLIGHT * of:
        contents.notes.append(text)
    else:
        contents.cut = contents.cut or f"damaged, {lost} of {of} bytes could not be decoded"
