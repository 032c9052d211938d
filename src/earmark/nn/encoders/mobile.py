"""Mel frames -> LSTM steps by a MobileNetV3 that never looks ahead.

    frames      (batch, frames, mels)
    normalise   (batch, 1, frames, mels)
    stem        (batch, channels, frames / 2, mels / 2)     3 x 3 convolution, stride 2
    blocks      (batch, channels, steps, bands)     inverted residual blocks, each with its stride
    last        (batch, features, steps, bands)     1 x 1 convolution
    steps       (batch, steps, features)            the mean over the bands

A block expands its channels, convolves each by itself, weighs them by what it has seen so far
(squeeze-and-excitation), and projects them to fewer; where shapes allow its input is added.

Howard et al. 2019 ("Searching for MobileNetV3"); Hu et al. 2018 ("Squeeze-and-excitation
networks"). For audio: Schmid et al. 2023 ("Efficient large-scale audio tagging via
transformer-to-CNN knowledge distillation"), whose published weights fit once each batch norm is
folded into the convolution before it. What differs from theirs, so that nothing looks ahead:
convolutions are padded on the past only, the mean of squeeze-and-excitation runs and forgets, and
the input that a block adds may be delayed: a causal convolution is the centred one some steps
later, and an input that is as late makes the sum the centred network's again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from earmark.nn.encoders.base import Encoder, EncoderState
from earmark.nn.encoders.inverted_residual import Block, FoldedConvolution, InvertedResidual


class MobileEncoder(Encoder):
    """Normalises frames and runs them through stem, blocks and a last convolution.

    Args:
        input_size: mel bands of a frame.
        blocks: the shapes of the blocks, each as `Block`; the first expands nothing, so it says
            the channels of the stem too.
        features: of a step.
        memory: frames over which squeeze-and-excitation forgets, its time constant.
        dropout: share of a step's features dropped while training.
    """

    def __init__(
        self,
        input_size: int,
        blocks: Sequence[Sequence[int]],
        *,
        features: int,
        memory: int,
        dropout: float = 0.0,
    ) -> None:
        shapes = [Block(*block) for block in blocks]
        frames = 2 * math.prod(shape.stride for shape in shapes)
        super().__init__(input_size, frames_per_step=frames, output_size=features)
        self.dropout = dropout
        inputs, frames = shapes[0].expanded, 2
        self.stem = FoldedConvolution(
            (1, inputs), bands=input_size, kernel=3, stride=2, activation=nn.Hardswish()
        )
        bands = self.stem.bands
        made: list[InvertedResidual] = []
        for shape in shapes:
            frames *= shape.stride
            decay = math.exp(-frames / memory)
            made.append(InvertedResidual(inputs, shape, bands=bands, decay=decay))
            inputs, bands = shape.channels, made[-1].bands
        self.blocks: Sequence[InvertedResidual] = nn.ModuleList(made)  # type: ignore[assignment]
        self.last = FoldedConvolution((inputs, features), bands=bands, activation=nn.Hardswish())

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is kept of each stream.

        `waiting`: frames that do not fill a step; between steps none. `context_N`: what the
        depthwise convolution of block N still needs of its input, 0 standing for the stem.
        `excited_N`: sums of its squeeze-and-excitation. `skipped_N`: its input, held back.
        """
        shapes: dict[str, tuple[int, ...]] = {
            "waiting": (0, self.input_size),
            "context_0": self.stem.state_shape,
        }
        for number, block in enumerate(self.blocks, start=1):
            shapes |= {f"{name}_{number}": shape for name, shape in block.state_shapes().items()}
        return shapes

    def initial_state(self, batch: int = 1) -> EncoderState:
        """Return the state before the first frame: zeros, channels last in memory."""
        return {
            name: zeros.contiguous(memory_format=torch.channels_last) if zeros.ndim == 4 else zeros
            for name, zeros in super().initial_state(batch).items()
        }

    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Encode the next frames; see `Encoder.step`."""
        joined = torch.cat([state["waiting"], frames], dim=1)
        whole = joined.shape[1] // self.frames_per_step * self.frames_per_step
        after = {**state, "waiting": joined[:, whole:]}
        if whole == 0:
            return joined.new_zeros(len(joined), 0, self.output_size), after
        x = self.normalise(joined[:, :whole])[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        x, after["context_0"] = self.stem.step(x, state["context_0"])
        for number, block in enumerate(self.blocks, start=1):
            names = {name: f"{name}_{number}" for name in ("context", "excited", "skipped")}
            x, kept = block.step(x, {name: state[long] for name, long in names.items()})
            after |= {long: kept[name] for name, long in names.items()}
        x = self.last(x)
        steps = x.mean(3).transpose(1, 2)  # (batch, steps, features)
        return nn.functional.dropout(steps, self.dropout, self.training), after
