"""Mel frames -> LSTM steps by joining consecutive frames, with their changes as features.

    frames      (batch, frames, mels)
    normalise   (batch, frames, mels)           (x - mean) / scale
    delta       (batch, frames, 2 * mels)       each frame, and its change over `delta` frames
    stack       (batch, steps, stack * 2 * mels)    steps = frames // stack

Differences as features are those of Furui 1986 ("Speaker-independent isolated word recognition
using dynamic features of speech spectrum"), looking back only. Fewer, wider steps for an LSTM are
those of Sak et al. 2015 ("Fast and accurate recurrent neural network acoustic models").
"""

from __future__ import annotations

import torch
from torch import Tensor

from earmark.nn.encoders.base import Encoder, EncoderState


class StackedEncoder(Encoder):
    """Normalises, adds differences and joins frames.

    Args:
        input_size: mel bands of a frame.
        stack: consecutive frames joined into one step.
        delta: frames back to which each frame's change is taken; the first frame stands in for
            those before the stream. 0: no changes.
    """

    def __init__(self, input_size: int, *, stack: int = 1, delta: int = 0) -> None:
        rows = stack * (2 if delta else 1)  # of mels in a step
        super().__init__(input_size, frames_per_step=stack, output_size=rows * input_size)
        self.stack, self.delta, self.rows = stack, delta, rows

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of `past`: the last `delta` frames."""
        return {"past": (self.delta, self.input_size)}

    def initial_state(self, batch: int = 1) -> EncoderState:
        """Return the state before the first frame: no frame is kept yet.

        In a stream, `past` holds the last `delta` frames and those that do not fill a step.
        """
        return {"past": self.mean.new_zeros(batch, 0, self.input_size)}

    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Stack the next frames; see `Encoder.step`."""
        if state["past"].shape[1] == 0:
            frames = self._repeat_first(frames)
        joined = torch.cat([state["past"], frames], dim=1)
        whole = max(0, joined.shape[1] - self.delta) // self.stack * self.stack
        return self._join(joined[:, : self.delta + whole]), {"past": joined[:, whole:]}

    def _repeat_first(self, frames: Tensor) -> Tensor:
        """Put `delta` copies of the first frame before a stream."""
        if self.delta == 0 or frames.shape[1] == 0:
            return frames
        return torch.cat([frames[:, :1].expand(-1, self.delta, -1), frames], dim=1)

    def _join(self, frames: Tensor) -> Tensor:
        """Turn `(batch, delta + frames, mels)`, whole steps of them, into steps."""
        steps = max(0, frames.shape[1] - self.delta) // self.stack
        if steps == 0:
            return frames.new_zeros(len(frames), 0, self.rows * self.input_size)
        x = self.normalise(frames)
        if self.delta:
            change = x[:, self.delta :] - x[:, : -self.delta]
            x = torch.cat([x[:, self.delta :], change], dim=2)
        return x.reshape(len(x), steps, self.rows * self.input_size)
