"""Messages of the WebSocket, to and from bytes; docs/protocol.md describes each.

Text messages are JSON objects with a `type`. Binary messages begin with a header of 16 bytes,
little endian: version (u8), kind (u8), reserved (u16), a sequence number (u32) and a place (u64).

    kind 1, to the server    samples; the place counts samples from the start of the session
    kind 2, from the server  columns of mel bands, a byte each; the place counts columns
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.serve.settings import RefusedError

VERSION = 1
AUDIO, COLUMNS = 1, 2
ENCODINGS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
MOST_CHANNELS = 8
MOST_NAME = 80
_HEADER = struct.Struct("<BBHIQ")
_KINDS = ("client", "file", "server")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Start:
    """What a client asks for in its first message.

    Attributes:
        sample_rate: of its samples.
        encoding: of its samples, one of `ENCODINGS`.
        channels: of its samples, interleaved.
        name: what the session is called in events.
        kind: "client": samples come in messages; "file": an uploaded file; "server": a source of
            the server's.
        source: which file or which source.
        resume: the session to go on with, after a lost connection.
        spectrogram: send columns of mel bands.
        thresholds: by class, in place of the model's.
        classes: that count; None: all.
        live: whether its sound is of now, as of a microphone; the server says so, no client.
    """

    sample_rate: int = 0
    encoding: str = "s16le"
    channels: int = 1
    name: str = "live"
    kind: str = "client"
    source: str = ""
    resume: str = ""
    spectrogram: bool = False
    thresholds: Mapping[str, float] | None = None
    classes: tuple[str, ...] | None = None
    live: bool = True

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return ENCODINGS[self.encoding].itemsize * self.channels


class Samples(NamedTuple):
    """A message with samples.

    Attributes:
        sequence: number of the message, from 0.
        first: place of its first sample in the session.
        data: the samples, `(samples, channels)`.
    """

    sequence: int
    first: int
    data: NDArray[Any]


def parse(text: str) -> dict[str, Any]:
    """Read a message of text.

    Raises:
        RefusedError: it is no JSON object with a type.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RefusedError("message", "a message is not valid JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise RefusedError("message", "a message is no JSON object with a type")
    return value


def parse_start(message: Mapping[str, Any], classes: Sequence[str]) -> Start:
    """Read the first message of a client.

    Raises:
        RefusedError: it is of another version, or asks for what there is not.
    """
    if message["type"] != "start":
        raise RefusedError("start", "the first message must be of the type start")
    if message.get("protocol") != VERSION:
        raise RefusedError(
            "version", f"this server speaks version {VERSION} of the protocol; reload the page"
        )
    source = message.get("source") or {"kind": "client"}
    kind = source.get("kind") if isinstance(source, dict) else None
    if kind not in _KINDS:
        raise RefusedError("source", f"the kind of a source is one of {', '.join(_KINDS)}")
    rate = message.get("sample_rate", 0)
    if kind == "client":
        rate = _whole(rate, "sample_rate", LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE)
    encoding = message.get("encoding", "s16le")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise RefusedError("encoding", f"the encoding is one of {', '.join(ENCODINGS)}")
    thresholds, chosen = parse_rules(message, classes)
    if kind == "server" and (thresholds or chosen is not None):
        raise shared()
    return Start(
        sample_rate=rate if kind == "client" else 0,
        encoding=encoding,
        channels=_whole(message.get("channels", 1), "channels", 1, MOST_CHANNELS),
        name=clean_name(message.get("name", "live")),
        kind=kind,
        source=_word(source.get("id", "")),
        resume=_word(message.get("resume", "")),
        spectrogram=message.get("spectrogram") is True,
        live=kind == "client",
        thresholds=thresholds,
        classes=chosen,
    )


def parse_rules(
    message: Mapping[str, Any], classes: Sequence[str]
) -> tuple[dict[str, float] | None, tuple[str, ...] | None]:
    """Read thresholds and the classes that count; a class that there is not is left out.

    Raises:
        RefusedError: they are not of the form that the protocol has.
    """
    thresholds, chosen = message.get("thresholds"), message.get("classes")
    if thresholds is not None:
        if not isinstance(thresholds, dict):
            raise RefusedError("thresholds", "thresholds are an object of numbers by class")
        for value in thresholds.values():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise RefusedError("thresholds", "a threshold is a number")
            if not 0 < value <= 1:
                raise RefusedError("thresholds", "a threshold lies above 0 and at most at 1")
        thresholds = {name: float(thresholds[name]) for name in classes if name in thresholds}
    if chosen is not None:
        if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
            raise RefusedError("classes", "classes are a list of names")
        kept = set(chosen)
        chosen = tuple(name for name in classes if name in kept)
    return thresholds, chosen


def shared() -> RefusedError:
    """Return why one client may not change what counts in a source of the server."""
    return RefusedError(
        "shared",
        "a source of the server is one for all who listen; its thresholds are the server's",
    )


def parse_samples(message: bytes, start: Start) -> Samples:
    """Read a message with samples.

    Raises:
        RefusedError: it has no such header, or is no whole number of samples.
    """
    if len(message) < _HEADER.size:
        raise RefusedError("audio", f"an audio message is shorter than {_HEADER.size} bytes")
    version, kind, _, sequence, first = _HEADER.unpack_from(message)
    if (version, kind) != (VERSION, AUDIO):
        raise RefusedError("audio", "an audio message has another version or kind")
    if (len(message) - _HEADER.size) % start.sample_bytes:
        raise RefusedError("audio", "an audio message holds a part of a sample")
    values = np.frombuffer(message, ENCODINGS[start.encoding], offset=_HEADER.size)
    return Samples(sequence, first, values.reshape(-1, start.channels))


def pack_samples(sequence: int, first: int, samples: NDArray[Any]) -> bytes:
    """Return the message that carries samples, `(samples,)` or `(samples, channels)`, as s16le."""
    return _HEADER.pack(VERSION, AUDIO, 0, sequence, first) + samples.astype("<i2").tobytes()


def pack_columns(sequence: int, first: int, columns: NDArray[np.uint8]) -> bytes:
    """Return the message that carries columns, `(columns, bands)`, the lowest band first."""
    return _HEADER.pack(VERSION, COLUMNS, columns.shape[1], sequence, first) + columns.tobytes()


def dump(message: Mapping[str, Any]) -> str:
    """Return a message as text."""
    return _ENCODER.encode(message)


def clean_name(value: Any) -> str:
    """Return a name that is safe in tables, pages and logs: one short line.

    Raises:
        RefusedError: it is no text.
    """
    if not isinstance(value, str):
        raise RefusedError("name", "a name is text")
    text = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return text[:MOST_NAME] or "live"


def _whole(value: Any, name: str, low: int, high: int) -> int:
    sane = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not sane or not low <= value <= high or value != int(value):
        raise RefusedError(name, f"{name} is a whole number from {low} to {high}")
    return int(value)


def _word(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_NAME:
        raise RefusedError("source", "an id is a short text")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
