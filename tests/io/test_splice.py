"""A file put together from stretches of another reads like one file."""

import io

import numpy as np
import pytest

from earmark.io.formats.splice import Splice

DATA = bytes(range(200))
PIECES = (b"head", (10, 20), b"", (0, 3), (5, 5), b"x", (100, 200))
WHOLE = b"head" + DATA[10:20] + DATA[0:3] + b"x" + DATA[100:200]


def test_any_reads_and_seeks_give_the_bytes_of_the_whole():
    splice, plain = Splice(io.BytesIO(DATA), PIECES), io.BytesIO(WHOLE)
    assert splice.readable()
    assert splice.seekable()
    rng = np.random.default_rng(0)
    for _ in range(500):
        if rng.random() < 0.5:
            place = (int(rng.integers(-5, 130)), int(rng.integers(0, 3)))
            if place[1] == 0 and place[0] < 0:
                continue
            wanted = plain.tell() + place[0] if place[1] == 1 else len(WHOLE) + place[0]
            if place[1] and wanted < 0:
                continue
            assert splice.seek(*place) == plain.seek(*place)
        length = int(rng.integers(0, 40))
        assert splice.read(length) == plain.read(length)
        assert splice.tell() == plain.tell()


def test_a_file_that_became_shorter_ends_early():
    assert Splice(io.BytesIO(DATA[:15]), [(10, 20), b"x"]).read() == DATA[10:15]


def test_an_error_of_reading_is_kept():
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    splice = Splice(Broken(DATA), [b"ab", (0, 9)])
    assert splice.read(5) == b"ab"
    assert splice.fault is not None
    assert splice.fault.errno == 5


def test_nothing_is_an_empty_file():
    assert Splice(io.BytesIO(DATA), []).read() == b""
    assert Splice(io.BytesIO(DATA), []).seek(0, io.SEEK_END) == 0


def test_another_whence_is_refused():
    with pytest.raises(KeyError):
        Splice(io.BytesIO(DATA), []).seek(0, 7)
