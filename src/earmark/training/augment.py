"""Clips -> augmented batches.

While all frames of all clips need no more than half a gigabyte, they lie in one tensor, and a batch
is one gather from it; else it is gathered from the cache. Every change is made on log-mel frames,
where level, filtering and mixing have exact counterparts: adding to the logarithm
is gain, adding a smooth curve over the bands is a filter, and adding powers is mixing waveforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from earmark.config import FrontEndSettings, TrainingSettings, frames_per_step
from earmark.data.dataset import generate_negative_frames
from earmark.data.negatives import NO_CLASS
from earmark.data.splits import ClipSet
from earmark.errors import DatasetError
from earmark.nn.mel import band_positions

_Uniform = Callable[..., Tensor]  # (low, high, *shape) -> one draw for each crop
_FILTER_POINTS = 6  # a random filter is a line through this many points over the mel axis
_NEGATIVES = 240  # generated clips kept at hand
_MASKS = 2  # time masks and mel masks in a crop
_IN_MEMORY_BYTES = 512 << 20  # of frames, up to which they are kept in memory
_ACTIVE = 1e-3  # of a crop's loudest frame; 30 dB below it a clip's sound counts as over


class Crops(NamedTuple):
    """Augmented crops of a batch.

    Attributes:
        frames: `(batch, frames, input_size)`, a whole number of the model's steps.
        targets: soft labels of whole crops, `(batch, classes)`.
        activity: the part of each class that sounds in each frame, `(batch, frames, classes)`; all
            zero where none does.
    """

    frames: Tensor
    targets: Tensor
    activity: Tensor


class Batches:
    """Draws augmented crops of clips.

    Args:
        clips: the training clips, recorded negatives among them.
        settings: the recipe.
        front_end: how the features were made. Without it they are unknown features, and only what
            suits any sequence is applied: circular crops, tempo, masks, and linear mixing.
        device: where the features are kept and the batches made.
    """

    def __init__(
        self,
        clips: ClipSet,
        settings: TrainingSettings,
        front_end: FrontEndSettings | None,
        device: torch.device,
    ) -> None:
        self.settings, self.front_end, self.device = settings, front_end, device
        self.features: Tensor | None = None
        if clips.features.nbytes <= _IN_MEMORY_BYTES:
            self.features = torch.from_numpy(clips.together()).to(device)
            self.mean, self.scale = feature_statistics(self.features)
        else:
            self._clips = clips
            self.mean, self.scale = (part.to(device) for part in clip_statistics(clips))
        if not self.mean.isfinite().all():
            raise DatasetError(
                "the features hold NaN or infinite numbers, so the cache is damaged; make them "
                "anew after: earmark cache --clear"
            )
        self.starts = torch.from_numpy(clips.starts).to(device)
        self.frames = torch.from_numpy(clips.frames).to(device)
        self.labels = torch.from_numpy(clips.labels).to(device)
        if front_end:
            wanted = round(settings.clip_seconds * front_end.frames_per_second)
        else:
            wanted = int(clips.frames.max())
        step = frames_per_step(settings.network)
        self.crop_frames = max(1, wanted // step) * step
        per_second = front_end.frames_per_second if front_end else 0.0
        self.max_shift = settings.max_shift_seconds * per_second
        self.negatives = None
        if front_end and settings.negatives_probability:
            frames = generate_negative_frames(
                front_end, _NEGATIVES, settings.seed, settings.clip_seconds
            )
            self.negatives = torch.from_numpy(frames).to(device)

    def order(self, generator: Generator) -> Tensor:
        """Return the clip of each crop of an epoch: a shuffle of all clips for each crop of one."""
        count = len(self.labels)
        shuffles = [
            torch.randperm(count, generator=generator) for _ in range(self.settings.crops_per_clip)
        ]
        return torch.cat(shuffles)

    def draw(self, chosen: Tensor, classes: int, generator: Generator) -> Crops:
        """Return augmented crops of the chosen clips.

        Args:
            chosen: clip numbers `(batch,)`.
            classes: number of classes.
            generator: source of every random choice, on the CPU.
        """
        recipe = self.settings
        device = self.device
        uniform = self._uniform(len(chosen), generator)
        chosen = chosen.to(device)
        lengths = self.frames[chosen, None]
        steps = torch.arange(self.crop_frames, device=device)[None].float()
        if recipe.stretch:
            steps = steps * torch.exp(uniform(-recipe.stretch, recipe.stretch, 1))
        places = self._place(steps, lengths, uniform)
        x = self._gather(chosen, places)
        labels = self.labels[chosen]
        # Every class is as right for a negative; none of them sounds in it.
        even = torch.full((len(chosen), classes), 1 / classes, device=device)
        targets = torch.nn.functional.one_hot(labels.clamp_min(0), classes).float()
        targets = torch.where((labels == NO_CLASS)[:, None], even, targets)
        alone = torch.zeros(len(chosen), 1, 1, dtype=torch.bool, device=device)
        if self.negatives is not None:
            x, targets, alone = self._with_negatives(self.negatives, x, targets, uniform)
        silent = alone | (labels == NO_CLASS)[:, None, None]
        activity = (~silent * targets[:, None]).expand(-1, self.crop_frames, -1)
        if self.front_end:
            x = self._recoloured(x, uniform)
            power = x.exp().mean(2, keepdim=True)
            activity = activity * (power > _ACTIVE * power.amax(1, keepdim=True))
        if recipe.mixup_probability:
            x, targets, activity = self._mixed(Crops(x, targets, activity), alone, uniform)
        if self.front_end:
            lowest = math.log(self.front_end.floor)
            if recipe.noise:
                level = lowest + uniform(0, recipe.noise, 1, 1)
                ripple = torch.randn(x.shape, generator=generator).to(device)
                x = torch.logaddexp(x, level + 0.6 * ripple)
            x = x.clamp_min(lowest)
        return Crops(self._masked(x, uniform), targets, activity)

    def _uniform(self, crops: int, generator: Generator) -> _Uniform:
        """Return what draws for that many crops."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            drawn = torch.rand(crops, *shape, generator=generator)
            return (low + (high - low) * drawn).to(self.device)

        return uniform

    def _neighbours(self, x: Tensor) -> Tensor:
        """Return, for each crop of a batch, what belongs to the crop it is mixed with."""
        return x.roll(1, 0)

    def _band_places(self, front_end: FrontEndSettings, ratio: Tensor) -> Tensor:
        """Return where each band lies after a change of pitch; see `band_positions`."""
        return torch.from_numpy(band_positions(front_end, ratio.cpu().numpy())).to(ratio)

    def _gather(self, chosen: Tensor, places: Tensor) -> Tensor:
        """Return frames `(batch, frames, input_size)` at `places` within the chosen clips."""
        if self.features is not None:
            return self.features[self.starts[chosen, None] + places]
        taken = self._clips.gather(chosen.cpu().numpy(), places.cpu().numpy())
        return torch.from_numpy(taken).to(self.device)

    def _place(self, steps: Tensor, lengths: Tensor, uniform: _Uniform) -> Tensor:
        """Return which frame of its clip each frame of a crop is, `(batch, frames)`.

        Args:
            steps: frames from the crop's begin, at the clip's tempo, `(batch or 1, frames)`.
            lengths: frames of each clip, `(batch, 1)`.
            uniform: see `draw`.
        """
        if not self.max_shift:
            shift = (uniform(0, 1, 1) * lengths).long()
            return (shift + steps.long()) % lengths  # circular: short clips repeat
        # Once, at about the middle; what lies outside holds the first or the last frame.
        begin = (self.crop_frames - lengths) / 2 + uniform(-self.max_shift, self.max_shift, 1)
        places = (steps - begin).floor().long()
        return torch.minimum(places.clamp_min(0), lengths - 1)

    def _recoloured(self, x: Tensor, uniform: _Uniform) -> Tensor:
        """Change the pitch, shift along the mel axis, change the level, filter smoothly."""
        recipe, mels = self.settings, x.shape[2]
        if recipe.pitch and self.front_end:
            ratio = torch.exp(uniform(-recipe.pitch, recipe.pitch, 1))
            place = self._band_places(self.front_end, ratio)[:, None]
            below = place.floor()
            # One matrix for each crop, (bands before, bands after): two entries in each column.
            blend = x.new_zeros(len(x), mels, mels)
            blend.scatter_add_(1, below.long(), 1 - (place - below))
            blend.scatter_add_(1, (below.long() + 1).clamp(max=mels - 1), place - below)
            x = torch.bmm(x, blend)
        if recipe.mel_shift:
            shift = uniform(-recipe.mel_shift - 0.5, recipe.mel_shift + 0.5, 1).round().long()
            bands = (torch.arange(mels, device=x.device) + shift).clamp(0, mels - 1)
            x = x.gather(2, bands[:, None].expand_as(x))
        change = uniform(-recipe.gain, recipe.gain, 1, 1)
        if recipe.random_eq:  # a uniform draw of the same spread as a normal one
            points = uniform(
                -(3**0.5) * recipe.random_eq, 3**0.5 * recipe.random_eq, 1, _FILTER_POINTS
            )
            change = change + torch.nn.functional.interpolate(
                points, size=mels, mode="linear", align_corners=True
            )
        return x + change

    def _mixed(self, crops: Crops, alone: Tensor, uniform: _Uniform) -> Crops:
        """Mix some crops, but not those `alone`, with their neighbours; labels in proportion.

        The two are brought to one level first, so that the label says what sounds (between-class
        learning, Tokozume et al. 2018). Unknown features are mixed linearly (mixup, Zhang et al.
        2018).
        """
        x, share = crops.frames, uniform(0, 1, 1, 1)
        mixing = ~alone & (uniform(0, 1, 1, 1) < self.settings.mixup_probability)
        other = self._neighbours(x)
        if self.front_end:
            level = x.exp().mean((1, 2), keepdim=True).log()
            level_other = self._neighbours(level)
            middle = (level + level_other) / 2
            loudness = share.square() + (1 - share).square()
            first = x + (middle - level) + 2 * share.clamp_min(1e-4).log()
            second = other + (middle - level_other) + 2 * (1 - share).clamp_min(1e-4).log()
            mixed = torch.logaddexp(first, second) - loudness.log()
        else:
            mixed = share * x + (1 - share) * other
        kept = torch.where(mixing, share, torch.ones_like(share))

        def soft(labels: Tensor, kept: Tensor) -> Tensor:
            return kept * labels + (1 - kept) * self._neighbours(labels)

        return Crops(
            torch.where(mixing, mixed, x),
            soft(crops.targets, kept[:, 0]),
            soft(crops.activity, kept),
        )

    def _with_negatives(
        self, negatives: Tensor, x: Tensor, targets: Tensor, uniform: _Uniform
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Put generated clips in the place of some crops; every class is as right for them.

        They are recoloured like all crops, so that a bank of them does for a whole training, and
        are what some of the other crops are mixed with.
        """
        kept, frames = negatives.shape[:2]
        number = (uniform(0, kept, 1)).long().clamp(max=kept - 1)
        steps = torch.arange(x.shape[1], device=x.device)
        places = ((uniform(0, 1, 1) * frames).long() + steps) % frames
        other = negatives[number, places]
        here = uniform(0, 1, 1, 1) < self.settings.negatives_probability
        even = torch.full_like(targets, 1 / targets.shape[1])
        return torch.where(here, other, x), torch.where(here[:, 0], even, targets), here

    def _masked(self, x: Tensor, uniform: _Uniform) -> Tensor:
        """Blank stretches of time and ranges of bands with the mean frame (SpecAugment)."""
        recipe = self.settings
        hidden = torch.zeros(1, 1, 1, dtype=torch.bool, device=x.device)
        for axis, widest in ((1, round(recipe.time_mask * x.shape[1])), (2, recipe.mel_mask)):
            along = torch.arange(x.shape[axis], device=x.device)
            for _ in range(_MASKS if widest else 0):
                width = (uniform(0, 1, 1) * (widest + 1)).floor()
                start = (uniform(0, 1, 1) * x.shape[axis]).floor()
                inside = (along >= start) & (along < start + width)
                hidden = hidden | (inside[:, :, None] if axis == 1 else inside[:, None])
        return torch.where(hidden, self.mean, x)


def feature_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature over all frames, `(input_size,)` each.

    A feature that hardly varies keeps a scale of 1, so that it is not blown up.
    """
    return _usable(features.mean(0), features.std(0, correction=0))


def clip_statistics(clips: ClipSet) -> tuple[Tensor, Tensor]:
    """Return what `feature_statistics` gives for all frames of clips, read one after the other."""
    count = 0
    total, squares = np.zeros((2, clips.features.shape[1]))
    for clip in clips.clips():
        exact = clip.astype(np.float64)
        count += len(clip)
        total += exact.sum(0)
        squares += np.square(exact).sum(0)
    mean = total / count
    scale = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return _usable(torch.from_numpy(mean).float(), torch.from_numpy(scale).float())


def _usable(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return mean, torch.where(scale < 1e-3, torch.ones_like(scale), scale)
