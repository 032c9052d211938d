"""Teach the causal base what the uncut teacher says of the same audio.

    python -m tools.distil_base --esc50 path/to/ESC-50 --teacher mn04_as_mAP_432.pt \\
        --bank bank bank-extra --test_fold 1 --out bases/base-fold-1.safetensors
    python -m tools.distil_base --esc50 path/to/ESC-50 --teacher mn04_as_mAP_432.pt \\
        --bank bank bank-extra --ship --out bases/base-ship.safetensors

The bank is `tools.base_bank`'s. Stem and first blocks stay as published; everything after them is
trained, the LSTM too. No label is used. Left out are the clips of the test fold and all other takes
of their sources. Two crops follow each other as one stream; the second starts from the state that
the first one left.

Loss: of the mean over a crop's steps and over windows of four steps, the squared error to the
teacher's, each channel divided by its standard deviation; and how far the teacher's 527 scores, as
its own classifier gives them, lie from those of the base's embedding.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tools.base_bank import Bank, read_table
from tools.base_network import (
    DELAYS,
    EARLY,
    HIDDEN,
    KEPT,
    build_base,
    encode_late,
    measure_gates,
    mobile,
    save_base,
    take_published,
)
from tools.teacher import Teacher, load_teacher, read_weights
from torch import Tensor, nn
from torch.nn import functional

from earmark.nn.classifier import LSTMClassifier

WINDOW, STRIDE = 4, 2  # steps that the loss of segments pools, and from one segment to the next
_SAMPLED = 1500  # crops that the standard deviations are taken from
_GATED = 200  # crops that gates are measured on
_SMALLEST_SCALE = 0.02
_RISE = 40  # steps in which the learning rate rises
_MAX_GRAD_NORM, _WEIGHT_DECAY = 2.0, 1e-4
_REPORTED = 50  # steps from one line to the next


def choose_crops(
    bank: Bank, clips: list[dict[str, str]], *, test_folds: set[int], ship: bool
) -> NDArray[np.int64]:
    """Return the numbers of the crops to train on.

    Args:
        bank: the crops.
        clips: the rows of ESC-50's table.
        test_folds: neither their clips nor other takes of their sources are taken.
        ship: only crops of CC0 and CC BY clips, and of other audio.
    """
    held_out = {clip["group"] for clip in clips if int(clip["fold"]) in test_folds}
    return np.array(
        [
            number
            for number, row in enumerate(bank.rows)
            if row["fold"] not in test_folds
            and (row["free"] or not ship)
            and held_out.isdisjoint(clips[clip]["group"] for clip in row["clips"])
        ],
        dtype=np.int64,
    )


class Distillation(nn.Module):
    """The loss of a base against its teacher.

    Args:
        teacher: gives the scores of embeddings.
        sample: the teacher's steps of some crops, `(crops, steps, 384)`, for the channels' scales.
        segment_loss_weight: of the windows' error, beside 1 of whole crops.
        score_loss_weight: of the scores' divergence.
        second: embeddings of some crops by a second teacher, `(crops, size)`, for their scale.
        second_loss_weight: of the squared error to them, each channel standardised.
    """

    clip_scale: Tensor
    window_scale: Tensor
    second_mean: Tensor
    second_scale: Tensor

    def __init__(
        self,
        teacher: Teacher,
        sample: Tensor,
        *,
        segment_loss_weight: float,
        score_loss_weight: float,
        second: Tensor | None = None,
        second_loss_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.segment_loss_weight = segment_loss_weight
        self.score_loss_weight = score_loss_weight
        windows = cut_windows(sample).flatten(0, 1)
        self.register_buffer("clip_scale", sample.mean(1).std(0).clamp_min(_SMALLEST_SCALE))
        self.register_buffer("window_scale", windows.std(0).clamp_min(_SMALLEST_SCALE))
        self.second_loss_weight, self.to_second = second_loss_weight, None
        if second is not None:
            self.to_second = nn.Linear(sample.shape[-1], second.shape[-1])
            self.register_buffer("second_mean", second.mean(0))
            self.register_buffer("second_scale", second.std(0).clamp_min(_SMALLEST_SCALE))

    def forward(
        self, steps: Tensor, target: Tensor, second: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compare the base's steps with the teacher's, `(crops, steps, 384)` both.

        Args:
            steps: the base's.
            target: the teacher's.
            second: embeddings by the second teacher, `(crops, size)`.

        Returns:
            The loss, and its three parts: crops, windows, scores.
        """
        mean, target_mean = steps.mean(1), target.mean(1)
        clip_loss = ((mean - target_mean) / self.clip_scale).square().mean()
        # A causal convolution is the centred one, later: a step is about one later than the
        # teacher's.
        difference = cut_windows(steps[:, 1:]) - cut_windows(target[:, :-1])
        window_loss = (difference / self.window_scale).square().mean()
        scores = torch.sigmoid(self.teacher.logits(target_mean))
        entropy = functional.binary_cross_entropy(scores, scores, reduction="none").sum(1).mean()
        score_loss = functional.binary_cross_entropy_with_logits(
            self.teacher.logits(mean), scores, reduction="none"
        )
        score_loss = score_loss.sum(1).mean() - entropy
        loss = (
            clip_loss + self.segment_loss_weight * window_loss + self.score_loss_weight * score_loss
        )
        if self.to_second is not None and second is not None:
            found = self.to_second(mean / self.clip_scale)
            wanted = (second - self.second_mean) / self.second_scale
            loss = loss + self.second_loss_weight * (found - wanted).square().mean()
        return loss, torch.stack([clip_loss, window_loss, score_loss]).detach()


def cut_windows(steps: Tensor) -> Tensor:
    """Return the mean of each window of `(crops, steps, 384)`, `(crops, windows, 384)`."""
    return steps.unfold(1, WINDOW, STRIDE).mean(-1)


def draw_batches(
    chosen: NDArray[np.int64], size: int, epochs: float, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of crops, in a new order in each epoch."""
    order = np.concatenate([rng.permutation(chosen) for _ in range(math.ceil(epochs) + 1)])
    for step in range(int(epochs * len(chosen) / size)):
        yield order[step * size : (step + 1) * size]


def read_stream(base: LSTMClassifier, early: Tensor) -> Tensor:
    """Return the base's steps `(crops, steps, 384)` where each two crops are one stream.

    The first half of the crops is followed by the second.
    """
    early = torch.cat(early.chunk(2), dim=2)  # (sequences, channels, 2 * steps, bands)
    return torch.cat(encode_late(base, early).chunk(2, dim=1))


def train(
    base: LSTMClassifier,
    distillation: Distillation,
    bank: Bank,
    chosen: NDArray[np.int64],
    *,
    sequences: int,
    epochs: float,
    learning_rate: float,
    ema_decay: float,
    rng: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Train a base in place; at the end it has the running average of its weights.

    Args:
        base: with the published weights.
        distillation: the loss.
        bank: the crops.
        chosen: those to train on.
        sequences: streams of two crops in a batch.
        epochs: how often each crop is shown.
        learning_rate: the highest; it rises in 40 steps and falls as a half cosine.
        ema_decay: of the running average.
        rng: draws the order.

    Returns:
        The parts of the loss at each step.
    """
    freeze_early(base)
    modules = (base, distillation)
    learnt = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=learning_rate, weight_decay=_WEIGHT_DECAY)
    average = [parameter.detach().clone() for parameter in learnt]
    batches = list(draw_batches(chosen, 2 * sequences, epochs, rng))
    losses: list[NDArray[np.float64]] = []
    begun = time.perf_counter()
    for step, batch in enumerate(batches):
        cosine = 0.5 * (1 + math.cos(math.pi * step / len(batches)))
        optimizer.param_groups[0]["lr"] = learning_rate * min(1.0, (step + 1) / _RISE) * cosine
        early, target = bank.read(batch)
        second = bank.read_yamnet(batch) if distillation.to_second is not None else None
        loss, parts = distillation(read_stream(base, early), target, second)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, _MAX_GRAD_NORM)
        optimizer.step()
        decay = min(ema_decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(average, [p.detach() for p in learnt], 1 - decay)
        losses.append(parts.double().numpy())
        if (step + 1) % _REPORTED == 0 or step + 1 == len(batches):
            clip, window, score = np.mean(losses[-_REPORTED:], axis=0)
            print(
                f"step {step + 1}/{len(batches)} {time.perf_counter() - begun:.0f} s: "
                f"clip {clip:.3f} window {window:.3f} score {score:.3f}",
                flush=True,
            )
    with torch.no_grad():
        for parameter, value in zip(learnt, average, strict=True):
            parameter.copy_(value)
    return losses


def freeze_early(base: LSTMClassifier) -> None:
    """Let only what follows the bank's layers learn, and not the head, which has no labels."""
    encoder = mobile(base)
    for layer in [encoder.stem, *encoder.blocks[:EARLY], base.head]:
        layer.requires_grad_(False)


def main() -> None:
    """Train one base and write its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--esc50", type=Path, required=True, help="folder with esc50.csv")
    parser.add_argument("--teacher", type=Path, required=True, help="mn04_as_mAP_432.pt")
    parser.add_argument("--bank", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument("--test_fold", type=int, nargs="+", default=[], help="folds held out")
    part.add_argument("--ship", action="store_true", help="CC0 and CC BY clips of all folds")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning_rate", type=float, default=1.5e-3)
    parser.add_argument("--sequences", type=int, default=8, help="of two crops, in a batch")
    parser.add_argument("--segment_loss_weight", type=float, default=0.5)
    parser.add_argument("--score_loss_weight", type=float, default=0.1)
    parser.add_argument("--ema_decay", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden_size", type=int, default=HIDDEN, help="units of the LSTM")
    parser.add_argument(
        "--kept", type=int, nargs="+", default=KEPT, help="the teacher's blocks that it has"
    )
    parser.add_argument("--excited", action="store_true", help="keep their squeeze-and-excitations")
    parser.add_argument(
        "--from_nothing", action="store_true", help="what is trained begins with random weights"
    )
    parser.add_argument(
        "--yamnet_loss_weight", type=float, default=0.0, help="of a second teacher, see base_bank"
    )
    parser.add_argument(
        "--delays",
        type=json.loads,
        default=DELAYS,
        help="steps by which blocks delay the input they add (%(default)s)",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    bank, clips = Bank(args.bank), read_table(args.esc50)
    chosen = choose_crops(bank, clips, test_folds=set(args.test_fold), ship=args.ship)
    print(f"{len(chosen)} crops", flush=True)
    delays = {int(number): steps for number, steps in args.delays.items()}
    sampled = rng.choice(chosen, min(_SAMPLED, len(chosen)), replace=False)
    weights = read_weights(args.teacher)
    base = build_base(delays, args.hidden_size, kept=args.kept, excited=args.excited)
    take_published(
        base,
        weights,
        kept=args.kept,
        gates=measure_gates(weights, bank.read(sampled[:_GATED])[0]),
        early_alone=args.from_nothing,
    )
    distillation = Distillation(
        load_teacher(args.teacher),
        bank.read_steps(sampled),
        segment_loss_weight=args.segment_loss_weight,
        score_loss_weight=args.score_loss_weight,
        second=bank.read_yamnet(sampled) if args.yamnet_loss_weight else None,
        second_loss_weight=args.yamnet_loss_weight,
    )
    settings = ("epochs", "learning_rate", "sequences", "ema_decay")
    chosen_settings = {name: getattr(args, name) for name in settings}
    train(base, distillation, bank, chosen, **chosen_settings, rng=rng)
    others = (
        *("test_fold", "ship", "segment_loss_weight", "score_loss_weight", "seed"),
        *("hidden_size", "kept", "excited", "from_nothing", "yamnet_loss_weight"),
    )
    record = {name: getattr(args, name) for name in others}
    save_base(args.out, base, {**record, **chosen_settings, "delays": delays})


if __name__ == "__main__":
    main()
