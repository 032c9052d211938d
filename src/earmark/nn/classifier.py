"""Mel frames -> class scores: the documented LSTM classifier.

The network, with shapes for `x (batch, frames, input_size)`:

    normalise   (x - mean) / scale            statistics of the training clips, kept as buffers
    delta       (batch, frames, 2 * input_size): each frame, and its change over `delta` frames
    stack       (batch, steps, stack * 2 * input_size), steps = frames // stack
    frequencies (batch, steps, places * 2 * units): an LSTM that reads each step from low to high
                frequencies and back, a few mels at a time; Li et al. 2015 ("F-LSTM")
    or, in place of all three,
    convolve    (batch, steps, channels * bands), steps = frames // the product of the strides
    LSTM        (batch, steps, hidden_size)   Hochreiter and Schmidhuber 1997
    pool        (batch, hidden_size)          over the steps so far; each pooling has a running form
    head        fully connected, ReLU, dropout, fully connected -> (batch, num_classes)

Unidirectional models carry their state as a value: `step(frames, state) -> (logits, state)` gives
after every chunk what one pass over all frames so far would give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earmark.config import (
    Convolutions,
    FrequencyLSTM,
    ModelSettings,
    NetworkSettings,
    frames_per_step,
)
from earmark.errors import ModelError, SettingsError

MOST_WEIGHT = 8.0  # natural logarithm, so that no step outweighs all others for ever


def segment_stride(window: int) -> int:
    """Return the steps from one segment to the next that training scores."""
    return max(1, window // 4)


class ModelState(NamedTuple):
    """What a unidirectional model knows of a stream. Each stream has its own.

    Attributes:
        frames: input frames still needed, `(batch, kept, input_size)`: the last `delta` ones, then
            those that do not fill a step yet. None kept before the first frame.
        contexts: what each convolution still needs of its input,
            `(batch, input channels, kept, bands)` each.
        hidden: LSTM output per layer, `(num_layers, batch, hidden_size)`.
        cell: LSTM cell per layer, `(num_layers, batch, hidden_size)`.
        pooled: pooling statistics of everything so far, `(batch, statistics)`: the sum of the
            outputs, each times its weight (1 but with attention), and of the weights, where a mean
            is taken; then the largest outputs plus 1, where these are.
        recent: those of the single steps that the next segment pools too, `(batch, window - 1,
            statistics)`. Zeros stand before the first step: they add nothing and lie below every
            output plus 1.
        steps: LSTM steps so far.
    """

    frames: Tensor
    contexts: tuple[Tensor, ...]
    hidden: Tensor
    cell: Tensor
    pooled: Tensor
    recent: Tensor
    steps: int


class CausalConvolution(nn.Module):
    """A convolution over frames and mel bands that never looks ahead, then batch norm and ReLU.

    Output frame j covers the `frames` input frames that end with number `(j + 1) * stride - 1`:
    with every `stride` frames one comes out at once. Before the first stand zeros; along the bands
    zeros stand on both sides. Weights, state and frames lie in memory with the channels last, which
    a CPU convolves faster.
    """

    def __init__(
        self, inputs: int, channels: int, frames: int, mels: int, stride: int, mel_stride: int
    ) -> None:
        super().__init__()
        self.frames, self.stride = frames, stride
        self.convolution = nn.Conv2d(
            *(inputs, channels, (frames, mels), (stride, mel_stride), (0, mels // 2)), bias=False
        )
        weight = self.convolution.weight
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(channels)

    def bands(self, bands: int) -> int:
        """Return the bands that come out where `bands` go in."""
        width, stride = self.convolution.kernel_size[1], self.convolution.stride[1]
        return (bands + 2 * (width // 2) - width) // stride + 1

    def initial_state(self, batch: int, bands: int) -> Tensor:
        """Return zeros `(batch, input channels, frames - stride, bands)`."""
        shape = (batch, self.convolution.in_channels, self.frames - self.stride, bands)
        zeros = self.convolution.weight.new_zeros(shape)
        return zeros.contiguous(memory_format=torch.channels_last)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the next frames.

        Args:
            x: `(batch, input channels, frames, bands)`, any number of frames, none included.
            state: from `initial_state` or the step before.

        Returns:
            `(batch, channels, frames completed, bands)` and the new state.
        """
        joined = torch.cat([state, x], dim=2)
        done = max(0, (joined.shape[2] - self.frames) // self.stride + 1)
        state = joined[:, :, done * self.stride :]
        if done == 0:
            bands = self.bands(x.shape[3])
            return joined.new_zeros(len(x), self.convolution.out_channels, 0, bands), state
        return torch.relu_(self.norm(self.convolution(joined))), state


class LSTMClassifier(nn.Module):
    """LSTM layers, then fully connected layers with ReLU and dropout.

    Args:
        input_size: features per frame.
        hidden_size: units of each LSTM layer.
        num_layers: LSTM layers, one or more.
        num_classes: classes.
        dropout: share of units dropped while training.
        bidirectional: also read backwards. Such a model cannot stream.
        stack: consecutive frames joined into one LSTM step; the LSTM then runs `stack` times
            fewer steps, which is most of the cost.
        delta: also give the LSTM each frame's difference from the frame `delta` before it, the
            first frame standing in for those before the clip; 0: do not.
        pooling: how the LSTM's outputs become one vector: `mean`, `max`, `meanmax` (both, side
            by side), `last`, or `attention`: a mean in which every output has the weight it asks
            for.
        convolutions: causal convolutions before the LSTM, each (channels, frames, mels, frame
            stride, mel stride), with `stack` 1 and `delta` 0.
        frequency_lstm: an LSTM over the frequencies of each step, (units in each direction, mels
            it sees at a time, mels from one place to the next); not with convolutions.

    Raises:
        SettingsError: a size is below 1 or dropout outside 0 to 1.

    Example:
        >>> model = LSTMClassifier(input_size=40, hidden_size=128, num_layers=2, num_classes=10)
        >>> model(torch.randn(16, 100, 40)).shape
        torch.Size([16, 10])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        num_classes: int,
        dropout: float = 0.3,
        bidirectional: bool = False,
        *,
        stack: int = 1,
        delta: int = 0,
        pooling: str = "mean",
        convolutions: Convolutions = (),
        frequency_lstm: FrequencyLSTM = (),
    ) -> None:
        super().__init__()
        network = NetworkSettings(
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            stack=stack,
            delta=delta,
            pooling=pooling,
            convolutions=convolutions,
            frequency_lstm=frequency_lstm,
        )
        self.settings = settings = ModelSettings(input_size, num_classes, network)
        self.register_buffer("mean", torch.zeros(settings.input_size))
        self.register_buffer("scale", torch.ones(settings.input_size))
        inputs = settings.input_size * network.stack * (2 if network.delta else 1)
        layers: list[CausalConvolution] = []
        channels, bands = 1, settings.input_size
        for layer in network.convolutions:
            layers.append(CausalConvolution(channels, *layer))
            channels, bands = layer[0], layers[-1].bands(bands)
            inputs = channels * bands
        self.convolutions: Sequence[CausalConvolution] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.frequency_lstm: nn.LSTM | None = None
        if network.frequency_lstm:
            units, mels, stride = network.frequency_lstm
            seen = inputs // settings.input_size * mels
            self.frequency_lstm = nn.LSTM(seen, units, batch_first=True, bidirectional=True)
            inputs = ((settings.input_size - mels) // stride + 1) * 2 * units
        self.frames_per_step = frames_per_step(network)
        self.lstm = nn.LSTM(
            inputs,
            network.hidden_size,
            network.num_layers,
            batch_first=True,
            dropout=network.dropout if network.num_layers > 1 else 0.0,
            bidirectional=network.bidirectional,
        )
        outputs = network.hidden_size * (2 if network.bidirectional else 1)
        self.attention = nn.Linear(outputs, 1) if network.pooling == "attention" else None
        # So many pooling statistics are kept of a step: those that are summed, then those whose
        # largest counts.
        self.summed = 0 if network.pooling in ("max", "last") else outputs + 1
        self.statistics = self.summed + (outputs if network.pooling in ("max", "meanmax") else 0)
        pooled = outputs * (2 if network.pooling == "meanmax" else 1)
        self.head = nn.Sequential(
            nn.Dropout(network.dropout),
            nn.Linear(pooled, network.hidden_size),
            nn.ReLU(),
            nn.Dropout(network.dropout),
            nn.Linear(network.hidden_size, settings.num_classes),
        )

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> LSTMClassifier:
        """Build an untrained model of the given shape."""
        return cls(
            input_size=settings.input_size,
            num_classes=settings.num_classes,
            **{
                field.name: getattr(settings.network, field.name)
                for field in dataclasses.fields(settings.network)
            },
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return class probabilities.

        Args:
            x: features `(batch, frames, input_size)`.
            lengths: frames of each clip `(batch,)` when shorter clips are padded at the end; a
                clip of fewer frames than one step by repeating its last frame.

        Returns:
            Probabilities `(batch, num_classes)`; each row sums to 1.

        Raises:
            SettingsError: `x` has another shape.
        """
        return torch.softmax(self.logits(x, lengths), dim=1)

    def logits(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the scores before the softmax; training's cross-entropy takes these.

        Args:
            x: features `(batch, frames, input_size)`.
            lengths: frames of each clip `(batch,)` when shorter clips are padded at the end; a
                clip of fewer frames than one step by repeating its last frame.

        Returns:
            Logits `(batch, num_classes)`.

        Raises:
            SettingsError: `x` has another shape.
        """
        size, needed = self.settings.input_size, self.frames_per_step
        if x.ndim != 3 or x.shape[2] != size or x.shape[1] == 0:
            raise SettingsError(
                f"the model takes (batch, frames, {size}) with at least one frame, "
                f"got {tuple(x.shape)}"
            )
        if x.shape[1] < needed:  # too short for one step: hold the last frame
            x = torch.cat([x, x[:, -1:].expand(-1, needed - x.shape[1], -1)], dim=1)
        if self.convolutions:  # steps: (batch, steps, LSTM inputs)
            steps, _ = self._convolved(x, self._contexts(len(x)))
        else:
            steps = self._stacked(self._with_past(x))
        if lengths is None:
            outputs, _ = self.lstm(steps)
            return self._head(self._pool(self._statistics(outputs), 1), outputs[:, -1])
        counts = (lengths // needed).clamp(1, steps.shape[1])
        if self.settings.network.bidirectional:  # padding must not be read backwards into a clip
            packed = nn.utils.rnn.pack_padded_sequence(
                steps, counts.cpu(), batch_first=True, enforce_sorted=False
            )
            outputs, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        else:
            outputs, _ = self.lstm(steps)
        inside = (torch.arange(outputs.shape[1], device=x.device) < counts[:, None])[..., None]
        last = outputs[torch.arange(len(outputs), device=x.device), counts - 1]
        return self._head(self._pool(self._statistics(outputs) * inside, 1), last)

    def logits_of_sequences(self, x: Tensor, joined: int, window: int) -> tuple[Tensor, Tensor]:
        """Return logits of crops that are heard one after the other, and of segments within them.

        Args:
            x: features `(batch, frames, input_size)`, the frames a whole number of steps.
            joined: so many crops follow each other as one stream; a divisor of the batch.
            window: steps pooled into the logits of a segment, at most those of a crop.

        Returns:
            Logits `(batch, num_classes)`, and logits `(batch, segments, num_classes)` of a window
            every quarter of its length; the first begins with the crop, none goes past its end.
        """
        stream = x.reshape(len(x) // joined, -1, x.shape[2])
        outputs, _ = self._outputs(stream, self.initial_state(len(stream)))
        outputs = outputs.reshape(len(x), -1, outputs.shape[2])
        steps, stride = self._statistics(outputs), segment_stride(window)
        windows = steps.unfold(1, window, stride).transpose(2, 3)  # (batch, segments, window, ...)
        return (
            self._head(self._pool(steps, 1), outputs[:, -1]),
            self._head(self._pool(windows, 2), outputs[:, window - 1 :: stride]),
        )

    def initial_state(self, batch: int = 1, window: int = 1) -> ModelState:
        """Return the state of `batch` streams before their first frame.

        Args:
            batch: streams that advance together.
            window: steps that `score_segments` pools.

        Raises:
            ModelError: the model is bidirectional and would need the future.
        """
        if self.settings.network.bidirectional:
            raise ModelError("a bidirectional model cannot stream: it reads from the end backwards")
        hidden = self.mean.new_zeros(
            self.settings.network.num_layers, batch, self.settings.network.hidden_size
        )
        frames = self.mean.new_zeros(batch, 0, self.settings.input_size)
        recent = hidden.new_zeros(batch, window - 1, self.statistics)
        pooled = hidden.new_zeros(batch, self.statistics)
        return ModelState(frames, self._contexts(batch), hidden, hidden, pooled, recent, 0)

    def step(self, frames: Tensor, state: ModelState) -> tuple[Tensor | None, ModelState]:
        """Hear the next frames of a stream.

        Args:
            frames: `(batch, frames, input_size)`, any number, none included.
            state: from `initial_state` or the step before.

        Returns:
            Logits `(batch, num_classes)` over everything heard so far, or None while fewer than
            `frames_per_step` frames have come, and the new state.
        """
        _, state = self._outputs(frames, state)
        return (self.so_far(state) if state.steps else None), state

    def so_far(self, state: ModelState) -> Tensor:
        """Return logits `(batch, num_classes)` over all that was heard, of a step or more."""
        return self._head(state.pooled, state.hidden[-1])

    def score_segments(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Hear the next frames of a stream and score every step, not everything so far.

        Args:
            frames: `(batch, frames, input_size)`, any number, none included.
            state: from `initial_state`, which sets the window, or the step before.

        Returns:
            Logits `(batch, steps, num_classes)` for each step that the frames complete, over the
            window of steps that ends with it (fewer at the start), and the new state.
        """
        before = state.recent
        outputs, state = self._outputs(frames, state)
        steps = torch.cat([before, self._statistics(outputs)], dim=1)
        state = state._replace(recent=steps[:, outputs.shape[1] :])
        if outputs.shape[1] == 0:
            return outputs.new_zeros(len(outputs), 0, self.settings.num_classes), state
        windows = steps.unfold(1, before.shape[1] + 1, 1).transpose(2, 3)
        return self._head(self._pool(windows, 2), outputs), state

    def _outputs(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Return what the LSTM gives for the steps that the next frames complete."""
        steps, state = self._next_steps(frames, state)
        if steps.shape[1] == 0:
            return state.hidden.new_zeros(len(frames), 0, self.settings.network.hidden_size), state
        outputs, (hidden, cell) = self.lstm(steps, (state.hidden, state.cell))
        # Summed first, so that not every step is rounded against the sum of hours.
        fresh = self._pool(self._statistics(outputs), 1)
        return outputs, state._replace(
            hidden=hidden,
            cell=cell,
            pooled=self._pool(torch.stack([state.pooled, fresh], dim=1), 1),
            steps=state.steps + outputs.shape[1],
        )

    def finish(self, state: ModelState) -> Tensor:
        """Return the logits `(batch, num_classes)` of a stream that ended before its first step.

        Raises:
            SettingsError: the stream has no frame, or has had a step, whose logits stand.
        """
        if state.steps or not state.frames.shape[1]:
            raise SettingsError("only a stream of fewer frames than one step needs finishing")
        return self.logits(state.frames[:, self.settings.network.delta :])

    def _next_steps(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Return the LSTM steps `(batch, steps, LSTM inputs)` that the next frames complete."""
        if self.convolutions:
            # Kept until the first step only, for a stream that ends before it.
            kept = torch.cat([state.frames, frames], dim=1)[:, : self.frames_per_step]
            steps, contexts = self._convolved(frames, state.contexts)
            if state.steps or steps.shape[1]:
                kept = kept[:, :0]
            return steps, state._replace(frames=kept, contexts=contexts)
        first = state.steps == 0 and state.frames.shape[1] == 0
        joined = torch.cat([state.frames, self._with_past(frames) if first else frames], dim=1)
        past, stack = self.settings.network.delta, self.settings.network.stack
        whole = max(0, joined.shape[1] - past) // stack * stack
        state = state._replace(frames=joined[:, whole:])
        return self._stacked(joined[:, : past + whole]), state

    def _contexts(self, batch: int) -> tuple[Tensor, ...]:
        """Return the state of each convolution before the first frame."""
        contexts, bands = [], self.settings.input_size
        for layer in self.convolutions:
            contexts.append(layer.initial_state(batch, bands))
            bands = layer.bands(bands)
        return tuple(contexts)

    def _convolved(
        self, x: Tensor, contexts: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalise the next frames `(batch, frames, input_size)` and convolve them."""
        x = ((x - self.mean) / self.scale)[:, None].contiguous(memory_format=torch.channels_last)
        after = []
        for layer, context in zip(self.convolutions, contexts, strict=True):
            x, context = layer.step(x, context)
            after.append(context)
        steps = x.transpose(1, 2).flatten(2)  # (batch, steps, channels * bands)
        return nn.functional.dropout(steps, self.settings.network.dropout, self.training), tuple(
            after
        )

    def _with_past(self, x: Tensor) -> Tensor:
        """Put `delta` copies of the first frame before a clip or stream."""
        if self.settings.network.delta == 0 or x.shape[1] == 0:
            return x
        return torch.cat([x[:, :1].expand(-1, self.settings.network.delta, -1), x], dim=1)

    def _stacked(self, x: Tensor) -> Tensor:
        """Normalise, add differences, join frames into LSTM steps and scan their frequencies.

        Args:
            x: `(batch, delta + frames, input_size)`, the first `delta` only to look back at.

        Returns:
            `(batch, frames // stack, LSTM inputs)`.
        """
        past, stack = self.settings.network.delta, self.settings.network.stack
        steps = max(0, x.shape[1] - past) // stack
        if steps == 0:
            return x.new_zeros(len(x), 0, self.lstm.input_size)
        frames = (x[:, : past + steps * stack] - self.mean) / self.scale
        if past:
            frames = torch.cat([frames[:, past:], frames[:, past:] - frames[:, :-past]], dim=2)
        if self.frequency_lstm is None:
            return frames.reshape(x.shape[0], steps, stack * frames.shape[2])
        _, mels, stride = self.settings.network.frequency_lstm
        seen = frames.reshape(x.shape[0] * steps, -1, self.settings.input_size)
        places = seen.unfold(2, mels, stride).transpose(1, 2)  # (steps, places, frames, mels)
        scanned, _ = self.frequency_lstm(places.flatten(2))
        return scanned.reshape(x.shape[0], steps, -1)

    def _statistics(self, outputs: Tensor) -> Tensor:
        """Return the pooling statistics `(batch, steps, statistics)` of the LSTM's outputs."""
        outputs = outputs.float()
        parts = [outputs[..., :0]]
        if self.summed:
            weights = torch.ones_like(outputs[..., :1])
            if self.attention is not None:
                weights = self.attention(outputs).clamp(-MOST_WEIGHT, MOST_WEIGHT).exp()
            parts += [outputs * weights, weights]
        if self.statistics > self.summed:
            parts.append(outputs + 1)  # above 0: an LSTM's outputs lie between -1 and 1
        return torch.cat(parts, dim=-1)

    def _pool(self, statistics: Tensor, dim: int) -> Tensor:
        """Join the statistics of many steps, which lie along `dim`, into those of all of them."""
        parts = [statistics[..., : self.summed].sum(dim)]
        if self.statistics > self.summed:
            parts.append(statistics[..., self.summed :].amax(dim))
        return torch.cat(parts, dim=-1)

    def _head(self, pooled: Tensor, last: Tensor) -> Tensor:
        """Classify pooled statistics, or with pooling `last` the last output."""
        parts = [] if self.statistics else [last]
        if self.summed:
            parts.append(
                pooled[..., : self.summed - 1] / pooled[..., self.summed - 1 : self.summed]
            )
        if self.statistics > self.summed:
            parts.append(pooled[..., self.summed :] - 1)
        logits: Tensor = self.head(torch.cat(parts, dim=-1))
        return logits
