"""The base as the package's own network: its settings, and the teacher's weights taken into it.

The shape is the teacher's (`tools/teacher.py`), made causal and lighter, with an LSTM that mends
its steps. The inputs that blocks 1 and 3 add are delayed: a causal convolution is the centred one,
later, and an input that is as late makes the sum the teacher's again. That costs 60 ms of latency
and needs no future. In later blocks it would cost more, and training mends what is left out there.
Some blocks that only add to their input are left out, and no block squeezes and excites: what the
teacher's blocks multiply their channels with hardly changes in time, so the mean of it goes into
the convolution that follows. An exported squeeze-and-excitation is twenty nodes and a state.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from earmark.config import FrontEndSettings, ModelSettings, NetworkSettings
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.encoders import MobileEncoder
from earmark.nn.encoders.inverted_residual import FoldedConvolution
from tools import teacher

DELAYS = {1: 1, 3: 1}  # steps of the block, by its number
LAGS_SECONDS = (0.9, 0.5)  # of onset and offset, see docs/results/lags.md
HIDDEN = 128  # units of the LSTM
CLASSES = 50
EARLY = 3  # blocks that stay as published: with their delays they are the teacher's exactly
ALL = tuple(range(1, len(teacher.BLOCKS) + 1))
# Of the teacher's blocks; those left out only add to their input.
KEPT = (1, 2, 3, 4, 7, 11, 13, 14)
MEAN, SCALE = -4.5, 5.0  # of the teacher's frames, as published
CROP_SAMPLES = 512 * teacher.HOP_LENGTH
STEPS_OF_SHORT = 5  # that a shorter clip is filled up to: docs/results/short.md
FRONT_END = FrontEndSettings(
    sample_rate=teacher.SAMPLE_RATE,
    n_fft=teacher.N_FFT,
    hop_length=teacher.HOP_LENGTH,
    n_mels=teacher.N_MELS,
    low_hz=0.0,
    high_hz=teacher.HIGH_HZ,
    floor=teacher.FLOOR,
    win_length=teacher.WIN_LENGTH,
    symmetric_window=True,
    pre_emphasis=teacher.PRE_EMPHASIS,
    mel_scale="kaldi",
    min_clip_seconds=STEPS_OF_SHORT * 0.32,
)


def network(
    delays: Mapping[int, int] = DELAYS,
    hidden_size: int = HIDDEN,
    *,
    kept: Sequence[int] = KEPT,
    excited: bool = False,
) -> NetworkSettings:
    """Return the settings of the base's network.

    Args:
        delays: by how many of its steps the input that a block adds is delayed, by its number.
        hidden_size: units of the LSTM.
        kept: numbers of the teacher's blocks, the first three among them.
        excited: its squeeze-and-excitations are kept.
    """
    blocks = tuple(
        (
            block.expanded,
            block.outputs,
            block.kernel,
            block.stride,
            block.squeezed if excited else 0,
            int(block.hardswish),
            delays.get(number, 0),
        )
        for number, block in zip(kept, [teacher.BLOCKS[n - 1] for n in kept], strict=True)
    )
    return NetworkSettings(
        hidden_size=hidden_size,
        num_layers=1,
        dropout=0.0,
        stack=1,
        delta=0,
        blocks=blocks,
        block_features=teacher.EMBEDDING,
        block_memory=500,
        residual=True,
        linear_head=True,
    )


def build_base(
    delays: Mapping[int, int] = DELAYS,
    hidden_size: int = HIDDEN,
    *,
    kept: Sequence[int] = KEPT,
    excited: bool = False,
) -> LSTMClassifier:
    """Return the base with random weights and the teacher's normalisation of frames.

    Args:
        delays: see `network`.
        hidden_size: see `network`.
        kept: see `network`.
        excited: see `network`.
    """
    shape = network(delays, hidden_size, kept=kept, excited=excited)
    settings = ModelSettings(teacher.N_MELS, CLASSES, shape, lags_seconds=LAGS_SECONDS)
    base = LSTMClassifier.from_settings(settings)
    base.mean.fill_(MEAN)
    base.scale.fill_(SCALE)
    return base


@torch.inference_mode()
def measure_gates(weights: Mapping[str, Tensor], early: Tensor) -> dict[int, Tensor]:
    """Return what the teacher's blocks multiply their channels with, the mean over some crops.

    Args:
        weights: from `tools.teacher.read_weights`.
        early: of the crops, see `encode_early`.

    Returns:
        Of each block that squeezes and excites, by its number, `(expanded channels,)`.
    """
    whole = build_base(kept=ALL, excited=True)
    take_published(whole, weights, kept=ALL)
    gates: dict[int, Tensor] = {}

    def keep(number: int, logits: Tensor) -> None:
        gates[number] = torch.sigmoid(logits).mean((0, 1))

    for number, block in zip(ALL, mobile(whole).blocks, strict=True):
        if block.excitation is not None:
            hook = functools.partial(lambda n, _layer, _given, out: keep(n, out), number)
            block.excitation.fc2.register_forward_hook(hook)
    encode_late(whole, early)
    return gates


def take_published(
    base: LSTMClassifier,
    weights: Mapping[str, Tensor],
    *,
    kept: Sequence[int] = KEPT,
    gates: Mapping[int, Tensor] | None = None,
    early_alone: bool = False,
) -> None:
    """Take the teacher's published weights, each batch norm folded into its convolution.

    Args:
        base: from `build_base`; its LSTM changes nothing yet, so it is the causal teacher then,
            as far as it has its blocks.
        weights: from `tools.teacher.read_weights`.
        kept: numbers of the teacher's blocks that it has.
        gates: from `measure_gates`, for the blocks that do not excite as the teacher's do.
        early_alone: only those of the layers that stay as published.
    """
    encoder = mobile(base)
    _fold(encoder.stem, weights, "features.0.0", "features.0.1")
    for number, block in zip(kept, encoder.blocks, strict=True):
        if early_alone and number > EARLY:
            return
        name, place = f"features.{number}.block", 0
        if block.expand is not None:
            _fold(block.expand, weights, f"{name}.0.0", f"{name}.0.1")
            place = 1
        _fold(block.depthwise, weights, f"{name}.{place}.0", f"{name}.{place}.1")
        place += 2 if teacher.BLOCKS[number - 1].squeezed else 1
        if block.excitation is not None:
            for own, layer in {"fc1": block.excitation.fc1, "fc2": block.excitation.fc2}.items():
                source = f"{name}.{place - 1}.conc_se_layers.0.{own}"
                layer.load_state_dict(
                    {part: weights[f"{source}.{part}"] for part in ("weight", "bias")}
                )
        _fold(block.project, weights, f"{name}.{place}.0", f"{name}.{place}.1")
        if block.excitation is None and gates is not None and number in gates:
            with torch.no_grad():
                block.project.convolution.weight *= gates[number][:, None, None]
    _fold(encoder.last, weights, "features.16.0", "features.16.1")


def mobile(base: LSTMClassifier) -> MobileEncoder:
    """Return the encoder of a base.

    Raises:
        TypeError: the model is no base.
    """
    if not isinstance(base.encoder, MobileEncoder):
        raise TypeError(f"a base has a MobileEncoder, this model a {type(base.encoder).__name__}")
    return base.encoder


def encode_early(encoder: MobileEncoder, frames: Tensor) -> Tensor:
    """Return what stem and first blocks give of crops, from a fresh state.

    Args:
        encoder: of the base.
        frames: `(batch, frames, mels)`, the frames a whole number of steps.

    Returns:
        `(batch, channels, frames / 4, bands)`.
    """
    x = encoder.normalise(frames)[:, None].contiguous(memory_format=torch.channels_last)
    x, _ = encoder.stem.step(x, encoder.initial_state(len(x))["context_0"])
    return _run_blocks(encoder, x, 1, EARLY)


def encode_late(base: LSTMClassifier, early: Tensor) -> Tensor:
    """Return the steps `(batch, steps, 384)` of what `encode_early` gave, from a fresh state."""
    encoder = mobile(base)
    x = early.contiguous(memory_format=torch.channels_last)
    x = encoder.last(_run_blocks(encoder, x, EARLY + 1, len(encoder.blocks)))
    steps: Tensor = base.lstm(x.mean(3).transpose(1, 2))[0]
    return steps


def embed(base: LSTMClassifier, frames: Tensor) -> Tensor:
    """Return the embedding `(batch, 384)` of whole clips `(batch, frames, mels)`."""
    return base.pooling(base.lstm(base.encoder(frames))[0])


def save_base(path: Path, base: LSTMClassifier, record: Mapping[str, Any]) -> None:
    """Write the weights of a base without its head.

    Args:
        path: the file.
        base: the base.
        record: how it was trained: its `delays`, `kept` blocks, whether it is `excited`, its
            `test_fold`, whether it may `ship`, and settings.
    """
    weights = {
        name: tensor.contiguous()
        for name, tensor in base.state_dict().items()
        if not name.startswith("head.")
    }
    save_file(weights, path, metadata={key: json.dumps(value) for key, value in record.items()})


def load_base(path: Path) -> tuple[LSTMClassifier, dict[str, Any]]:
    """Return a base that `save_base` wrote, its head untrained, and its record."""
    with safe_open(path, "pt") as file:
        record = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    delays = {int(number): steps for number, steps in record["delays"].items()}
    shape = {"kept": record.get("kept", ALL), "excited": record.get("excited", True)}
    base = build_base(delays, record.get("hidden_size", HIDDEN), **shape)
    head = {name: t for name, t in base.state_dict().items() if name.startswith("head.")}
    base.load_state_dict({**load_file(path), **head})
    return base.eval(), record


def _run_blocks(encoder: MobileEncoder, x: Tensor, first: int, last: int) -> Tensor:
    """Run blocks `first` to `last`, counted from 1, from a fresh state."""
    state = encoder.initial_state(len(x))
    for number in range(first, last + 1):
        kept = {name: state[f"{name}_{number}"] for name in ("context", "excited", "skipped")}
        x, _ = encoder.blocks[number - 1].step(x, kept)
    return x


def _fold(
    own: FoldedConvolution, weights: Mapping[str, Tensor], convolution: str, norm: str
) -> None:
    """Take a convolution of the teacher's and the batch norm after it."""
    scale = weights[f"{norm}.weight"] / torch.sqrt(
        weights[f"{norm}.running_var"] + teacher.NORM_EPS
    )
    # The teacher has mels before frames, we frames before mels.
    kernel = weights[f"{convolution}.weight"].transpose(2, 3) * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    own.convolution.load_state_dict({"weight": kernel, "bias": bias})
