"""Messages to and from bytes: what is read, and what is refused in one line."""

import json
import struct

import numpy as np
import pytest

from earmark.serve import protocol
from earmark.serve.settings import RefusedError

CLASSES = ("dog", "rain")
START = {"type": "start", "protocol": 1, "sample_rate": 48_000}


def start(**changes):
    return protocol.parse_start({**START, **changes}, CLASSES)


def test_a_start_says_what_is_wanted():
    read = start(
        encoding="f32le", channels=2, name=" my\nmicrophone ", spectrogram=True, classes=["rain"]
    )
    assert (read.sample_rate, read.encoding, read.channels) == (48_000, "f32le", 2)
    assert (read.name, read.spectrogram, read.classes) == ("my microphone", True, ("rain",))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"protocol": 2}, "version"),
        ({"protocol": None}, "version"),
        ({"type": "end"}, "start"),
        ({"sample_rate": 1}, "sample_rate"),
        ({"sample_rate": 1e300}, "sample_rate"),
        ({"sample_rate": True}, "sample_rate"),
        ({"encoding": "mp3"}, "encoding"),
        ({"encoding": ["s16le"]}, "encoding"),
        ({"channels": 0}, "channels"),
        ({"channels": 99}, "channels"),
        ({"name": 3}, "name"),
        ({"source": "x"}, "source"),
        ({"source": {"kind": "url"}}, "source"),
        ({"source": {"kind": "file", "id": 3}}, "source"),
        ({"resume": "x" * 1000}, "source"),
        ({"thresholds": {"dog": 2}}, "thresholds"),
        ({"thresholds": {"dog": "a"}}, "thresholds"),
        ({"thresholds": [1]}, "thresholds"),
        ({"classes": "dog"}, "classes"),
    ],
)
def test_what_is_asked_for_and_is_not_there_is_refused(changes, code):
    with pytest.raises(RefusedError) as refused:
        start(**changes)
    assert refused.value.code == code
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": 1}', '{"type": NaN}', "[" * 100_000])
def test_text_that_is_no_message_is_refused(text):
    with pytest.raises(RefusedError):
        protocol.parse(text)


def test_classes_that_there_are_not_are_left_out():
    read = start(thresholds={"dog": 0.5, "cow": 0.5}, classes=["cow", "dog"])
    assert (read.thresholds, read.classes) == ({"dog": 0.5}, ("dog",))


def test_samples_come_as_they_were_sent():
    samples = np.arange(-3, 3, dtype=np.int16).reshape(-1, 2)
    read = protocol.parse_samples(protocol.pack_samples(7, 99, samples), start(channels=2))
    assert (read.sequence, read.first) == (7, 99)
    np.testing.assert_array_equal(read.data, samples)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"abc",
        struct.pack("<BBHIQ", 2, 1, 0, 0, 0) + b"\0\0",
        struct.pack("<BBHIQ", 1, 2, 0, 0, 0) + b"\0\0",
        struct.pack("<BBHIQ", 1, 1, 0, 0, 0) + b"\0",
    ],
)
def test_bytes_that_are_no_samples_are_refused(message):
    with pytest.raises(RefusedError, match="audio message"):
        protocol.parse_samples(message, start())


def test_10_000_mutated_messages_are_read_or_refused_and_nothing_else():
    rng = np.random.default_rng(0)
    texts = [
        json.dumps({**START, "thresholds": {"dog": 0.5}, "classes": ["dog"], "resume": "abc"}),
        json.dumps({"type": "rules", "thresholds": {"rain": 0.25}}),
        json.dumps({**START, "source": {"kind": "file", "id": "abc"}, "name": "kitchen"}),
    ]
    samples = protocol.pack_samples(3, 4800, np.arange(64, dtype=np.int16))
    read = refused = 0
    for number in range(10_000):
        data = bytearray(samples if number % 2 else texts[number % 3].encode())
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(data)))
            kind = rng.integers(3)
            if kind == 0:
                data[at] = int(rng.integers(256))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 9))]
            else:
                data[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8))
            data = data or bytearray(b" ")
        try:
            if number % 2:
                protocol.parse_samples(bytes(data), protocol.Start())
            else:
                message = protocol.parse(data.decode("utf-8", "replace"))
                protocol.parse_start(message, CLASSES)
            read += 1
        except RefusedError:
            refused += 1
    assert read + refused == 10_000
    assert read > 500
    assert refused > 500
