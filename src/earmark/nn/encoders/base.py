"""What every encoder is: mel frames in, the steps of the LSTM out, with its state as a value."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

EncoderState = dict[str, Tensor]  # by name, batch first; never changed in place


class Encoder(nn.Module, abc.ABC):
    """Normalises mel frames and turns them into the steps that the LSTM reads.

    An encoder never looks ahead, and `step` gives in any chunks what `forward` gives of the whole.

    Args:
        input_size: mel bands of a frame.
        frames_per_step: frames from one step to the next.
        output_size: features of a step.

    Attributes:
        mean: of the training clips' frames, `(input_size,)`, natural logarithm of power.
        scale: their standard deviation, `(input_size,)`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, input_size: int, *, frames_per_step: int, output_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.frames_per_step = frames_per_step
        self.output_size = output_size
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("scale", torch.ones(input_size))

    @abc.abstractmethod
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return what is kept of each stream between two steps: names, shapes without the batch.

        Engines and exported models keep arrays of these names and shapes; one of no elements is
        left out. Within a step an encoder may keep more.
        """

    @abc.abstractmethod
    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Encode the next frames of a stream.

        Args:
            frames: `(batch, frames, input_size)`, any number, none included.
            state: from `initial_state` or the step before.

        Returns:
            The steps that the frames complete, `(batch, steps, output_size)`, and the new state.
        """

    def initial_state(self, batch: int = 1) -> EncoderState:
        """Return the state of `batch` streams before their first frame: zeros."""
        return {
            name: self.mean.new_zeros(batch, *shape) for name, shape in self.state_shapes().items()
        }

    def forward(self, frames: Tensor) -> Tensor:
        """Encode whole clips.

        Args:
            frames: `(batch, frames, input_size)`.

        Returns:
            `(batch, frames // frames_per_step, output_size)`.
        """
        steps, _ = self.step(frames, self.initial_state(len(frames)))
        return steps

    def normalise(self, frames: Tensor) -> Tensor:
        """Return `(frames - mean) / scale`, each mel band by its own."""
        return (frames - self.mean) / self.scale
