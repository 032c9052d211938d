"""Many trainings of one recipe, step by step beside each other: draws, steps, averages.

Each run is what `earmark.training.loop.Trainer` would make of its clips and its seed: the same
first weights, the same order of clips, the same augmentation. Only the units that dropout leaves
out are drawn otherwise, and sums are rounded otherwise. `tests/tools/test_stacked.py` holds the two
to each other, without dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tools.stacked_network import StackedNetwork
from torch import Generator, Tensor
from torch.nn import functional

from earmark.config import FrontEndSettings, ModelSettings, TrainingSettings
from earmark.errors import SettingsError
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.mel import band_positions
from earmark.training.augment import Batches, Crops
from earmark.training.objective import segment_targets
from earmark.training.schedule import derive_seed, learning_rate_at

Array = NDArray[np.float32]
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of torch's AdamW
_STILL = (0.0, 1.0, 1.0, 1.0)  # scalars of a step that moves nothing


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        fold: number of the fold that is tested.
        seed: its seed.
        clips: numbers of the clips that it trains on, `(clips,)`.
        validation: numbers of the clips held out; none: it trains on all.
        mean: of the frames of its clips, `(mels,)`.
        scale: their standard deviation, `(mels,)`.
    """

    fold: int
    seed: int
    clips: NDArray[np.int64]
    validation: NDArray[np.int64]
    mean: Array
    scale: Array


@dataclass(frozen=True)
class Bank:
    """All clips of a dataset.

    Attributes:
        features: frames of all clips, one after the other, `(total frames, mels)`.
        frames: of each clip, `(clips,)`.
        labels: class of each clip, `(clips,)`.
        classes: number of classes.
        negatives: generated clips of seeds 0, 1, ..., `(seeds, clips, frames, mels)`.
    """

    features: Tensor
    frames: Tensor
    labels: Tensor
    classes: int
    negatives: Tensor

    def to(self, device: torch.device) -> Bank:
        """Return it on a device."""
        return Bank(
            self.features.to(device),
            self.frames.to(device),
            self.labels.to(device),
            self.classes,
            self.negatives.to(device),
        )


class Step(NamedTuple):
    """What a step of one run needs.

    Attributes:
        choices: `(batch, numbers of a crop)`.
        scalars: of `Plan.scalars_at`.
        ends: the epoch that ends with it, from 1 on; else 0.
    """

    choices: Array
    scalars: tuple[float, float, float, float]
    ends: int


@dataclass
class Plan:
    """What a step draws for each crop, in order; `draws` is filled by `StackedBatches`.

    Attributes:
        settings: the recipe.
        front_end: of the frames.
        draws: shapes of the draws, without the batch.
        pitch: number of the draw that changes the pitch.
    """

    settings: TrainingSettings
    front_end: FrontEndSettings
    draws: list[tuple[int, ...]] = field(default_factory=list)
    pitch: int = -1

    @property
    def widths(self) -> list[int]:
        """Numbers of a crop: its clip, each draw, and where its bands lie."""
        return [1, *(math.prod(shape) for shape in self.draws), self.front_end.n_mels]

    def steps(self, run: Run) -> int:
        """Return the steps of an epoch."""
        return len(run.clips) * self.settings.crops_per_clip // self.settings.batch_size

    def scalars_at(self, run: Run, step: int) -> tuple[float, float, float, float]:
        """Return learning rate, decay of the average, and AdamW's two corrections at a step."""
        settings = self.settings
        corrections = [1 - beta ** (step + 1) for beta in _BETAS]
        return (
            learning_rate_at(settings, step / (settings.num_epochs * self.steps(run))),
            min(settings.ema_decay, (1 + step) / (10 + step)),
            corrections[0],
            math.sqrt(corrections[1]),
        )

    def follow(self, run: Run, draw: Callable[[int], Array]) -> Iterator[Step]:
        """Yield the steps of a run, and after its last steps in which nothing moves, for ever.

        Args:
            run: the run.
            draw: gives the choices of an epoch, as `draw_epoch` does.
        """
        steps = self.steps(run)
        for epoch in range(1, self.settings.num_epochs + 1):
            choices = draw(epoch)
            for step in range(steps):
                scalars = self.scalars_at(run, (epoch - 1) * steps + step)
                yield Step(choices[step], scalars, epoch if step == steps - 1 else 0)
        while True:
            yield Step(choices[-1], _STILL, 0)

    def draw_epoch(self, run: Run, epoch: int) -> Array:
        """Return the choices of an epoch, as `Trainer.train_epoch` makes them.

        Args:
            run: the run.
            epoch: its number, from 1 on.

        Returns:
            `(steps, batch, numbers of a crop)`.
        """
        settings, count = self.settings, len(run.clips)
        generator = Generator().manual_seed(derive_seed(run.seed, epoch))
        order = torch.cat(
            [torch.randperm(count, generator=generator) for _ in range(settings.crops_per_clip)]
        )
        steps, batch = self.steps(run), settings.batch_size
        rows = []
        for _ in range(steps):
            drawn = [torch.rand(batch, *shape, generator=generator) for shape in self.draws]
            rows.append(torch.cat([part.flatten(1) for part in drawn], 1))
        draws = torch.cat(rows)  # (crops, numbers drawn for a crop)
        at = sum(self.widths[1 : self.pitch + 1])
        low, high = -settings.pitch, settings.pitch
        ratio = torch.exp(low + (high - low) * draws[:, at : at + 1])
        places = torch.from_numpy(band_positions(self.front_end, ratio.numpy())).float()
        chosen = torch.from_numpy(run.clips)[order[: steps * batch], None].float()
        choices: Array = torch.cat([chosen, draws, places], 1).view(steps, batch, -1).numpy()
        return choices


class StackedBatches(Batches):
    """Makes the crops of a step of many runs from choices that were drawn before.

    Args:
        bank: the clips, on the device.
        runs: the runs.
        plan: what the choices are.
    """

    def __init__(self, bank: Bank, runs: Sequence[Run], plan: Plan) -> None:
        settings = plan.settings
        self.settings, self.front_end, self.plan = settings, plan.front_end, plan
        self.features, self.frames, self.labels = bank.features, bank.frames, bank.labels
        self.device, self.classes, self.runs = bank.labels.device, bank.classes, len(runs)
        self.starts = self.frames.cumsum(0) - self.frames
        step = math.prod(stride for *_, stride, _ in settings.network.convolutions)
        wanted = round(settings.clip_seconds * plan.front_end.frames_per_second)
        self.crop_frames = max(1, wanted // step) * step
        self.max_shift = 0.0
        means = torch.from_numpy(np.stack([run.mean for run in runs])).to(self.device)
        self.mean = means.repeat_interleave(settings.batch_size, 0)[:, None]
        seeds = torch.tensor([[run.seed] for run in runs], device=self.device)
        seeds = seeds.repeat_interleave(settings.batch_size, 0)
        self.negatives: Any = _Negatives(bank.negatives, seeds)
        self._drawn: list[Tensor] = []
        self._places = self.mean[:, 0]

    def crops(self, choices: Tensor) -> Crops:
        """Return the crops of a step, those of the first run first.

        Args:
            choices: `(runs, batch, numbers of a crop)`.
        """
        chosen, *drawn, self._places = choices.flatten(0, 1).split(self.plan.widths, dim=1)
        shapes = zip(drawn, self.plan.draws, strict=True)
        self._drawn = [part.reshape(len(part), *shape) for part, shape in shapes]
        return self.draw(chosen[:, 0].long(), self.classes, Generator())

    def _uniform(self, crops: int, generator: Generator) -> Any:  # noqa: ARG002

        def uniform(low: float, high: float, *shape: int) -> Tensor:  # noqa: ARG001
            return low + (high - low) * self._drawn.pop(0)

        return uniform

    def _neighbours(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self.runs, -1)).roll(1, 1).flatten(0, 1)

    def _band_places(self, front_end: FrontEndSettings, ratio: Tensor) -> Tensor:  # noqa: ARG002
        return self._places


class _Negatives:
    """The generated clips of the crops' own seeds, read like one tensor of them."""

    def __init__(self, negatives: Tensor, seeds: Tensor) -> None:
        self.shape = negatives.shape[1:]
        self._negatives, self._seeds = negatives, seeds

    def __getitem__(self, where: tuple[Tensor, Tensor]) -> Tensor:
        number, places = where
        return self._negatives[self._seeds, number, places]


class _Recording(StackedBatches):
    """Draws by chance, and notes what it draws."""

    def _uniform(self, crops: int, generator: Generator) -> Any:

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            self.plan.draws.append(shape)
            return low + (high - low) * torch.rand(crops, *shape, generator=generator)

        return uniform

    def _band_places(self, front_end: FrontEndSettings, ratio: Tensor) -> Tensor:
        self.plan.pitch = len(self.plan.draws) - 1
        return Batches._band_places(self, front_end, ratio)


def make_plan(
    bank: Bank, run: Run, settings: TrainingSettings, front_end: FrontEndSettings
) -> Plan:
    """Find out what a step draws, by drawing once.

    Args:
        bank: the clips, on the CPU.
        run: any run.
        settings: the recipe.
        front_end: of the frames.

    Raises:
        SettingsError: the recipe trains in a way that is not stacked.
    """
    without = ("noise", "mel_shift", "max_shift_seconds", "label_smoothing", "teacher", "balance")
    wrong = [name for name in without if getattr(settings, name)]
    wrong += [name for name in ("pitch", "negatives_probability") if not getattr(settings, name)]
    if wrong:
        raise SettingsError(f"recipes with this {wrong[0]} are not stacked")
    plan = Plan(settings, front_end)
    chosen = torch.from_numpy(run.clips[: settings.batch_size])
    _Recording(bank, [run], plan).draw(chosen, bank.classes, Generator())
    return plan


class Stack:
    """Runs that take their steps together.

    Args:
        bank: the clips, on the device.
        runs: the runs.
        plan: of `make_plan`.

    Attributes:
        choices: what the step after the next draws, `(runs, batch, numbers of a crop)`; to be
            filled.
        scalars: of `Plan.scalars_at`, for each run in the next step, `(runs, 4)`; to be filled.
        totals: sums since the last reset of loss, right crops and crops that count, `(runs, 3)`.
    """

    def __init__(self, bank: Bank, runs: Sequence[Run], plan: Plan) -> None:
        self.plan, self.runs, self.settings = plan, runs, plan.settings
        device = bank.labels.device
        models = [self.build_model(bank.classes, run) for run in runs]
        self.network = StackedNetwork(models, device)
        self.batches = StackedBatches(bank, runs, plan)
        weights = self.network.weights
        self._sizes = [weight[0].numel() for weight in weights.values()]
        self.flat = torch.cat([weight.detach().flatten(1) for weight in weights.values()], 1)
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.average = self.flat.clone()
        self.average_statistics = torch.cat(list(self.network.statistics.values()), 1)
        self.totals = torch.zeros(len(runs), 3, device=device)
        batch = plan.settings.batch_size
        self.choices = torch.zeros(len(runs), batch, sum(plan.widths), device=device)
        sizes = (
            (self.batches.crop_frames, plan.front_end.n_mels),
            (bank.classes,),
            (self.batches.crop_frames, bank.classes),
        )
        self.crops = Crops(*(torch.zeros(len(runs) * batch, *s, device=device) for s in sizes))
        self.scalars = torch.tensor([_STILL] * len(runs), device=device)
        per_second = plan.front_end.frames_per_second / self.network.frames_per_step
        whole = self.batches.crop_frames // self.network.frames_per_step
        if device.type == "cuda":
            self._side = torch.cuda.Stream()
        self.window = min(whole, max(1, round(plan.settings.segment_seconds * per_second)))

    def build_model(self, classes: int, run: Run) -> LSTMClassifier:
        """Return a run's network before its first step; see `Trainer`."""
        torch.manual_seed(run.seed)
        shape = ModelSettings(
            input_size=len(run.mean), num_classes=classes, network=self.settings.network
        )
        model = LSTMClassifier.from_settings(shape)
        model.mean.copy_(torch.from_numpy(run.mean))
        model.scale.copy_(torch.from_numpy(run.scale))
        return model

    @torch.no_grad()
    def draw(self) -> Crops:
        """Return the crops of `choices`."""
        return self.batches.crops(self.choices)

    def step(self) -> None:
        """Train on the crops that the step before drew, and draw those of the next."""
        if not self.choices.is_cuda:
            self._learn(self.crops)
            self._take(self.draw())
            return
        now = torch.cuda.current_stream()
        self._side.wait_stream(now)
        with torch.cuda.stream(self._side):  # a GPU does both at once
            following = self.draw()
        self._learn(self.crops)
        now.wait_stream(self._side)
        self._take(following)

    def begin(self, choices: Array) -> None:
        """Draw the crops of the first step."""
        self.choices.copy_(torch.from_numpy(choices))
        self._take(self.draw())

    def _take(self, crops: Crops) -> None:
        for part, new in zip(self.crops, crops, strict=True):  # a CUDA graph keeps its places
            part.copy_(new)

    def _learn(self, crops: Crops) -> None:
        """Take a step of every run on its crops."""
        settings, runs = self.settings, len(self.runs)
        frames, targets = (part.unflatten(0, (runs, -1)) for part in crops[:2])
        whole, segments = self.network.logits(frames, settings.clips_per_sequence, self.window)
        loss = _cross_entropy(whole, targets)
        if settings.segment_loss_weight:
            wanted = segment_targets(crops.activity, self.network.frames_per_step, self.window)
            of_segments = _cross_entropy(segments, wanted.unflatten(0, (runs, -1)))
            loss = loss + settings.segment_loss_weight * of_segments
        gradients = torch.autograd.grad(loss.sum(), list(self.network.weights.values()))
        with torch.no_grad():
            self._descend(torch.cat([gradient.flatten(1) for gradient in gradients], 1))
            decided = targets.amax(2) > targets.amin(2)
            correct = (whole.argmax(2) == targets.argmax(2)) & decided
            self.totals += torch.stack([loss.detach(), correct.sum(1), decided.sum(1)], 1)

    def _descend(self, gradient: Tensor) -> None:
        """Take a step of AdamW along gradients `(runs, weights)`, and move the averages."""
        settings = self.settings
        rate, decay, first, second = self.scalars.split(1, dim=1)
        norm = gradient.norm(dim=1, keepdim=True)
        gradient = gradient * (settings.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        self.flat.mul_(1 - rate * settings.weight_decay)
        self.first.lerp_(gradient, 1 - _BETAS[0])
        self.second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        self.flat.sub_(rate / first * self.first / (self.second.sqrt() / second + _EPSILON))
        self.average.lerp_(self.flat, 1 - decay)
        weights = list(self.network.weights.values())
        parts = zip(weights, self.flat.split(self._sizes, dim=1), strict=True)
        torch._foreach_copy_(weights, [part.view_as(weight) for weight, part in parts])
        now = torch.cat(list(self.network.statistics.values()), 1)
        self.average_statistics.lerp_(now, 1 - decay)

    @torch.no_grad()
    def give_average(self, number: int, model: LSTMClassifier) -> None:
        """Copy the averaged weights of a run into a model."""
        parts = self.average[number].split(self._sizes)
        taken = dict(zip(self.network.weights, parts, strict=True))
        for name, weight in model.named_parameters():
            weight.copy_(taken[name].view_as(weight))
        statistics = dict(model.named_buffers())
        sizes = [part.shape[1] for part in self.network.statistics.values()]
        averages = self.average_statistics[number].split(sizes)
        for name, average in zip(self.network.statistics, averages, strict=True):
            statistics[name].copy_(average)

    def averages(self, number: int) -> list[Tensor]:
        """Return a copy of the averaged weights and statistics of a run."""
        return [self.average[number].clone(), self.average_statistics[number].clone()]

    def set_averages(self, number: int, kept: Sequence[Tensor]) -> None:
        """Take averaged weights and statistics of a run, of `averages`."""
        self.average[number].copy_(kept[0])
        self.average_statistics[number].copy_(kept[1])

    def tensors(self) -> list[Tensor]:
        """Return everything that a step changes."""
        changed = [self.flat, self.first, self.second, self.average, self.average_statistics]
        changed += [weight.detach() for weight in self.network.weights.values()]
        return [*changed, *self.network.statistics.values(), *self.crops, self.totals]


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of each run, `(runs,)`, of soft targets of the same shape."""
    losses = -(targets * functional.log_softmax(logits, dim=-1)).sum(-1)
    return losses.flatten(1).mean(1)
