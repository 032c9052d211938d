"""Columns for a screen: frames of the model's own front end, whatever the cut."""

import numpy as np
import pytest
import torch

import earmark
from earmark.config import FrontEndSettings
from earmark.nn.features import LogMel
from earmark.serve.columns import Columns, FrontEndView
from tests.builders import bursts

KALDI = FrontEndSettings(
    sample_rate=32_000,
    n_fft=1024,
    win_length=800,
    hop_length=320,
    n_mels=128,
    high_hz=15_000.0,
    symmetric_window=True,
    pre_emphasis=0.97,
    mel_scale="kaldi",
    floor=1e-5,
)


@pytest.mark.parametrize("name", ["bundled", "kaldi"])
def test_they_are_frames_of_the_model(name):
    settings = KALDI if name == "kaldi" else earmark.load("esc10").info.front_end
    view = FrontEndView(settings)
    samples = bursts(2.0, settings.sample_rate).astype(np.float32)
    whole = LogMel(settings)(torch.from_numpy(samples)[None])[0].numpy()
    stride = view.stride_samples // settings.hop_length
    padded = np.concatenate([np.zeros(view.context - view.stride_samples, np.float32), samples])
    # single precision; measured 4e-4 in bands next to loud ones
    np.testing.assert_allclose(view.frames(padded), whole[stride - 1 :: stride], atol=2e-3)


def test_no_column_depends_on_the_cut():
    settings = earmark.load("esc10").info.front_end
    view = FrontEndView(settings)
    samples = bursts(1.5, settings.sample_rate).astype(np.float32)
    whole = Columns(view).push(samples)
    cut = Columns(view)
    parts = [cut.push(part) for part in np.split(samples, [1, 500, 501, 20_000, 20_011])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(whole) == cut.given == int(1.5 * view.per_second)
    assert view.bands <= 64
    assert int(whole.max()) > 100
    assert int(Columns(view).push(np.zeros(44_100, np.float32)).max()) == 0
