"""LSTM outputs -> one vector: over a whole clip, over a stream so far, over windows of it.

    outputs     (batch, steps, size)
    measure     (batch, steps, statistics)      numbers kept of each step
    join        (batch, statistics)             those of many steps
    finish      (batch, output_size)            what the head classifies

Statistics are a value: joined in any order and grouping they give the same vector, so that a clip,
a stream and a sliding window are pooled by the same three lines. Zeros are the statistics of no
step at all: they add nothing to a sum, and lie below every output plus 1.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor, nn

MOST_WEIGHT = 8.0  # natural logarithm, so that no step outweighs all others for ever


class Pooling(nn.Module, abc.ABC):
    """Pools the outputs of an LSTM, each between -1 and 1.

    Args:
        size: features of an output.
        statistics: numbers kept of a step.
        output_size: features of the pooled vector.
    """

    def __init__(self, size: int, *, statistics: int, output_size: int) -> None:
        super().__init__()
        self.size = size
        self.statistics = statistics
        self.output_size = output_size

    @abc.abstractmethod
    def measure(self, outputs: Tensor) -> Tensor:
        """Return the statistics `(..., steps, statistics)` of outputs `(..., steps, size)`."""

    @abc.abstractmethod
    def join(self, statistics: Tensor, dim: int) -> Tensor:
        """Join the statistics of many steps, which lie along `dim`, into those of all of them."""

    @abc.abstractmethod
    def finish(self, statistics: Tensor, last: Tensor) -> Tensor:
        """Return the pooled vector.

        Args:
            statistics: joined ones of a step or more, `(..., statistics)`.
            last: the last output among them, `(..., size)`.

        Returns:
            `(..., output_size)`.
        """

    def forward(self, outputs: Tensor, counts: Tensor | None = None) -> Tensor:
        """Pool whole clips.

        Args:
            outputs: `(batch, steps, size)`.
            counts: steps of each clip, `(batch,)`; what lies behind them is padding.

        Returns:
            `(batch, output_size)`.
        """
        statistics = self.measure(outputs)
        if counts is None:
            return self.finish(self.join(statistics, 1), outputs[:, -1])
        clips = torch.arange(len(outputs), device=outputs.device)
        steps = torch.arange(outputs.shape[1], device=outputs.device)
        inside = (steps < counts[:, None])[..., None]
        return self.finish(self.join(statistics * inside, 1), outputs[clips, counts - 1])

    def initial(self, batch: int, *, device: torch.device | None = None) -> Tensor:
        """Return the statistics `(batch, statistics)` of streams before their first step."""
        return torch.zeros(batch, self.statistics, device=device)

    def step(self, outputs: Tensor, pooled: Tensor) -> Tensor:
        """Return the statistics of everything so far, the next outputs included.

        Args:
            outputs: `(batch, steps, size)`, of a step or more.
            pooled: `(batch, statistics)`, from `initial` or the step before.
        """
        # Summed first, so that not every step is rounded against the sum of hours.
        fresh = self.join(self.measure(outputs), 1)
        return self.join(torch.stack([pooled, fresh], dim=1), 1)

    def slide(self, outputs: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, for each of the next outputs, the window of steps that ends with it.

        Args:
            outputs: `(batch, steps, size)`, none included.
            recent: statistics of the steps before, `(batch, window - 1, statistics)`, zeros at the
                start; from the call before.

        Returns:
            `(batch, steps, output_size)`, and the `recent` of the next call.
        """
        steps = outputs.shape[1]
        if steps == 0:
            return outputs.new_zeros(len(outputs), 0, self.output_size), recent
        joined = torch.cat([recent, self.measure(outputs)], dim=1)
        windows = joined.unfold(1, recent.shape[1] + 1, 1).transpose(2, 3)
        return self.finish(self.join(windows, 2), outputs), joined[:, steps:]

    def cut(self, outputs: Tensor, window: int, stride: int) -> tuple[Tensor, Tensor]:
        """Pool clips whole, and windows of them.

        Args:
            outputs: `(batch, steps, size)`.
            window: steps of a window, at most those of a clip.
            stride: steps from one window to the next; the first begins with the clip.

        Returns:
            `(batch, output_size)` and `(batch, windows, output_size)`.
        """
        statistics = self.measure(outputs)
        windows = statistics.unfold(1, window, stride).transpose(2, 3)
        return (
            self.finish(self.join(statistics, 1), outputs[:, -1]),
            self.finish(self.join(windows, 2), outputs[:, window - 1 :: stride]),
        )


class MeanPooling(Pooling):
    """The mean. Kept of a step: its output and a weight of 1, both to be summed."""

    def __init__(self, size: int) -> None:
        super().__init__(size, statistics=size + 1, output_size=size)

    def weigh(self, outputs: Tensor) -> Tensor:
        """Return the weight of each output, `(..., steps, 1)`."""
        return torch.ones_like(outputs[..., :1])

    def measure(self, outputs: Tensor) -> Tensor:
        """Return weighted outputs and their weights; see `Pooling.measure`."""
        outputs = outputs.float()
        weights = self.weigh(outputs)
        return torch.cat([outputs * weights, weights], dim=-1)

    def join(self, statistics: Tensor, dim: int) -> Tensor:
        """Sum; see `Pooling.join`."""
        return statistics.sum(dim)

    def finish(self, statistics: Tensor, last: Tensor) -> Tensor:  # noqa: ARG002
        """Divide the sum by the weight; see `Pooling.finish`."""
        return statistics[..., :-1] / statistics[..., -1:]


class AttentionPooling(MeanPooling):
    """A mean in which every output has the weight it asks for.

    Bahdanau et al. 2015 and, without a query, Raffel and Ellis 2016 ("Feed-forward networks with
    attention can solve some long-term memory problems"); the logarithm of a weight is held between
    -8 and 8, so that a stream can go on for ever.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.attention = nn.Linear(size, 1)

    def weigh(self, outputs: Tensor) -> Tensor:
        """Return the weight of each output, `(..., steps, 1)`."""
        asked: Tensor = self.attention(outputs)
        return asked.clamp(-MOST_WEIGHT, MOST_WEIGHT).exp()


class MaxPooling(Pooling):
    """The largest value of each feature. Kept of a step: its output plus 1, so at least 0."""

    def __init__(self, size: int) -> None:
        super().__init__(size, statistics=size, output_size=size)

    def measure(self, outputs: Tensor) -> Tensor:
        """Return the outputs plus 1; see `Pooling.measure`."""
        return outputs.float() + 1

    def join(self, statistics: Tensor, dim: int) -> Tensor:
        """Keep the largest; see `Pooling.join`."""
        return statistics.amax(dim)

    def finish(self, statistics: Tensor, last: Tensor) -> Tensor:  # noqa: ARG002
        """Take the 1 away again; see `Pooling.finish`."""
        return statistics - 1


class MeanMaxPooling(Pooling):
    """The mean and the largest value of each feature, side by side."""

    def __init__(self, size: int) -> None:
        mean, largest = MeanPooling(size), MaxPooling(size)
        super().__init__(
            size, statistics=mean.statistics + largest.statistics, output_size=2 * size
        )
        self.mean, self.largest = mean, largest

    def measure(self, outputs: Tensor) -> Tensor:
        """Return the statistics of both; see `Pooling.measure`."""
        return torch.cat([self.mean.measure(outputs), self.largest.measure(outputs)], dim=-1)

    def join(self, statistics: Tensor, dim: int) -> Tensor:
        """Join those of each; see `Pooling.join`."""
        summed, largest = self.split(statistics)
        return torch.cat([self.mean.join(summed, dim), self.largest.join(largest, dim)], dim=-1)

    def finish(self, statistics: Tensor, last: Tensor) -> Tensor:
        """Return mean and largest; see `Pooling.finish`."""
        summed, largest = self.split(statistics)
        parts = [self.mean.finish(summed, last), self.largest.finish(largest, last)]
        return torch.cat(parts, dim=-1)

    def split(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean's statistics and the largest's."""
        size = self.mean.statistics
        return statistics[..., :size], statistics[..., size:]


class LastPooling(Pooling):
    """The last output. Nothing is kept of a step."""

    def __init__(self, size: int) -> None:
        super().__init__(size, statistics=0, output_size=size)

    def measure(self, outputs: Tensor) -> Tensor:
        """Return no statistics; see `Pooling.measure`."""
        return outputs[..., :0].float()

    def join(self, statistics: Tensor, dim: int) -> Tensor:
        """Return no statistics; see `Pooling.join`."""
        return statistics.sum(dim)

    def finish(self, statistics: Tensor, last: Tensor) -> Tensor:  # noqa: ARG002
        """Return the last output; see `Pooling.finish`."""
        return last


def build_pooling(name: str, size: int) -> Pooling:
    """Return the pooling of a name in `earmark.config.POOLINGS`, for outputs of `size` features."""
    kinds: dict[str, Callable[[int], Pooling]] = {
        "mean": MeanPooling,
        "max": MaxPooling,
        "meanmax": MeanMaxPooling,
        "last": LastPooling,
        "attention": AttentionPooling,
    }
    return kinds[name](size)
