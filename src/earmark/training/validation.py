"""Clips held out of the training part: they choose the epoch and calibrate the scores.

They are carved out by source recording. The test part is not looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from earmark.config import Calibration, FrontEndSettings, TrainingSettings
from earmark.data.dataset import generate_negatives
from earmark.data.folds import validation_mask
from earmark.data.splits import ClipSet, Split
from earmark.decision.calibration import cross_entropy, fit_calibration
from earmark.errors import DatasetError
from earmark.evaluation.scoring import score_clips
from earmark.nn.classifier import LSTMClassifier

_NEGATIVES = 240  # generated clips that set the thresholds
_NEGATIVE_SEED = 10**9  # not the seed of those that training draws


@dataclass(frozen=True)
class TrainingParts:
    """A training part, divided.

    Attributes:
        fitted: clips that are trained on.
        validation: clips held out; None where all are trained on.
        held_out: a digest of which clips these are; empty where there are none.
    """

    fitted: ClipSet
    validation: ClipSet | None = None
    held_out: str = ""


def hold_clips_out(split: Split, settings: TrainingSettings) -> TrainingParts:
    """Divide a split's training part by the recipe's seed and share.

    Raises:
        DatasetError: a class has a single source recording.
    """
    part = split.train
    try:
        mask = validation_mask(
            part.labels, part.groups, settings.validation_fraction, settings.seed
        )
    except DatasetError as error:
        raise DatasetError(f"{split.title}: {error}") from None
    digest = hashlib.sha256(mask.tobytes()).hexdigest()
    return TrainingParts(part.select(~mask), part.select(mask), digest)


def validate_model(
    model: LSTMClassifier, validation: ClipSet, batch_size: int
) -> tuple[float, float]:
    """Return loss and accuracy on clips held out.

    Clips of no class count in the loss, with every class as right, and not in the accuracy.
    """
    scores, labels = score_clips(model, validation, batch_size=batch_size), validation.labels
    right = (scores.argmax(1) == labels)[validation.of_class]
    return cross_entropy(labels, scores), float(right.mean())


def calibrate_model(
    model: LSTMClassifier,
    validation: ClipSet,
    front_end: FrontEndSettings | None,
    settings: TrainingSettings,
) -> Calibration:
    """Fit temperature and thresholds on the validation clips and on generated negatives.

    Thresholds need negatives of a kind that the model was trained with, recorded or generated: a
    model that never met one is sure of itself on any noise, and the thresholds that stop it would
    stop its classes too.
    """
    scores = score_clips(model, validation, batch_size=settings.batch_size)
    negatives = None
    if front_end and settings.negatives_probability:
        generated = generate_negatives(front_end, _NEGATIVES, _NEGATIVE_SEED)
        negatives = score_clips(model, generated, batch_size=settings.batch_size)
    return fit_calibration(validation.labels, scores, negatives)
