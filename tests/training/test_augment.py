"""Augmented crops: shapes, labels, determinism, and what each change does to the frames."""

import math

import numpy as np
import pytest
import torch

from earmark.config import FrontEndSettings
from earmark.data.frames import ClipFrames, as_view
from earmark.data.splits import ClipSet
from earmark.errors import DatasetError
from earmark.nn.features import LogMel
from earmark.nn.mel import band_positions
from earmark.training import augment
from earmark.training.augment import Batches, feature_statistics
from tests.builders import FRONT_END, clip_set, small_recipe

PLAIN = {
    **{"mixup_probability": 0.0, "gain": 0.0, "random_eq": 0.0, "mel_shift": 0, "time_mask": 0.0},
    **{"mel_mask": 0, "noise": 0.0, "stretch": 0.0, "pitch": 0.0, "negatives_probability": 0.0},
}


def batches(front_end=FRONT_END, **changes):
    return Batches(
        clip_set(5, 0), small_recipe(**{**PLAIN, **changes}), front_end, torch.device("cpu")
    )


def draw(made, seed=0):
    chosen = torch.arange(len(made.labels))
    return made.draw(chosen, 3, torch.Generator().manual_seed(seed))[:2]


def test_a_plain_crop_is_a_circular_crop_of_its_clip():
    made = batches()
    x, targets = draw(made)
    assert x.shape == (15, 20, 6)  # 0.4 s at 50 frames a second
    assert targets.argmax(1).tolist() == made.labels.tolist()
    for crop, start, length in zip(x, made.starts, made.frames, strict=True):
        clip = made.features[start : start + length]
        shift = int((clip == crop[0]).all(1).nonzero()[0])
        expected = clip[(shift + torch.arange(20)) % length]
        torch.testing.assert_close(crop, expected, atol=0, rtol=0)


def test_the_same_generator_gives_the_same_crops_and_another_seed_others():
    made = batches(
        mixup_probability=0.5, gain=2.0, random_eq=0.5, time_mask=0.2, noise=2.0, stretch=0.2
    )
    first, second, other = draw(made, 1), draw(made, 1), draw(made, 2)
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert not torch.allclose(first[0], other[0])


def test_crops_are_the_same_when_the_clips_are_too_many_for_memory(monkeypatch):
    clips = clip_set(5, 0)
    views = ClipFrames([as_view(clip) for clip in clips.clips()], FRONT_END.n_mels)
    kept = ClipSet(views, clips.frames, clips.labels, clips.paths, clips.groups)
    recipe, device = small_recipe(mixup_probability=0.5, stretch=0.2), torch.device("cpu")
    in_memory = Batches(kept, recipe, FRONT_END, device)
    monkeypatch.setattr(augment, "_IN_MEMORY_BYTES", 0)
    gathered = Batches(kept, recipe, FRONT_END, device)
    assert gathered.features is None
    torch.testing.assert_close(gathered.mean, in_memory.mean)
    torch.testing.assert_close(gathered.scale, in_memory.scale)
    gathered.mean = in_memory.mean  # which masks are filled with, to the bit
    for mine, other in zip(draw(gathered), draw(in_memory), strict=True):
        torch.testing.assert_close(mine, other, atol=0, rtol=0)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_features_that_are_no_numbers_are_refused(monkeypatch, limit):
    monkeypatch.setattr(augment, "_IN_MEMORY_BYTES", limit)
    clips = clip_set(5, 0)
    clips.features[3, 1] = np.nan
    with pytest.raises(DatasetError, match="earmark cache --clear"):
        Batches(clips, small_recipe(), FRONT_END, torch.device("cpu"))


def test_gain_adds_one_number_to_the_whole_crop():
    plain, _ = draw(batches())
    louder, _ = draw(batches(gain=2.0))
    change = louder - plain
    assert change.amax((1, 2)).sub(change.amin((1, 2))).max() < 1e-5
    assert 0.1 < change.abs().max() <= 2.0


def test_random_eq_changes_bands_alike_at_all_times():
    plain, _ = draw(batches())
    tilted, _ = draw(batches(random_eq=1.0))
    change = tilted - plain
    torch.testing.assert_close(change[:, :1].expand_as(change), change, atol=1e-5, rtol=0)
    assert change[:, 0].std(1).min() > 0.05


def test_mixing_two_tones_of_equal_level_adds_their_powers():
    made = batches(mixup_probability=1.0)
    made.features = torch.randn(made.features.shape) * 0.1 - 3.0
    x, targets = draw(made)
    assert targets.sum(1).sub(1).abs().max() < 1e-6
    share = targets.max(1).values
    assert share.min() < 0.9  # some pairs are of two classes
    # two clips of one level, mixed, keep that level whatever their share
    level = x.exp().mean((1, 2)).log()
    assert (level + 3.0).abs().max() < 0.2


def test_unknown_features_are_mixed_linearly_and_never_clamped_or_shifted():
    made = batches(front_end=None, mixup_probability=1.0, gain=3.0, noise=3.0)
    made.features = torch.full(made.features.shape, -100.0)
    x, _ = draw(made)
    torch.testing.assert_close(x, torch.full_like(x, -100.0))
    assert x.shape[1] == made.frames.max()


def test_no_frame_falls_below_the_floor():
    x, _ = draw(batches(gain=20.0))
    assert x.min() >= math.log(FRONT_END.floor) - 1e-5


def test_masks_blank_with_the_mean_frame():
    made = batches(time_mask=0.5, mel_mask=3)
    plain, _ = draw(batches())
    x, _ = draw(made)
    hidden = x == made.mean
    assert 0.05 < hidden.float().mean() < 0.9
    torch.testing.assert_close(x[~hidden], plain[~hidden])


def test_noise_raises_quiet_frames_only():
    made = batches(noise=1.0)
    made.features = torch.full_like(made.features, 0.0)
    loud, _ = draw(made)
    assert loud.abs().max() < 1e-3
    made.features = torch.full_like(made.features, math.log(FRONT_END.floor))
    quiet, _ = draw(made)
    assert quiet.mean() > math.log(FRONT_END.floor) + 0.5


def test_an_epoch_holds_every_clip_once_per_crop():
    made = batches(crops_per_clip=3)
    order = made.order(torch.Generator().manual_seed(0))
    assert order.bincount().tolist() == [3] * 15
    assert sorted(order[:15].tolist()) == list(range(15))


def test_statistics_are_of_every_frame_and_spare_constant_features():
    features = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    mean, scale = feature_statistics(features)
    assert mean.tolist() == [2.0, 5.0]
    assert scale.tolist() == pytest.approx([1.0, 1.0])


def test_pitch_moves_a_peak_by_the_same_factor_for_all_frames():
    front_end = FrontEndSettings(16_000, 1024, 320, 60, 50.0, 8_000.0)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    frames = LogMel(front_end)(torch.from_numpy(tone)[None])[0, 5:45]
    clips = ClipSet(frames.numpy(), np.array([40]), np.array([0]), ["tone"], ["tone"])
    recipe = small_recipe(**{**PLAIN, "pitch": 0.4})
    made = Batches(clips, recipe, front_end, torch.device("cpu"))
    chosen = torch.zeros(64, dtype=torch.long)
    x, *_ = made.draw(chosen, 3, torch.Generator().manual_seed(0))
    before = int(frames[0].argmax())
    peaks = x.argmax(2)
    assert (peaks == peaks[:, :1]).all()
    lowest, highest = (
        band_positions(front_end, np.array([[math.exp(u)]]))[0, before] for u in (-0.4, 0.4)
    )
    moved = 2 * before - peaks[:, 0]  # where the frame now looks is where it looked at `ratio`
    assert moved.min() >= lowest - 1
    assert moved.max() <= highest + 1
    assert moved.float().std() > 1


def test_no_pitch_change_leaves_every_band_where_it_is():
    places = band_positions(FRONT_END, np.array([[1.0]]))[0]
    np.testing.assert_allclose(places, np.arange(FRONT_END.n_mels), atol=1e-9)


def test_negatives_take_the_stated_share_with_every_class_alike():
    made = batches(negatives_probability=0.4)
    chosen = torch.arange(len(made.labels)).repeat(40)
    x, targets, activity = made.draw(chosen, 3, torch.Generator().manual_seed(0))
    even = (targets - 1 / 3).abs().amax(1) < 1e-6
    assert even.float().mean().item() == pytest.approx(0.4, abs=0.06)
    plain, *_ = batches().draw(chosen, 3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x[~even], plain[~even])
    assert torch.isfinite(x).all()
    assert x[even].std() > 0.5
    assert activity[even].abs().max() == 0
    assert activity[~even].amax((1, 2)).min() == 1


def test_a_class_is_active_only_in_frames_within_30_db_of_its_loudest():
    made = batches(random_eq=1.0, gain=2.0)
    made.features = made.features.clone()
    silent = torch.arange(len(made.features)) % 2 == 0
    made.features[silent] = math.log(FRONT_END.floor)
    made.features[~silent] = 0.0
    chosen = torch.arange(len(made.labels))
    x, targets, activity = made.draw(chosen, 3, torch.Generator().manual_seed(0))
    sounding = x.mean(2) > -6.0
    assert 0.3 < sounding.float().mean() < 0.7
    torch.testing.assert_close(activity, sounding[..., None] * targets[:, None])


def test_mixed_crops_hold_both_classes_in_proportion():
    made = batches(mixup_probability=1.0)
    made.features = torch.zeros_like(made.features)  # every frame as loud as the others
    chosen = torch.arange(len(made.labels))
    _, targets, activity = made.draw(chosen, 3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(activity, targets[:, None].expand_as(activity))
    assert targets.max(1).values.min() < 0.9


def test_crops_are_a_whole_number_of_steps():
    x, _ = draw(batches(stack=3, clip_seconds=0.4))
    assert x.shape[1] == 18


def test_recorded_negatives_have_every_class_alike_and_are_mixed_in_proportion():
    clips = clip_set(5, 0)
    clips.labels[:5] = -1  # of 15, five of each class

    def drawn(**changes):
        settings = small_recipe(**{**PLAIN, **changes})
        made = Batches(clips, settings, FRONT_END, torch.device("cpu"))
        order = torch.tensor([0, 5, 10, 1])
        return made.draw(order, 3, torch.Generator().manual_seed(0))

    _, targets, activity = drawn()
    torch.testing.assert_close(targets[0], torch.full((3,), 1 / 3))
    assert targets[1:3].argmax(1).tolist() == [1, 2]
    assert activity[[0, 3]].abs().max() == 0
    assert activity[1:3].amax() == 1
    _, mixed, activity = drawn(mixup_probability=1.0)
    torch.testing.assert_close(mixed.sum(1), torch.ones(4))
    share = 1.5 * (mixed[1, 1] - 1 / 3)  # of the clip of class 1; the rest is a negative
    assert 0 < share < 1
    torch.testing.assert_close(mixed[1, [0, 2]], ((1 - share) / 3).repeat(2))
    torch.testing.assert_close(activity[1].amax(0), torch.tensor([0.0, 1.0, 0.0]) * share)
