"""What a training leaves in its folder, and what it shows meanwhile."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from earmark.evaluation.pictures import draw_curves
from earmark.io.files import write_text
from earmark.model_directory import TrainedModel, save_model
from earmark.training.checkpoint import Checkpoint, write_checkpoint
from earmark.training.stopping import Progress

HISTORY = "history.csv"
CURVES = "curves.png"
_STEPS_A_REFRESH = 5


class Recorder:
    """Writes history, model, checkpoint and curves; draws a bar, or prints a line an epoch.

    Used as a context: at its end, interrupted or not, the curves of what was learnt are drawn.

    Args:
        folder: the run's folder; None: nothing is written or shown, as by all but one process.
        title: what is trained on, over the curves.
        progress: where the training stands; it is read, not changed.
        num_epochs: most epochs.
        steps: steps of an epoch.
        show_progress: draw a bar when the output is a terminal, else a line for each epoch.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        title: str,
        progress: Progress,
        num_epochs: int,
        steps: int,
        show_progress: bool,
    ) -> None:
        self.folder, self.title, self.progress = folder, title, progress
        self.num_epochs = num_epochs
        self.show_progress = show_progress and folder is not None
        self.bar = tqdm(
            total=num_epochs * steps,
            initial=progress.epochs_done * steps,
            unit="step",
            disable=None if self.show_progress else True,
        )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
        done = self.progress
        if self.folder is not None and done.best_epoch:
            draw_curves(self.folder / CURVES, done.history, done.best_epoch, self.title)

    def wants_figures(self, step: int) -> bool:
        """Tell whether the bar shows figures after step number `step` of an epoch."""
        return not self.bar.disable and step % _STEPS_A_REFRESH == _STEPS_A_REFRESH - 1

    def show_step(self, epoch: int, loss: float, accuracy: float) -> None:
        """Show the mean loss and accuracy of an epoch so far, beside the last validation."""
        shown = {"epoch": str(epoch), "loss": f"{loss:.3f}", "acc": f"{accuracy:.3f}"}
        history = self.progress.history
        if history and history[-1]["validation_loss"] is not None:
            shown["val_loss"] = f"{history[-1]['validation_loss']:.3f}"
            shown["val_acc"] = f"{history[-1]['validation_accuracy']:.3f}"
        self.bar.set_postfix(shown)

    def write_epoch(self, checkpoint: Checkpoint, best: TrainedModel | None) -> None:
        """Write what there is after an epoch.

        Args:
            checkpoint: what the training needs to go on.
            best: the model, if it is the best so far and worth keeping.
        """
        if self.folder is None:
            return
        if best is not None:
            save_model(self.folder, best)
        write_text(self.folder / HISTORY, format_history(self.progress.history))
        write_checkpoint(self.folder, checkpoint)
        if self.show_progress and self.bar.disable:
            print(describe_epoch(self.progress.history[-1], self.num_epochs), flush=True)

    def write_model(self, trained: TrainedModel) -> None:
        """Write the finished model."""
        if self.folder is not None:
            save_model(self.folder, trained)


def format_history(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of a history as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def describe_epoch(row: Mapping[str, Any], num_epochs: int) -> str:
    """Say in one line what an epoch gave."""
    line = (
        f"epoch {row['epoch']}/{num_epochs}: "
        f"loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.3f}"
    )
    if row["validation_loss"] is not None:
        line += (
            f", validation loss {row['validation_loss']:.3f}, "
            f"accuracy {row['validation_accuracy']:.3f}"
        )
    return line
