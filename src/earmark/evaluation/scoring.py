"""Clips -> scores, in batches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.data.splits import ClipSet
from earmark.errors import DatasetError
from earmark.nn.classifier import LSTMClassifier

_LONGEST = 6000  # frames of a clip that may share a batch, two minutes


@torch.inference_mode()
def score_clips(
    model: LSTMClassifier, clips: ClipSet, *, batch_size: int = 32
) -> NDArray[np.float32]:
    """Return the probabilities of every clip, `(clips, classes)`, each read to its end.

    Clips of like length share a batch; padding is left out of the pooling, so a clip's scores do
    not depend on its neighbours. The model's mode and device are kept.
    """
    device, was_training = model.mean.device, model.training
    model.eval()
    scores = np.zeros((len(clips), model.settings.num_classes), np.float32)
    order = np.argsort(clips.frames, kind="stable")
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        if not model.settings.network.bidirectional:
            long = clips.frames[chosen] > _LONGEST
            for clip in chosen[long]:  # alone, as a stream, in bounded memory
                scores[clip] = _score_long(model, clips.clip(clip))
            chosen = chosen[~long]
            if len(chosen) == 0:
                continue
        lengths = clips.frames[chosen]
        # (batch, frames): a padded frame repeats the clip's last one
        places = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
        batch = torch.from_numpy(clips.gather(chosen, places)).to(device)
        scores[chosen] = model(batch, torch.from_numpy(lengths).to(device)).cpu().numpy()
    model.train(was_training)
    return scores


def _score_long(model: LSTMClassifier, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of one clip `(frames, input_size)` as `(classes,)`."""
    state = model.initial_state()
    for start in range(0, len(frames), _LONGEST):
        part = torch.from_numpy(frames[None, start : start + _LONGEST]).to(model.mean.device)
        _, state = model.step(part, state)
    if not state.steps:  # pragma: no cover - a clip this long fills many steps
        raise DatasetError(f"a clip of {len(frames)} frames is shorter than a step of the model")
    scores: NDArray[np.float32] = model.probabilities(model.embed_so_far(state))[0].cpu().numpy()
    return scores
