"""Mel frames -> LSTM steps by an LSTM over the frequencies of stacked frames.

    stacked     (batch, steps, rows * mels)     `StackedEncoder`; rows = stack, twice with changes
    places      (batch * steps, places, rows * width)   a few mels at a time, from low to high
    LSTM        (batch * steps, places, 2 * units)      read upwards and downwards
    steps       (batch, steps, places * 2 * units)

Li, Mohamed, Zweig and Gong 2015 ("LSTM time and frequency recurrence for automatic speech
recognition"), their F-LSTM. It knows one step only, so nothing of it is carried on.
"""

from __future__ import annotations

from torch import Tensor, nn

from earmark.nn.encoders.base import EncoderState
from earmark.nn.encoders.stacked import StackedEncoder


class FrequencyEncoder(StackedEncoder):
    """Stacks frames, then reads the frequencies of each step with an LSTM.

    Args:
        input_size: mel bands of a frame.
        units: of the LSTM, in each direction.
        width: mels that it sees at a time.
        stride: mels from one place to the next; the places cover all mels.
        stack: see `StackedEncoder`.
        delta: see `StackedEncoder`.
    """

    def __init__(
        self,
        input_size: int,
        *,
        units: int,
        width: int,
        stride: int,
        stack: int = 1,
        delta: int = 0,
    ) -> None:
        super().__init__(input_size, stack=stack, delta=delta)
        self.width, self.stride = width, stride
        self.frequency_lstm = nn.LSTM(
            self.rows * width, units, batch_first=True, bidirectional=True
        )
        self.places = (input_size - width) // stride + 1
        self.output_size = self.places * 2 * units

    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Stack the next frames and read each step's frequencies; see `Encoder.step`."""
        stacked, state = super().step(frames, state)
        return self._read_frequencies(stacked), state

    def _read_frequencies(self, stacked: Tensor) -> Tensor:
        """Turn `(batch, steps, rows * mels)` into `(batch, steps, output_size)`."""
        batch, steps, _ = stacked.shape
        if steps == 0:
            return stacked.new_zeros(batch, 0, self.output_size)
        x = stacked.reshape(batch * steps, self.rows, self.input_size)
        places = x.unfold(2, self.width, self.stride).transpose(1, 2)  # (..., places, rows, width)
        outputs, _ = self.frequency_lstm(places.flatten(2))
        return outputs.reshape(batch, steps, self.output_size)
