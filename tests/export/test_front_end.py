"""The exported front end: two matrix products give the powers of the Fourier transform."""

import math

import numpy as np
import pytest
import torch

from earmark.config import FrontEndSettings
from earmark.export.front_end import build_spectrum_matrices, find_factors
from earmark.nn.features import LogMel


@pytest.mark.parametrize("length", [2, 3, 48, 97, 256, 882, 2048])
def test_two_products_are_the_mel_powers_of_the_fourier_transform(length):
    settings = FrontEndSettings(8_000, length, 1, 6, 50.0, 4_000.0, 1e-6)
    first, twiddles, second, filters = build_spectrum_matrices(settings)
    many, small = find_factors(length)
    samples = np.random.default_rng(length).standard_normal(length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    half = (first @ (samples * window).reshape(many, small)) * twiddles
    whole = half.reshape(2, -1, 2 * small).sum(0) @ second
    power = whole[:, :small] ** 2 + whole[:, small:] ** 2
    with np.errstate(divide="ignore"):
        mel = np.log(power.reshape(-1) @ filters + settings.floor)
    front_end = LogMel(settings)
    with torch.inference_mode():
        expected = front_end(torch.from_numpy(samples)[None].float())[0, -1].numpy()
    np.testing.assert_allclose(mel, expected, atol=1e-4)
    assert math.prod(find_factors(length)) == length
