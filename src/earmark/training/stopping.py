"""Which epoch is best, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Where a training stands; what its checkpoint records beside the tensors.

    Attributes:
        history: a row for each epoch, see `earmark.training.loop`.
        best_epoch: number of the epoch whose weights are kept, from 1 on; 0 before the first.
        stopped: why training stopped early; empty while it has not.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    stopped: str = ""

    @property
    def epochs_done(self) -> int:
        """Number of epochs trained."""
        return len(self.history)

    def add(self, row: dict[str, Any]) -> bool:
        """Add an epoch's row and tell whether its weights are the ones to keep.

        These are the weights of the lowest validation loss; where nothing is validated, the last.
        """
        best = self.history[self.best_epoch - 1] if self.best_epoch else None
        self.history.append(row)
        loss = row["validation_loss"]
        if best is None or loss is None or loss < best["validation_loss"]:
            self.best_epoch = row["epoch"]
            return True
        return False

    def stop_early(self, *, patience: int, num_epochs: int) -> None:
        """Write down that training stops, if `patience` epochs brought nothing.

        Patience counts in the falling half of the schedule: before, the rate is so high that a few
        epochs without progress say little. Progress is a lower loss or a higher accuracy.
        """
        counted = max(find_last_progress(self.history), num_epochs // 2)
        if self.epochs_done - counted >= patience:
            self.stopped = f"no better epoch for {patience} epochs"


def find_last_progress(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the last epoch that lowered the validation loss or raised the accuracy."""
    epochs = range(1, len(history) + 1)
    losses = [row["validation_loss"] for row in history]
    accuracies = [row["validation_accuracy"] for row in history]
    lowest = min(epochs, key=lambda epoch: losses[epoch - 1])
    return max(lowest, max(epochs, key=lambda epoch: accuracies[epoch - 1]))
