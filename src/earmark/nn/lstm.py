"""The LSTM over time, plain or added to what it reads.

    steps       (batch, steps, features)
    LSTM        (batch, steps, hidden_size)     Hochreiter and Schmidhuber 1997
    residual    (batch, steps, features)        steps + a linear map of the LSTM's outputs

The sum is that of He et al. 2016 ("Deep residual learning for image recognition"). Its map starts
at zero, so that an untrained LSTM leaves the steps of a trained encoder as they are.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from earmark.config import NetworkSettings


class ResidualLSTM(nn.LSTM):
    """An LSTM whose outputs are mapped and added to its inputs."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.mend = nn.Linear(hidden_size, input_size)
        nn.init.zeros_(self.mend.weight)
        nn.init.zeros_(self.mend.bias)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return `(batch, steps, input_size)` and the state, as `torch.nn.LSTM` does."""
        outputs, state = super().forward(input, hx)
        return input + self.mend(outputs), state


def build_lstm(input_size: int, network: NetworkSettings) -> nn.LSTM:
    """Return the untrained LSTM that the settings ask for.

    Args:
        input_size: features of a step.
        network: the settings.
    """
    kind = ResidualLSTM if network.residual else nn.LSTM
    return kind(
        input_size,
        network.hidden_size,
        network.num_layers,
        batch_first=True,
        dropout=network.dropout if network.num_layers > 1 else 0.0,
        bidirectional=network.bidirectional,
    )
