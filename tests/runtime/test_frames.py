"""Frames in NumPy: those of the front end, whatever the batch, the chunks and the stride."""

import numpy as np
import pytest
import torch

from earmark.bundled import FOLDERS, ONNX_NAME
from earmark.config import FrontEndSettings
from earmark.nn.features import LogMel
from earmark.runtime.frames import MelFrames
from earmark.runtime.onnx_engine import OnnxEngine
from tests.builders import bursts

FRONT_ENDS = [
    FrontEndSettings(),
    FrontEndSettings(8_000, 256, 256, 6, 50.0, 4_000.0),
    FrontEndSettings(8_000, 96, 33, 17, 50.0, 4_000.0, win_length=1 + 32),
    FrontEndSettings(16_000, 64, 16, 40, 0.0, 8_000.0),  # bands between two bins
    FrontEndSettings(
        32_000,
        1024,
        320,
        128,
        0.0,
        15_000.0,
        1e-5,
        win_length=800,
        symmetric_window=True,
        pre_emphasis=0.97,
        mel_scale="kaldi",
    ),
]


def samples_of(settings, streams=1, seconds=1.6):
    """Bursts in noise, each stream at another level, before them the start's zeros."""
    sound = bursts(seconds, settings.sample_rate).astype(np.float32)
    batch = np.stack([np.roll(sound, 311 * n) / (1 + n) for n in range(streams)])
    return np.pad(batch, ((0, 0), (settings.context_samples, 0)))


@pytest.mark.parametrize("settings", FRONT_ENDS, ids=str)
def test_they_are_those_of_training(settings):
    joined = samples_of(settings, streams=3)
    found = MelFrames(settings).compute(joined)
    with torch.inference_mode():
        samples = torch.from_numpy(joined[:, settings.context_samples :].copy())
        expected = LogMel(settings)(samples).numpy()
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=5e-6)  # measured below 2e-6


@pytest.mark.parametrize("settings", FRONT_ENDS, ids=str)
def test_neither_chunks_nor_other_streams_change_them(settings):
    frames, joined = MelFrames(settings), samples_of(settings, streams=5)
    hop, context = settings.hop_length, settings.context_samples
    whole = frames.compute(joined)
    count, start, parts = whole.shape[1], 0, []
    for size in (1, 2, 7, 65, 10**6):
        end = min(count, start + size)
        parts.append(frames.compute(joined[:1, start * hop : end * hop + context]))
        start = end
    assert start == count
    # Sums of products may be taken in another order; measured below 1e-6.
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole[:1], atol=3e-6)


def test_a_stride_leaves_frames_out():
    settings = FRONT_ENDS[-1]
    joined = samples_of(settings)
    every = MelFrames(settings).compute(joined)
    some = MelFrames(settings, 4 * settings.hop_length).compute(joined)
    np.testing.assert_allclose(some, every[:, ::4], atol=3e-6)


def test_too_few_samples_give_no_frame():
    frames = MelFrames(FRONT_ENDS[-1])
    assert frames.compute(np.zeros((2, frames.reach_samples - 1), np.float32)).shape == (2, 0, 128)
    assert frames.compute(np.zeros((2, frames.reach_samples), np.float32)).shape == (2, 1, 128)


@pytest.mark.filterwarnings("error")
def test_samples_far_above_full_scale_warn_of_nothing():
    frames = MelFrames(FRONT_ENDS[0])
    assert np.isfinite(frames.compute(np.full((1, 4096), 1e12, np.float32))).all()
    assert np.isposinf(frames.compute(np.full((1, 4096), 1e30, np.float32))).any()


@pytest.mark.parametrize("model", FOLDERS)
def test_a_bundled_model_gives_the_scores_of_its_own_front_end(model):
    path = FOLDERS[model] / ONNX_NAME
    ours, its = OnnxEngine(path), OnnxEngine(path, own_front_end=True)
    assert ours.info.front_end == its.info.front_end
    step, state = ours.info.step_samples, [ours.initial_state(3), its.initial_state(3)]
    sound = bursts(3.0, ours.info.sample_rate).astype(np.float32)
    batch = np.stack([sound, np.roll(sound, 9_999)])
    state = [{k: np.concatenate([v, v]) for k, v in one.items()} for one in state]
    largest = 0.0
    for start, end in ((0, 1), (1, 3), (3, 9)):
        chunk = batch[:, start * step : end * step]
        (mine, so_far, state[0]), (other, its_so_far, state[1]) = (
            engine.advance(chunk, before) for engine, before in zip((ours, its), state, strict=True)
        )
        largest = max(largest, abs(mine - other).max(), abs(so_far - its_so_far).max())
        np.testing.assert_array_equal(state[0]["front_end"], state[1]["front_end"])
    assert 0 < largest < 1e-5
