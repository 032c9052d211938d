"""What training makes small: the loss of whole crops and of segments within them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earmark.config import TrainingSettings
from earmark.data.negatives import NO_CLASS
from earmark.nn.classifier import LSTMClassifier, segment_stride
from earmark.training.augment import Crops

_FILLED = 0.1  # share of a segment's window from which it counts as sounding


class Objective(nn.Module):
    """The model and its loss as one module, so that several processes share its gradients.

    Args:
        model: what learns.
        settings: the recipe.
        weight: what each class weighs, `(classes,)`.
        window: steps pooled into the scores of a segment.
    """

    def __init__(
        self, model: LSTMClassifier, settings: TrainingSettings, weight: Tensor, window: int
    ) -> None:
        super().__init__()
        self.model, self.settings, self.window = model, settings, window
        self.loss = nn.CrossEntropyLoss(weight, label_smoothing=settings.label_smoothing)

    def forward(self, crops: Crops) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean loss and, of crops with a heaviest label, where it wins and the number.

        Where every class is as right, as for a negative, no label is the heaviest.
        """
        x, targets, activity = crops
        recipe = self.settings
        if recipe.clips_per_sequence == 1 and recipe.segment_loss_weight == 0:
            logits = self.model.logits(x)
            loss = self.loss(logits, targets)
        else:
            logits, segments = self.model.logits_of_sequences(
                x, recipe.clips_per_sequence, self.window
            )
            loss = self.loss(logits, targets)
            if recipe.segment_loss_weight:
                wanted = segment_targets(activity, self.model.frames_per_step, self.window)
                loss = loss + recipe.segment_loss_weight * self.loss(
                    segments.flatten(0, 1), wanted.flatten(0, 1)
                )
        decided = targets.amax(1) > targets.amin(1)
        correct = (logits.argmax(1) == targets.argmax(1)) & decided
        return loss, correct.sum(), decided.sum()


def segment_targets(activity: Tensor, frames_per_step: int, window: int) -> Tensor:
    """Return the soft label of each segment that `LSTMClassifier.logits_of_sequences` scores.

    Args:
        activity: the part of each class that sounds in each frame, `(batch, frames, classes)`.
        frames_per_step: frames of each step.
        window: steps of each segment.

    Returns:
        `(batch, segments, classes)`, each summing to 1: the classes that sound, in proportion. The
        less of a window is filled, below a tenth of it, the more evenly all classes share.
    """
    length, hop = window * frames_per_step, segment_stride(window) * frames_per_step
    parts = activity.unfold(1, length, hop).mean(-1)
    filled = parts.sum(2, keepdim=True)
    sure = (filled / _FILLED).clamp(max=1)
    return torch.lerp(
        torch.full_like(parts, 1 / parts.shape[2]), parts / filled.clamp_min(1e-6), sure
    )


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> Tensor:
    """Return what a clip of each class weighs in the loss, `(classes,)`, 1 on average over clips.

    Args:
        labels: class numbers of the training clips, before any are held out or repeated; negatives
            among them are left out of the counts.
        classes: number of classes.
        balance: 0 weighs every clip alike, 1 every class.
    """
    counts = np.bincount(labels[labels != NO_CLASS], minlength=classes).astype(np.float64)
    weights = np.maximum(counts, 1) ** -balance
    weights *= counts.sum() / (weights * counts).sum()
    return torch.from_numpy(weights).float()
