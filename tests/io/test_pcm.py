"""Uncoded samples of every kind become the numbers that libsndfile reads."""

import io

import numpy as np
import pytest
import soundfile

from earmark.io import pcm
from earmark.io.waveform import mono
from tests.io.encoded import encoded, noise

KINDS = {
    "u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT",
    "f64le": "DOUBLE", "mulaw": "ULAW", "alaw": "ALAW",
}  # fmt: skip


@pytest.mark.parametrize("coding", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_those_that_libsndfile_reads(coding, channels):
    samples = noise(0.1, channels=channels)
    data = encoded("RAW", KINDS[coding], samples=samples, endian="LITTLE")
    given = pcm.decode(data, pcm.Form(coding, channels, 16_000))
    expected, _ = soundfile.read(
        io.BytesIO(data), format="RAW", subtype=KINDS[coding], channels=channels,
        samplerate=16_000, endian="LITTLE", dtype="float32", always_2d=True,
    )  # fmt: skip
    assert given.shape == samples.shape
    np.testing.assert_array_equal(mono(given, "x"), expected.mean(axis=1))


@pytest.mark.parametrize("coding", ["s16", "s24", "s32", "f32", "f64"])
def test_the_byte_order_may_be_the_other(coding):
    width = pcm.WIDTHS[coding + "le"]
    data = np.random.default_rng(0).integers(0, 60, 99 * width, np.uint8).tobytes()
    swapped = np.frombuffer(data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()
    little = pcm.decode(data, pcm.Form(coding + "le", 1, 8_000))
    big = pcm.decode(swapped, pcm.Form(coding + "be", 1, 8_000))
    np.testing.assert_array_equal(little, big)


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "AU"])
@pytest.mark.parametrize("coding", ["s16le", "s24le", "s32le", "f32le", "f64le", "mulaw"])
def test_a_header_says_how_samples_come(format, coding):
    if coding == "mulaw" and format == "WAVEX":
        pytest.skip("libsndfile writes no mu-law there")
    data = encoded(format, KINDS[coding], samples=noise(0.1, channels=2), rate=22_050)
    stream = io.BytesIO(data)
    form, read = (pcm.au_form if format == "AU" else pcm.wav_form)(stream.read)
    wanted = coding[:-2] + "be" if format == "AU" and coding.endswith("le") else coding
    assert form is not None
    assert (form.coding, form.channels, form.sample_rate) == (wanted, 2, 22_050)
    assert form.declared == 1_600 * form.width
    assert read == data[: len(read)]
