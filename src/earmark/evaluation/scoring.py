"""Clips in memory -> scores, in batches. Layer 5: torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.data.splits import ClipSet
from earmark.model import LSTMClassifier


@torch.inference_mode()
def score_clips(
    model: LSTMClassifier, clips: ClipSet, *, batch_size: int = 32
) -> NDArray[np.float32]:
    """Return the probabilities of every clip, `(clips, classes)`, each heard to its end.

    Clips of like length share a batch; padding is left out of the pooling, so a clip's scores do
    not depend on its neighbours. The model's mode and device are kept.
    """
    device, was_training = model.mean.device, model.training
    model.eval()
    scores = np.zeros((len(clips), model.settings.num_classes), np.float32)
    features = torch.from_numpy(clips.features)
    starts, order = clips.starts, np.argsort(clips.frames, kind="stable")
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        lengths = torch.from_numpy(clips.frames[chosen])
        steps = torch.arange(int(lengths.max()))
        # (batch, frames): a padded frame repeats the clip's last one
        places = torch.from_numpy(starts[chosen])[:, None] + torch.minimum(
            steps, lengths[:, None] - 1
        )
        batch = features[places].to(device)
        logits = model.logits(batch, lengths.to(device))
        scores[chosen] = torch.softmax(logits.float(), dim=1).cpu().numpy()
    model.train(was_training)
    return scores


def cross_entropy(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float:
    """Return the mean negative log probability of the true class, in nats."""
    chosen = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())
