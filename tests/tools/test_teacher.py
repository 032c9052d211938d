"""The teacher: shapes and filters without its files, all it says where they are."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tools.base_network import FRONT_END
from tools.check_teacher import TOLERANCE, measure_differences

from earmark.nn.mel import mel_filters as own_filters
from tools import teacher


@pytest.fixture
def teachers():
    folder = os.environ.get("EARMARK_TEACHERS")
    if not folder:
        pytest.skip("EARMARK_TEACHERS does not name the folder of the teachers' files")
    return Path(folder)


@pytest.fixture
def esc50():
    folder = os.environ.get("EARMARK_ESC50")
    if not folder:
        pytest.skip("EARMARK_ESC50 does not name the folder of ESC-50")
    return Path(folder)


def test_a_crop_of_five_seconds_has_the_shapes_that_were_published():
    model = teacher.Teacher().eval()
    assert sum(p.numel() for p in model.parameters()) == 983_599
    mel = teacher.LogMel()(torch.randn(1, 5 * teacher.SAMPLE_RATE).clamp(-1, 1))
    assert mel.shape == (1, 1, 128, 500)
    with torch.inference_mode():
        assert model.maps(mel).shape == (1, 384, 4, 16)
        embedding, logits = model(mel)
    assert embedding.shape == (1, 384)
    assert logits.shape == (1, 527)


def test_its_mel_filters_are_those_of_the_package_on_kaldi_s_scale():
    ours = own_filters(FRONT_END)
    np.testing.assert_allclose(teacher.mel_filters().numpy(), ours[:, :-1], atol=1e-6)
    assert not ours[:, -1].any()


def test_it_says_of_clips_what_its_reference_does(teachers, esc50):
    embedding, score = measure_differences(esc50, teachers, 8)
    assert 0 < embedding < TOLERANCE
    assert 0 < score < TOLERANCE
