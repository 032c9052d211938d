"""Clips, block by block: one score wherever it is computed, however short the clip is."""

import dataclasses

import numpy as np
import pytest
import torch

from earmark.data.splits import ClipSet
from earmark.evaluation.scoring import score_clips
from earmark.nn.features import LogMel
from earmark.runtime.clip import embed_clip, score_clip
from tests.builders import FRONT_END
from tests.runtime.builders import KINDS, engine_of, moving_model, sound

FILLING = dataclasses.replace(FRONT_END, min_clip_seconds=0.8)
LEAST = round(0.8 * FILLING.sample_rate)
LENGTHS = (1, 100, 1_000, LEAST - 1, LEAST, LEAST + 1_300)  # samples


def filling_model(**options):
    return dataclasses.replace(moving_model(stack=4, **options), front_end=FILLING)


def blocks(samples):
    return [samples[start : start + 999] for start in range(0, len(samples), 999)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_short_clip_is_scored_and_embedded_as_if_silence_followed_it(kind, length):
    engine, samples = engine_of(filling_model(), kind), sound()[:length]
    filled = np.pad(samples, (0, max(0, LEAST - length)))
    for find in (score_clip, embed_clip):
        found, seconds = find(engine, blocks(samples))
        np.testing.assert_allclose(found, find(engine, [filled])[0], atol=1e-6)
        assert seconds == length / FILLING.sample_rate


@pytest.mark.parametrize("bidirectional", [False, True])
def test_features_of_short_clips_give_the_scores_of_their_samples(bidirectional):
    trained = filling_model(bidirectional=bidirectional)
    engine, front_end = engine_of(trained, "torch"), LogMel(FILLING)
    clips = [sound(seed=length)[:length] for length in LENGTHS]
    with torch.inference_mode():
        frames = [torch.cat(list(front_end.clip_frames(blocks(clip))), 1)[0] for clip in clips]
    counts, names = np.array([len(part) for part in frames]), [str(n) for n in LENGTHS]
    part = ClipSet(torch.cat(frames).numpy(), counts, np.zeros_like(counts), names, names)
    expected = [score_clip(engine, blocks(clip))[0] for clip in clips]
    np.testing.assert_allclose(score_clips(trained.model, part), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_front_end_that_fills_nothing_up_leaves_clips_as_they_are(kind):
    engine = engine_of(moving_model(stack=4), kind)
    samples = sound()[: 4 * 160 + 100]
    whole, _ = score_clip(engine, [samples[: 4 * 160]])
    np.testing.assert_array_equal(score_clip(engine, [samples])[0], whole)
