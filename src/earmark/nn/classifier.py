"""Mel frames -> class scores: the documented LSTM classifier.

    frames      (batch, frames, input_size)
    encoder     (batch, steps, features)        `earmark.nn.encoders`; it normalises too
    LSTM        (batch, steps, outputs)         `earmark.nn.lstm`
    pooling     (batch, pooled)                 `earmark.nn.pooling`, over the steps so far
    head        (batch, num_classes)            `earmark.nn.head`, fully connected
    similarity  (batch, 1)                      `earmark.nn.similarity`, if the model has one

Unidirectional models carry their state as a value: `step(frames, state) -> (logits, state)` gives
after every chunk what one pass over all frames so far would give.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earmark.config import (
    LAGS_SECONDS,
    Convolutions,
    FrequencyLSTM,
    ModelSettings,
    NetworkSettings,
)
from earmark.errors import ModelError, SettingsError
from earmark.nn.encoders import EncoderState, build_encoder
from earmark.nn.head import Head
from earmark.nn.lstm import build_lstm
from earmark.nn.pooling import build_pooling
from earmark.nn.saved_names import keep_saved_names
from earmark.nn.similarity import Similarity


def segment_stride(window: int) -> int:
    """Return the steps from one segment to the next that training scores."""
    return max(1, window // 4)


class ModelState(NamedTuple):
    """What a unidirectional model knows of a stream. Each stream has its own.

    Attributes:
        beginning: the frames of a stream that has had no step yet, `(batch, kept, input_size)`,
            for `finish`; later none.
        encoder: what the encoder still needs, by name.
        hidden: LSTM output per layer, `(num_layers, batch, hidden_size)`.
        cell: LSTM cell per layer, `(num_layers, batch, hidden_size)`.
        pooled: pooling statistics of everything so far, `(batch, statistics)`.
        recent: those of the single steps that the next segment pools too, `(batch, window - 1,
            statistics)`. Zeros stand before the first step.
        steps: LSTM steps so far.
    """

    beginning: Tensor
    encoder: EncoderState
    hidden: Tensor
    cell: Tensor
    pooled: Tensor
    recent: Tensor
    steps: int


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
        blocks: inverted residual blocks before the LSTM, each as `Block` in
            `nn.encoders.inverted_residual`, with `stack` 1 and `delta` 0 and neither of the two
            above.
        block_features: features of a step after the blocks.
        block_memory: frames over which the blocks' squeeze-and-excitation forgets.
        residual: the LSTM's outputs are added, through a linear map, to what it reads; with
            pooling `mean` or `attention`.
        linear_head: one linear layer gives the logits, with no hidden layer before it.
        prototypes: see `ModelSettings`.
        lags_seconds: see `ModelSettings`; the network does not use it.

    Raises:
        SettingsError: a size is below 1 or dropout outside 0 to 1.

    Example:
        >>> model = LSTMClassifier(input_size=40, hidden_size=128, num_layers=2, num_classes=10)
        >>> model(torch.randn(16, 100, 40)).shape
        torch.Size([16, 10])
    """

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
        blocks: Convolutions = (),
        block_features: int = 384,
        block_memory: int = 500,
        residual: bool = False,
        linear_head: bool = False,
        prototypes: tuple[int, ...] = (),
        lags_seconds: tuple[float, ...] = LAGS_SECONDS,
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
            blocks=blocks,
            block_features=block_features,
            block_memory=block_memory,
            residual=residual,
            linear_head=linear_head,
        )
        self.settings = ModelSettings(input_size, num_classes, network, prototypes, lags_seconds)
        self.encoder = build_encoder(self.settings.input_size, network)
        self.lstm = build_lstm(self.encoder.output_size, network)
        outputs = network.hidden_size * (2 if network.bidirectional else 1)
        if network.residual:
            outputs = self.encoder.output_size
        self.pooling = build_pooling(network.pooling, outputs)
        self.head = Head(
            self.pooling.output_size,
            0 if network.linear_head else network.hidden_size,
            self.settings.num_classes,
            network.dropout,
        )
        self.similarity: Similarity | None = None
        if self.settings.prototypes:
            self.similarity = Similarity(self.pooling.output_size, *self.settings.prototypes)
        keep_saved_names(self)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> LSTMClassifier:
        """Build an untrained model of the given shape."""
        return cls(
            input_size=settings.input_size,
            num_classes=settings.num_classes,
            prototypes=settings.prototypes,
            lags_seconds=settings.lags_seconds,
            **{
                field.name: getattr(settings.network, field.name)
                for field in dataclasses.fields(settings.network)
            },
        )

    @property
    def frames_per_step(self) -> int:
        """Frames from one step of the LSTM to the next."""
        return self.encoder.frames_per_step

    @property
    def mean(self) -> Tensor:
        """Mean of the training clips' frames, `(input_size,)`, a buffer of the encoder."""
        return self.encoder.mean

    @property
    def scale(self) -> Tensor:
        """Standard deviation of the training clips' frames, `(input_size,)`."""
        return self.encoder.scale

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return class probabilities.

        Args:
            x: features `(batch, frames, input_size)`.
            lengths: frames of each clip `(batch,)` when shorter clips are padded at the end; a
                clip of fewer frames than one step by repeating its last frame.

        Returns:
            Probabilities `(batch, num_classes)`; each row sums to 1, or with a similarity to less.

        Raises:
            SettingsError: `x` has another shape.
        """
        return self.probabilities(self.embed(x, lengths))

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
        return self.classify(self.embed(x, lengths))

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the pooled vectors that the head classifies, `(batch, pooled)`; see `logits`.

        Raises:
            SettingsError: `x` has another shape.
        """
        steps = self.encoder(self._fill_one_step(x))  # (batch, steps, features)
        pooled: Tensor
        if lengths is None:
            outputs, _ = self.lstm(steps)  # (batch, steps, outputs)
            pooled = self.pooling(outputs)
            return pooled
        counts = (lengths // self.frames_per_step).clamp(1, steps.shape[1])
        outputs = self._read_padded(steps, counts)
        pooled = self.pooling(outputs, counts)
        return pooled

    def logits_of_sequences(
        self, x: Tensor, clips_per_sequence: int, window: int
    ) -> tuple[Tensor, Tensor]:
        """Return logits of crops that follow one another in streams, and of segments within them.

        Args:
            x: features `(batch, frames, input_size)`, the frames a whole number of steps.
            clips_per_sequence: so many crops follow each other as one stream; a divisor of the
                batch.
            window: steps pooled into the logits of a segment, at most those of a crop.

        Returns:
            Logits `(batch, num_classes)`, and logits `(batch, segments, num_classes)` of a window
            every quarter of its length; the first begins with the crop, none goes past its end.

        Raises:
            ModelError: the model is bidirectional and would read one crop into another.
        """
        self._refuse_bidirectional()
        streams = x.reshape(len(x) // clips_per_sequence, -1, x.shape[2])
        outputs, _ = self.lstm(self.encoder(streams))
        outputs = outputs.reshape(len(x), -1, outputs.shape[2])  # (batch, steps, outputs)
        whole, segments = self.pooling.cut(outputs, window, segment_stride(window))
        return self.classify(whole), self.classify(segments)

    def initial_state(self, batch: int = 1, window: int = 1) -> ModelState:
        """Return the state of `batch` streams before their first frame.

        Args:
            batch: streams that advance together.
            window: steps that `score_segments` pools.

        Raises:
            ModelError: the model is bidirectional and would need the future.
        """
        self._refuse_bidirectional()
        network = self.settings.network
        hidden = self.mean.new_zeros(network.num_layers, batch, network.hidden_size)
        pooled = self.pooling.initial(batch, device=hidden.device)
        return ModelState(
            beginning=self.mean.new_zeros(batch, 0, self.settings.input_size),
            encoder=self.encoder.initial_state(batch),
            hidden=hidden,
            cell=hidden,
            pooled=pooled,
            recent=pooled.new_zeros(batch, window - 1, self.pooling.statistics),
            steps=0,
        )

    def step(self, frames: Tensor, state: ModelState) -> tuple[Tensor | None, ModelState]:
        """Read the next frames of a stream.

        Args:
            frames: `(batch, frames, input_size)`, any number, none included.
            state: from `initial_state` or the step before.

        Returns:
            Logits `(batch, num_classes)` over everything so far, or None while fewer than
            `frames_per_step` frames have come, and the new state.
        """
        _, state = self._advance(frames, state)
        return (self.so_far(state) if state.steps else None), state

    def so_far(self, state: ModelState) -> Tensor:
        """Return logits `(batch, num_classes)` over the whole of a stream, of a step or more."""
        return self.classify(self.embed_so_far(state))

    def embed_so_far(self, state: ModelState) -> Tensor:
        """Return the pooled vector `(batch, pooled)` of a stream, of a step or more."""
        return self.pooling.finish(state.pooled, state.hidden[-1])

    def score_segments(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read the next frames of a stream and score every step, not everything so far.

        Args:
            frames: `(batch, frames, input_size)`, any number, none included.
            state: from `initial_state`, which sets the window, or the step before.

        Returns:
            Logits `(batch, steps, num_classes)` for each step that the frames complete, over the
            window of steps that ends with it (fewer at the start), and the new state.
        """
        pooled, state = self.embed_segments(frames, state)
        return self.classify(pooled), state

    def embed_segments(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Return what `score_segments` classifies, `(batch, steps, pooled)`, and the new state."""
        outputs, state = self._advance(frames, state)
        pooled, recent = self.pooling.slide(outputs, state.recent)
        return pooled, state._replace(recent=recent)

    def finish(self, state: ModelState) -> Tensor:
        """Return the logits `(batch, num_classes)` of a stream that ended before its first step.

        Raises:
            SettingsError: the stream has no frame, or has had a step, whose logits stand.
        """
        if state.steps or not state.beginning.shape[1]:
            raise SettingsError("only a stream of fewer frames than one step needs finishing")
        return self.logits(state.beginning)

    def _advance(self, frames: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Return the LSTM's outputs for the steps that the next frames complete, and the state."""
        steps, encoder = self.encoder.step(frames, state.encoder)
        count = steps.shape[1]
        beginning = state.beginning
        if state.steps == 0:
            beginning = torch.cat([beginning, frames], dim=1)[:, : self.frames_per_step]
        if count == 0:
            none = state.hidden.new_zeros(len(frames), 0, self.pooling.size)
            return none, state._replace(beginning=beginning, encoder=encoder)
        outputs, (hidden, cell) = self.lstm(steps, (state.hidden, state.cell))
        return outputs, state._replace(
            beginning=beginning[:, :0],
            encoder=encoder,
            hidden=hidden,
            cell=cell,
            pooled=self.pooling.step(outputs, state.pooled),
            steps=state.steps + count,
        )

    def _fill_one_step(self, x: Tensor) -> Tensor:
        """Hold the last frame of clips that are too short for one step.

        Raises:
            SettingsError: `x` is not `(batch, frames, input_size)` with a frame or more.
        """
        size, needed = self.settings.input_size, self.frames_per_step
        if x.ndim != 3 or x.shape[2] != size or x.shape[1] == 0:
            raise SettingsError(
                f"the model takes (batch, frames, {size}) with at least one frame, "
                f"got {tuple(x.shape)}"
            )
        if x.shape[1] >= needed:
            return x
        return torch.cat([x, x[:, -1:].expand(-1, needed - x.shape[1], -1)], dim=1)

    def _read_padded(self, steps: Tensor, counts: Tensor) -> Tensor:
        """Return the LSTM's outputs `(batch, steps, hidden)` for clips padded at the end."""
        if not self.settings.network.bidirectional:
            outputs, _ = self.lstm(steps)
            return outputs
        packed = nn.utils.rnn.pack_padded_sequence(  # padding must not be read backwards
            steps, counts.cpu(), batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return outputs

    def classify(self, pooled: Tensor) -> Tensor:
        """Return logits `(..., num_classes)` of pooled vectors `(..., pooled)`."""
        logits: Tensor = self.head(pooled)
        return logits

    def probabilities(self, pooled: Tensor, temperature: float = 1.0) -> Tensor:
        """Return probabilities `(..., num_classes)` of pooled vectors `(..., pooled)`.

        Args:
            pooled: from `embed` and its like.
            temperature: the logits are divided by it.

        Returns:
            A softmax; where the model has a similarity, times the probability that the sound is of
            some class at all, so that what a row lacks to 1 is that of none.
        """
        scores = torch.softmax(self.classify(pooled).float() / temperature, dim=-1)
        return scores if self.similarity is None else scores * self.similarity(pooled)

    def _refuse_bidirectional(self) -> None:
        if self.settings.network.bidirectional:
            raise ModelError("a bidirectional model cannot stream: it reads from the end backwards")
