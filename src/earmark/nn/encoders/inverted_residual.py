"""Inverted residual blocks that never look ahead.

    x           (batch, channels, steps, bands)
    expand      (batch, expanded, steps, bands)     1 x 1 convolution
    depthwise   (batch, expanded, steps / stride, bands / stride)
    excite      the same                            each channel times what was so far asks for
    project     (batch, channels, steps / stride, bands / stride)   1 x 1 convolution
    add         x, held back by `delay` steps, where shapes allow

Sandler et al. 2018 ("MobileNetV2: inverted residuals and linear bottlenecks"); Hu et al. 2018
("Squeeze-and-excitation networks").
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from earmark.nn.encoders.base import EncoderState

_LONGEST = 256  # steps that a running mean takes at once: its matrix grows with the square


class Block(NamedTuple):
    """The shape of an inverted residual block.

    Attributes:
        expanded: channels in its middle; as many as come in: nothing is expanded.
        channels: channels that go out.
        kernel: side of the depthwise kernel, frames and bands.
        stride: stride of the depthwise convolution, over both.
        squeezed: units of the squeeze-and-excitation; 0: it has none.
        hard_swish: 1: the activation is hard swish; 0: ReLU.
        delay: steps by which the input that is added is held back.
    """

    expanded: int
    channels: int
    kernel: int
    stride: int
    squeezed: int
    hard_swish: int
    delay: int


class FoldedConvolution(nn.Module):
    """A causal convolution with a bias, which may hold a batch norm's statistics; activation.

    Output j covers the inputs that end with number `(j + 1) * stride - 1`. Before the first stand
    zeros; along the bands zeros stand on both sides.

    Args:
        channels: input and output channels.
        bands: input bands.
        kernel: side of the kernel, frames and bands.
        stride: stride over both.
        depthwise: each channel is convolved by itself.
        activation: applied in the end.

    Attributes:
        bands: output bands.
        state_shape: of what the next frames need of the input: channels, frames, bands.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        bands: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            *channels,
            kernel,
            stride=stride,
            padding=(0, kernel // 2),
            groups=channels[0] if depthwise else 1,
        )
        # A CPU convolves faster with the channels last, also where a kernel of one place or one
        # channel would leave the order open.
        self.convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.activation = nn.Identity() if activation is None else activation
        self.bands = (bands + 2 * (kernel // 2) - kernel) // stride + 1
        self.state_shape = (channels[0], max(0, kernel - stride), bands)

    def step(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve `(batch, channels, frames, bands)`, the frames a multiple of the stride."""
        if context.shape[2] == 0:
            return self(x), context
        joined = torch.cat([context, x], dim=2)
        return self(joined), joined[:, :, x.shape[2] :]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve frames that need none from before."""
        y: Tensor = self.activation(self.convolution(x))
        return y


class RunningExcitation(nn.Module):
    """Squeeze-and-excitation over a running mean of the channels that forgets exponentially.

    The mean of step i weighs step j with `decay ** (i - j)`. The weights given so far are kept
    beside the sum, so that the first steps are a plain mean.

    Args:
        channels: channels that are scaled.
        squeezed: units between.
        decay: what a step still weighs at the next one.
    """

    def __init__(self, channels: int, squeezed: int, *, decay: float) -> None:
        super().__init__()
        self.channels, self.decay = channels, decay
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def step(self, x: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Scale the channels.

        Args:
            x: `(batch, channels, steps, bands)`.
            sums: of channels and of weights so far, `(batch, channels + 1)`, zeros at the start.

        Returns:
            `(batch, channels, steps, bands)` and the new sums.
        """
        means = nn.functional.pad(x.mean(3).transpose(1, 2), (0, 1), value=1.0)
        parts = []
        for part in means.split(_LONGEST, dim=1):  # (batch, steps, channels + 1)
            running = self._weigh(part.shape[1], part) @ torch.cat([sums[:, None], part], dim=1)
            parts.append(running)
            sums = running[:, -1]
        running = torch.cat(parts, dim=1)
        squeezed = torch.relu(self.fc1(running[..., :-1] / running[..., -1:]))
        scale = torch.sigmoid(self.fc2(squeezed)).transpose(1, 2)
        return x * scale[..., None], sums

    def _weigh(self, steps: int, like: Tensor) -> Tensor:
        """Return what each step weighs at each later one, `(steps, 1 + steps)`, the sums first."""
        ages = torch.arange(steps)[:, None] - torch.arange(-1, steps)[None]
        return torch.where(ages >= 0, self.decay ** ages.clamp_min(0), 0.0).to(like)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, excite, project; add the input where it fits.

    Args:
        inputs: channels that come in.
        shape: the shape of the block.
        bands: input bands.
        decay: what a step still weighs at the next one in the block's running mean.

    Attributes:
        bands: output bands.
    """

    def __init__(self, inputs: int, shape: Block, *, bands: int, decay: float) -> None:
        super().__init__()

        def activation() -> nn.Module:
            return nn.Hardswish() if shape.hard_swish else nn.ReLU()

        self.expand: FoldedConvolution | None = None
        if shape.expanded != inputs:
            self.expand = FoldedConvolution(
                (inputs, shape.expanded), bands=bands, activation=activation()
            )
        self.depthwise = FoldedConvolution(
            (shape.expanded, shape.expanded),
            bands=bands,
            kernel=shape.kernel,
            stride=shape.stride,
            depthwise=True,
            activation=activation(),
        )
        self.bands = self.depthwise.bands
        self.excitation: RunningExcitation | None = None
        if shape.squeezed:
            self.excitation = RunningExcitation(shape.expanded, shape.squeezed, decay=decay)
        self.project = FoldedConvolution((shape.expanded, shape.channels), bands=self.bands)
        self.residual = shape.stride == 1 and inputs == shape.channels
        self.delay = shape.delay if self.residual else 0
        self.skip_shape = (inputs, self.delay, bands)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return what is kept of each stream: `context`, `excited` and `skipped`."""
        sums = (self.excitation.channels + 1,) if self.excitation is not None else (0,)
        return {
            "context": self.depthwise.state_shape,
            "excited": sums,
            "skipped": self.skip_shape,
        }

    def step(self, x: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Return `(batch, channels, steps / stride, bands / stride)` and the new state."""
        y, excited = x, state["excited"]
        if self.expand is not None:
            y = self.expand(y)
        y, context = self.depthwise.step(y, state["context"])
        if self.excitation is not None:
            y, excited = self.excitation.step(y, excited)
        y, skipped = self.project(y), state["skipped"]
        if self.delay:
            count = x.shape[2]
            joined = torch.cat([skipped, x], dim=2)
            x, skipped = joined[:, :, :count], joined[:, :, count:]
        if self.residual:
            y = x + y
        return y, {"context": context, "excited": excited, "skipped": skipped}
