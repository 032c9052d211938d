"""Mel frames -> LSTM steps by convolutions over frames and mel bands that never look ahead.

    frames      (batch, frames, mels)
    normalise   (batch, 1, frames, mels)
    convolve    (batch, channels, steps, bands)     steps = frames // the product of the strides
    steps       (batch, steps, channels * bands)

Convolutions before an LSTM are those of Sainath et al. 2015 ("Convolutional, long short-term
memory, fully connected deep neural networks"); batch norm is that of Ioffe and Szegedy 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from earmark.config import Convolutions
from earmark.errors import ModelError
from earmark.nn.encoders.base import Encoder, EncoderState


class CausalConvolution(nn.Module):
    """A convolution over frames and mel bands that never looks ahead, then batch norm and ReLU.

    Output frame j covers the `kernel` input frames that end with number `(j + 1) * stride - 1`:
    with every `stride` frames one comes out at once. Before the first stand zeros; along the bands
    zeros stand on both sides. Weights, state and frames lie in memory with the channels last, which
    a CPU convolves faster.

    Args:
        channels: input and output channels.
        bands: input bands.
        kernel: input frames and bands of an output.
        stride: input frames and bands from one output to the next; frames at most the kernel's.

    Attributes:
        bands: output bands.
        state_shape: of what the next frames need of the input: channels, frames, bands.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        bands: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel[0], stride[0]
        self.convolution = nn.Conv2d(
            *channels, kernel, stride=stride, padding=(0, kernel[1] // 2), bias=False
        )
        weight = self.convolution.weight
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(channels[1])
        self.bands = (bands + 2 * (kernel[1] // 2) - kernel[1]) // stride[1] + 1
        self.state_shape = (channels[0], self.kernel - self.stride, bands)

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros `(batch, input channels, kernel - stride, input bands)`."""
        zeros = self.convolution.weight.new_zeros(batch, *self.state_shape)
        return zeros.contiguous(memory_format=torch.channels_last)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the next frames.

        Args:
            x: `(batch, input channels, frames, input bands)`, any number of frames, none included.
            state: from `initial_state` or the step before.

        Returns:
            `(batch, channels, frames completed, bands)` and the new state.
        """
        joined = torch.cat([state, x], dim=2)
        done = max(0, (joined.shape[2] - self.kernel) // self.stride + 1)
        state = joined[:, :, done * self.stride :]
        if done == 0:
            return joined.new_zeros(len(x), self.norm.num_features, 0, self.bands), state
        return torch.relu_(self.norm(self.convolution(joined))), state

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Return weights and bias of the convolution with its batch norm of evaluation folded in.

        Returns:
            Weights `(channels, input channels, kernel frames, kernel bands)`, bias `(channels,)`.

        Raises:
            ModelError: the batch norm keeps no statistics.
        """
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None:
            raise ModelError("a batch norm keeps no running statistics; train the model again")
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weights = self.convolution.weight * scale[:, None, None, None]
        return weights.detach(), (norm.bias - norm.running_mean * scale).detach()


class ConvolutionalEncoder(Encoder):
    """Normalises frames and convolves them; dropout follows the last convolution.

    Args:
        input_size: mel bands of a frame.
        layers: of each convolution its channels, kernel (frames, mels) and stride (frames, mels).
        dropout: share of a step's features dropped while training.
    """

    def __init__(self, input_size: int, layers: Convolutions, *, dropout: float = 0.0) -> None:
        strides = math.prod(stride for *_, stride, _ in layers)
        super().__init__(input_size, frames_per_step=strides, output_size=0)
        self.dropout = dropout
        made: list[CausalConvolution] = []
        inputs, bands = 1, input_size
        for channels, frames, mels, stride, mel_stride in layers:
            made.append(
                CausalConvolution(
                    (inputs, channels),
                    bands=bands,
                    kernel=(frames, mels),
                    stride=(stride, mel_stride),
                )
            )
            inputs, bands = channels, made[-1].bands
        self.convolutions: Sequence[CausalConvolution] = nn.ModuleList(made)  # type: ignore[assignment]
        self.output_size = inputs * bands

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of `context_N`: what convolution N still needs of its input."""
        return {
            f"context_{number}": layer.state_shape for number, layer in enumerate(self.convolutions)
        }

    def initial_state(self, batch: int = 1) -> EncoderState:
        """Return the state before the first frame: zeros, channels last in memory."""
        return {
            f"context_{number}": layer.initial_state(batch)
            for number, layer in enumerate(self.convolutions)
        }

    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Convolve the next frames; see `Encoder.step`."""
        x = self.normalise(frames)[:, None].contiguous(memory_format=torch.channels_last)
        after = {}
        for layer, (name, context) in zip(self.convolutions, state.items(), strict=True):
            x, after[name] = layer.step(x, context)
        steps = x.transpose(1, 2).flatten(2)  # (batch, steps, channels * bands)
        return nn.functional.dropout(steps, self.dropout, self.training), after
