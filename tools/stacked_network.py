"""Many networks of one shape as one, each with its own weights, for a GPU that one leaves idle.

    frames      (runs, batch, frames, mels)
    encoder     (runs, sequences, steps, features)      a group of each convolution a run
    LSTM        (runs, sequences, steps, hidden_size)   `tools.stacked_lstm`
    pooling, head                                       as in `earmark.nn`

It computes what `LSTMClassifier.logits_of_sequences` does, for networks with convolutions, one LSTM
layer and attention; `tests/tools/test_stacked.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tools.stacked_lstm import Recurrence
from torch import Tensor
from torch.nn import functional

from earmark.errors import SettingsError
from earmark.nn.classifier import LSTMClassifier, segment_stride
from earmark.nn.pooling import AttentionPooling, MeanPooling


class StackedNetwork:
    """The weights of many runs, and what they make of frames.

    Args:
        models: an untrained or trained model for each run, of one shape.
        device: where the weights lie.

    Attributes:
        weights: by name, `(runs, *shape)`; they need gradients.
        statistics: of batch norm and of the frames, by name, `(runs, *shape)`.

    Raises:
        SettingsError: such networks cannot be stacked.
    """

    def __init__(self, models: Sequence[LSTMClassifier], device: torch.device) -> None:
        network = models[0].settings.network
        plain = not (network.bidirectional or network.residual or network.linear_head)
        if not (network.convolutions and network.num_layers == 1 and plain):
            raise SettingsError("only convolutions, one LSTM layer and a hidden layer are stacked")
        if network.pooling != "attention":
            raise SettingsError("only attention is stacked")
        self.runs, self.network, self.classes = (
            len(models),
            network,
            models[0].settings.num_classes,
        )
        self.frames_per_step = models[0].frames_per_step

        def stack(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
            return {
                name: torch.stack([v[name].detach() for v in values]).contiguous().to(device)
                for name in values[0]
            }

        self.weights = stack([dict(model.named_parameters()) for model in models])
        for weight in self.weights.values():
            weight.requires_grad_()
        self.statistics = stack(
            [
                {name: b for name, b in model.named_buffers() if b.is_floating_point()}
                for model in models
            ]
        )

    def logits(self, x: Tensor, clips_per_sequence: int, window: int) -> tuple[Tensor, Tensor]:
        """Return logits of crops and of segments in them, as of a model in training.

        Args:
            x: features `(runs, batch, frames, input_size)`.
            clips_per_sequence: so many crops follow each other as one stream.
            window: steps of a segment.

        Returns:
            `(runs, batch, num_classes)` and `(runs, batch, segments, num_classes)`.
        """
        w, runs, batch = self.weights, self.runs, x.shape[1]
        streams = x.reshape(runs, batch // clips_per_sequence, -1, x.shape[-1])
        steps = functional.dropout(self._encode(streams), self.network.dropout)
        bias = w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"]
        gates = torch.baddbmm(
            bias[:, None], steps.flatten(1, 2), w["lstm.weight_ih_l0"].transpose(1, 2)
        )
        gates = gates.unflatten(1, steps.shape[1:3]).permute(2, 0, 1, 3).contiguous()
        outputs = Recurrence.apply(gates, w["lstm.weight_hh_l0"])  # (steps, runs, sequences, ...)
        outputs = outputs.permute(1, 2, 0, 3).reshape(runs * batch, -1, outputs.shape[-1])
        pooling = _StackedAttention(
            outputs.shape[-1], w["pooling.attention.weight"], w["pooling.attention.bias"]
        )
        whole, segments = pooling.cut(outputs, window, segment_stride(window))
        return (
            self._classify(whole.unflatten(0, (runs, -1))),
            self._classify(segments.reshape(runs, -1, segments.shape[-1])).unflatten(
                1, (batch, -1)
            ),
        )

    def _encode(self, streams: Tensor) -> Tensor:
        """Return the steps `(runs, sequences, steps, features)` of streams of frames."""
        s, w = self.statistics, self.weights
        x = (streams - s["encoder.mean"][:, None, None]) / s["encoder.scale"][:, None, None]
        x = x.transpose(0, 1)  # (sequences, runs * channels, frames, bands)
        for number, (_, kernel, bands, stride, mel_stride) in enumerate(self.network.convolutions):
            name = f"encoder.convolutions.{number}."
            before = x.new_zeros(len(x), x.shape[1], kernel - stride, x.shape[3])
            # On an H100 a product is faster where there is one channel: 0.8 in place of 3.9 ms.
            convolve = convolve_grouped if number else convolve_by_product
            x = convolve(
                torch.cat([before, x], dim=2),
                w[name + "convolution.weight"].flatten(0, 1),
                (stride, mel_stride),
                bands // 2,
                self.runs,
            )
            x = functional.batch_norm(
                x,
                s[name + "norm.running_mean"].view(-1),
                s[name + "norm.running_var"].view(-1),
                w[name + "norm.weight"].flatten(),
                w[name + "norm.bias"].flatten(),
                training=True,
            )
            x = torch.relu_(x)
        x = x.unflatten(1, (self.runs, -1))  # (sequences, runs, channels, steps, bands)
        return x.permute(1, 0, 3, 2, 4).flatten(3)

    def _classify(self, pooled: Tensor) -> Tensor:
        """Return logits `(runs, ..., num_classes)` of pooled vectors `(runs, ..., size)`."""
        w, p = self.weights, self.network.dropout
        x = functional.dropout(pooled, p)
        x = torch.baddbmm(w["head.1.bias"][:, None], x, w["head.1.weight"].transpose(1, 2))
        x = functional.dropout(torch.relu(x), p)
        return torch.baddbmm(w["head.4.bias"][:, None], x, w["head.4.weight"].transpose(1, 2))


class _StackedAttention(AttentionPooling):
    """`AttentionPooling` of outputs that lie run after run along the batch."""

    def __init__(self, size: int, weight: Tensor, bias: Tensor) -> None:
        MeanPooling.__init__(self, size)
        self._own = weight, bias

    def attention(self, outputs: Tensor) -> Tensor:  # type: ignore[override]
        """Return what weight each output asks for, `(batch, steps, 1)`."""
        weight, bias = self._own
        rows = outputs.reshape(len(weight), -1, outputs.shape[-1])
        asked = torch.baddbmm(bias[:, None], rows, weight.transpose(1, 2))
        return asked.reshape(*outputs.shape[:-1], 1)


def convolve_grouped(
    x: Tensor, weight: Tensor, stride: tuple[int, int], padding: int, runs: int
) -> Tensor:
    """Convolve `(batch, runs * channels, frames, bands)`, each run with its own weights."""
    return functional.conv2d(x, weight, stride=stride, padding=(0, padding), groups=runs)


def convolve_by_product(
    x: Tensor, weight: Tensor, stride: tuple[int, int], padding: int, runs: int
) -> Tensor:
    """Convolve as a product of matrices; see `convolve_grouped`."""
    kernel = weight.shape[2:]
    columns = functional.unfold(x, kernel, padding=(0, padding), stride=stride)
    columns = columns.unflatten(1, (runs, -1))  # (batch, runs, inputs of an output, places)
    done = weight.flatten(1).unflatten(0, (runs, -1)) @ columns
    frames = (x.shape[2] - kernel[0]) // stride[0] + 1
    return done.flatten(1, 2).unflatten(2, (frames, -1))
