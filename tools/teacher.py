"""The teacher: EfficientAT mn04_as, a MobileNetV3-Large of width 0.4 trained on AudioSet.

Written from the published descriptions; nothing here is part of the package.

    Schmid, Koutini, Widmer: Efficient Large-scale Audio Tagging via Transformer-to-CNN Knowledge
    Distillation. ICASSP 2023, arXiv 2211.04772. Weights: MIT, (c) 2022 Florian Schmid.
    Howard et al.: Searching for MobileNetV3. ICCV 2019, arXiv 1905.02244.

The network, with shapes for a clip of 5 s:

    log-mel     (batch, 1, 128, 501)    mels, frames: the order the weights were trained in
    features.0  (batch, 8, 64, 251)     3 x 3, stride 2
    features.1  to 15                   inverted residual blocks, see `BLOCKS`
    features.16 (batch, 384, 4, 16)     1 x 1
    mean        (batch, 384)            the embedding
    classifier  (batch, 527)            logits of AudioSet's classes
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

SAMPLE_RATE = 32_000
N_FFT = 1024
WIN_LENGTH = 800
HOP_LENGTH = 320
N_MELS = 128
HIGH_HZ = 15_000.0
FLOOR = 1e-5
PRE_EMPHASIS = 0.97
NORM_EPS = 1e-3
EMBEDDING = 384
CLASSES = 527


class Block(NamedTuple):
    """One inverted residual block.

    Attributes:
        inputs: channels that come in.
        expanded: channels in its middle; as many as `inputs`: no expansion.
        outputs: channels that go out.
        kernel: side of the depthwise kernel.
        stride: stride of the depthwise convolution.
        squeezed: units of the squeeze-and-excitation, 0 for none.
        hardswish: the activation is hard swish, else ReLU.
    """

    inputs: int
    expanded: int
    outputs: int
    kernel: int
    stride: int
    squeezed: int
    hardswish: bool

    @property
    def residual(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.inputs == self.outputs


BLOCKS = (
    Block(8, 8, 8, 3, 1, 0, False),
    Block(8, 24, 16, 3, 2, 0, False),
    Block(16, 32, 16, 3, 1, 0, False),
    Block(16, 32, 16, 5, 2, 8, False),
    Block(16, 48, 16, 5, 1, 16, False),
    Block(16, 48, 16, 5, 1, 16, False),
    Block(16, 96, 32, 3, 2, 0, True),
    Block(32, 80, 32, 3, 1, 0, True),
    Block(32, 72, 32, 3, 1, 0, True),
    Block(32, 72, 32, 3, 1, 0, True),
    Block(32, 192, 48, 3, 1, 48, True),
    Block(48, 272, 48, 3, 1, 72, True),
    Block(48, 272, 64, 5, 2, 72, True),
    Block(64, 384, 64, 5, 1, 96, True),
    Block(64, 384, 64, 5, 1, 96, True),
)
STEM = 8  # channels of the first convolution


def mel_filters() -> Tensor:
    """Return triangles on Kaldi's mel scale, `(mels, N_FFT // 2)`: the Nyquist bin is unused."""
    bins_hz = np.arange(N_FFT // 2) * SAMPLE_RATE / N_FFT
    top = 1127.0 * np.log1p(HIGH_HZ / 700.0)
    edges = np.linspace(0.0, top, N_MELS + 2)
    mel = 1127.0 * np.log1p(bins_hz / 700.0)
    left, centre, right = (edges[i : i + N_MELS, None] for i in range(3))
    triangles = np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre))
    return torch.from_numpy(np.maximum(triangles, 0.0)).float()


class LogMel(nn.Module):
    """The teacher's front end: samples at 32 kHz in, normalised log-mel frames out; not causal."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WIN_LENGTH, periodic=False)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Turn clips `(batch, samples)` within -1 to 1 into `(batch, 1, mels, frames)`."""
        samples = samples[:, 1:] - PRE_EMPHASIS * samples[:, :-1]
        spectrum = torch.stft(
            samples,
            n_fft=N_FFT,
            hop_length=HOP_LENGTH,
            win_length=WIN_LENGTH,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )  # (batch, bins, frames)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = self.filters @ power[:, :-1]
        return ((torch.log(mel + FLOOR) + 4.5) / 5.0)[:, None]


def convolve(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, activation: type | None
) -> nn.Sequential:
    """Return convolution, batch norm and activation, named as torchvision names them."""
    parts: list[nn.Module] = [
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(outputs, eps=NORM_EPS),
    ]
    if activation is not None:
        parts.append(activation())
    return nn.Sequential(*parts)


class ChannelExcitation(nn.Module):
    """Squeeze-and-excitation over the channels of the whole clip (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x (batch, channels, mels, frames)`."""
        squeezed = torch.relu(self.fc1(x.mean((2, 3))))
        return x * torch.sigmoid(self.fc2(squeezed))[:, :, None, None]


class Excitation(nn.Module):
    """Holds the one squeeze-and-excitation of a block under the name that the weights have."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([ChannelExcitation(channels, squeezed)])

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x (batch, channels, mels, frames)`."""
        return self.conc_se_layers[0](x)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, excite, project; add the input where it fits."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        activation = nn.Hardswish if block.hardswish else nn.ReLU
        parts: list[nn.Module] = []
        if block.expanded != block.inputs:
            parts.append(convolve(block.inputs, block.expanded, 1, 1, 1, activation))
        parts.append(
            convolve(
                block.expanded,
                block.expanded,
                block.kernel,
                block.stride,
                block.expanded,
                activation,
            )
        )
        if block.squeezed:
            parts.append(Excitation(block.expanded, block.squeezed))
        parts.append(convolve(block.expanded, block.outputs, 1, 1, 1, None))
        self.block = nn.Sequential(*parts)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, outputs, mels, frames)`, both divided by the stride."""
        y = self.block(x)
        return x + y if self.residual else y


class Teacher(nn.Module):
    """mn04_as: log-mel frames in, embedding and logits of AudioSet's 527 classes out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolve(1, STEM, 3, 2, 1, nn.Hardswish),
            *(InvertedResidual(block) for block in BLOCKS),
            convolve(BLOCKS[-1].outputs, EMBEDDING, 1, 1, 1, nn.Hardswish),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(EMBEDDING, 512),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(512, CLASSES),
        )

    def maps(self, mel: Tensor) -> Tensor:
        """Return the last convolution's output `(batch, 384, mels / 32, frames / 32)`."""
        return self.features(mel)

    def logits(self, embedding: Tensor) -> Tensor:
        """Return logits `(..., 527)` of embeddings `(..., 384)`."""
        hidden = self.classifier[3](self.classifier[2](embedding))
        return self.classifier[5](hidden)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedding `(batch, 384)` and logits `(batch, 527)` of `(batch, 1, mels, frames)`.

        The embedding is the mean over time and frequency before the classifier.
        """
        embedding = self.maps(mel).mean((2, 3))
        return embedding, self.logits(embedding)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Return the published state dict, read without running code from the file."""
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_teacher(path: Path) -> Teacher:
    """Return the teacher with its published weights, every name and shape matching.

    Raises:
        RuntimeError: the file's names or shapes are not the network's.
    """
    teacher = Teacher()
    teacher.load_state_dict(read_weights(path), strict=True)
    return teacher.eval()
