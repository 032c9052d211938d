"""The shape of the network: what a recipe says of it, and what a model has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.config.codec import check, check_types, setting

POOLINGS = ("mean", "max", "meanmax", "last", "attention")
Convolutions = tuple[tuple[int, ...], ...]  # each channels, frames, mels, frame and mel stride
FrequencyLSTM = tuple[int, ...]  # none, or units, mels and stride
LAGS_SECONDS = (0.45, 1.05)  # of most models, see docs/results/hours.md
_LARGEST = 2**24  # of what gives weights their shape
_LATER: dict[str, Any] = {  # settings that earlier versions did not have
    "blocks": (),
    "block_features": 384,
    "block_memory": 500,
    "residual": False,
    "linear_head": False,
}


@dataclass(frozen=True)
class NetworkSettings:
    """The network of a recipe; with the size of a frame and the classes it makes a model.

    The defaults are those of the documented command.
    """

    hidden_size: int = setting(128, "units of each LSTM layer")
    num_layers: int = setting(2, "LSTM layers")
    dropout: float = setting(0.3, "share of units dropped while training")
    bidirectional: bool = setting(False, "also read backwards; such a model cannot stream")
    stack: int = setting(5, "consecutive frames joined into one LSTM step")
    delta: int = setting(
        5, "frames back to which each frame's change is added as features; 0: none"
    )
    pooling: str = setting(
        "mean", "how LSTM outputs become one vector: mean, max, meanmax, last or attention"
    )
    convolutions: Convolutions = setting(
        (),
        "causal convolutions before the LSTM, as [[channels, frames, mels, frame stride, mel "
        "stride], ...]; they need stack 1 and delta 0",
    )
    frequency_lstm: FrequencyLSTM = setting(
        (),
        "an LSTM over the frequencies of each step, up and down, before the one over time, as "
        "[units, mels it reads at a time, mels from place to place], whose places cover all mels; "
        "not with convolutions",
    )
    blocks: Convolutions = setting(
        (),
        "causal inverted residual blocks before the LSTM (MobileNetV3), as [[expanded channels, "
        "channels, kernel, stride, squeezed units, hard swish, delay of the skip], ...]; they need "
        "stack 1 and delta 0, and neither convolutions nor frequency_lstm",
    )
    block_features: int = setting(384, "features of a step after the blocks")
    block_memory: int = setting(500, "frames over which the blocks' squeeze-and-excitation forgets")
    residual: bool = setting(
        False,
        "add the LSTM's outputs, through a linear map, to its inputs; with pooling mean or "
        "attention, not bidirectional",
    )
    linear_head: bool = setting(
        False, "one linear layer gives the scores, with no hidden layer before it"
    )

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("hidden_size", "num_layers", "stack", "block_features", "block_memory"):
            _check_size(name, getattr(self, name))
        check(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        check(0 <= self.delta <= _LARGEST, "delta", f"0 to {_LARGEST}", self.delta)
        check(self.pooling in POOLINGS, "pooling", f"one of {', '.join(POOLINGS)}", self.pooling)
        self._check_convolutions()
        self._check_frequency_lstm()
        self._check_blocks()
        fits = self.pooling in ("mean", "attention") and not self.bidirectional
        rule = "false, or the pooling mean or attention and the model not bidirectional"
        check(not self.residual or fits, "residual", rule, self.residual)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote, with what came later."""
        return {**_LATER, **values}

    def _check_convolutions(self) -> None:
        rule = "a list of [channels, frames, mels, frame stride, mel stride]"
        whole = all(len(layer) == 5 for layer in self.convolutions)
        check(whole, "convolutions", rule, self.convolutions)
        for layer in self.convolutions:
            _, frames, _, stride, _ = layer
            rule = f"five whole numbers from 1 to {_LARGEST}, the frame stride at most the frames"
            fits = min(layer) >= 1 and max(layer) <= _LARGEST and stride <= frames
            check(fits, "each convolution", rule, list(layer))
        rule = "used without convolutions, which stride and look back themselves (stack 1, delta 0)"
        alone = not self.convolutions or (self.stack, self.delta) == (1, 0)
        check(alone, "stack and delta", rule, (self.stack, self.delta))

    def _check_frequency_lstm(self) -> None:
        scan = self.frequency_lstm
        rule = f"three whole numbers from 1 to {_LARGEST}, without convolutions, or an empty list"
        whole = len(scan) == 3 and min(scan) >= 1 and max(scan) <= _LARGEST
        check(not scan or (whole and not self.convolutions), "frequency_lstm", rule, scan)

    def _check_blocks(self) -> None:
        if not self.blocks:
            return
        rule = (
            "seven whole numbers: expanded channels, channels, kernel (odd) and stride (at most "
            "the kernel) from 1, squeezed units, hard swish (0 or 1) and delay from 0"
        )
        for block in self.blocks:
            fits = len(block) == 7 and min(block[:4]) >= 1 and min(block) >= 0
            fits = fits and max(block) <= _LARGEST and block[5] <= 1
            fits = fits and block[2] % 2 == 1 and block[3] <= block[2]
            check(fits, "blocks", f"a list of {rule}", self.blocks)
        rule = "used with stack 1 and delta 0, without convolutions and frequency_lstm"
        alone = not self.convolutions and not self.frequency_lstm
        check(alone and (self.stack, self.delta) == (1, 0), "blocks", rule, self.blocks)


@dataclass(frozen=True)
class ModelSettings:
    """The shape of a model; it rebuilds the model.

    Attributes:
        input_size: features per frame.
        num_classes: classes, one probability each.
        network: everything between the two.
        prototypes: of the similarity that lowers the scores of sounds of no class: how many stored
            vectors it has, and of how many dimensions each; empty: there is none.
        lags_seconds: how long the scores of a stream rise after a sound begins, and how long they
            fall after it has ended, for the onsets and offsets of events.
    """

    input_size: int
    num_classes: int
    network: NetworkSettings
    prototypes: tuple[int, ...] = ()
    lags_seconds: tuple[float, ...] = LAGS_SECONDS

    def __post_init__(self) -> None:
        check_types(self)
        sizes = self.prototypes
        fits = len(sizes) in (0, 2) and all(1 <= size <= _LARGEST for size in sizes)
        check(fits, "prototypes", f"two whole numbers from 1 to {_LARGEST}, or none", sizes)
        fits = len(self.lags_seconds) == 2 and min(self.lags_seconds) >= 0
        check(fits, "lags_seconds", "two numbers from 0 on", self.lags_seconds)
        for name in ("input_size", "num_classes"):
            _check_size(name, getattr(self, name))
        if self.network.frequency_lstm:
            _, width, stride = self.network.frequency_lstm
            rule = f"[units, mels, step] whose places cover the {self.input_size} mels of a frame"
            fits = stride <= width <= self.input_size and (self.input_size - width) % stride == 0
            check(fits, "frequency_lstm", rule, self.network.frequency_lstm)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote: all in one, without prototypes and lags."""
        return {"prototypes": (), "lags_seconds": LAGS_SECONDS, **separate_network(values)}


def separate_network(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of which those of the network stand under `network`.

    Earlier versions wrote them beside the others; those from before frequency LSTMs lack that one.
    """
    if "network" in values:
        return dict(values)
    names = [field.name for field in dataclasses.fields(NetworkSettings)]
    network = {name: values[name] for name in names if name in values}
    if not network:
        return dict(values)
    rest = {name: value for name, value in values.items() if name not in names}
    return {**rest, "network": {"frequency_lstm": (), **network}}


def frames_per_step(network: NetworkSettings) -> int:
    """Return how many frames the network needs for each step of its LSTM."""
    convolved = math.prod(layer[3] for layer in network.convolutions)
    blocks = math.prod(block[3] for block in network.blocks) * (2 if network.blocks else 1)
    return network.stack * convolved * blocks


def _check_size(name: str, value: int) -> None:
    check(1 <= value <= _LARGEST, name, f"1 to {_LARGEST}", value)
