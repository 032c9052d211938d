"""A training recipe's hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from earmark.config.codec import check, check_at_least, check_types, rename_keys, setting
from earmark.config.model import NetworkSettings, separate_network


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    What each setting means stands beside it, where `--help` and the recipes read it too. The
    defaults are those of the documented command.
    """

    EARLIER_NAMES: ClassVar[dict[str, str]] = {
        "views": "crops_per_clip",
        "joined": "clips_per_sequence",
        "moments": "segment_loss_weight",
        "moment_seconds": "segment_seconds",
        "backgrounds": "negatives_probability",
        "average": "ema_decay",
        "clip_norm": "max_grad_norm",
        "mix_probability": "mixup_probability",
        "tilt": "random_eq",
    }

    # Settings that earlier versions did not have.
    LATER: ClassVar[dict[str, Any]] = {
        "max_shift_seconds": 0.0,
        "frozen": False,
        "head_strength": 0.1,
    }

    network: NetworkSettings = NetworkSettings()
    batch_size: int = setting(32, "clips in one step, over all processes")
    num_epochs: int = setting(
        50, "most epochs; each shows every training clip as often as crops_per_clip says"
    )
    learning_rate: float = setting(
        0.001, "highest rate of the one-cycle schedule: a rise, then a half cosine to zero"
    )
    patience: int = setting(
        5,
        "epochs with neither a lower validation loss nor a higher accuracy before training stops, "
        "counted in the second half of the schedule",
    )
    seed: int = setting(
        0, "seed of weights, order, augmentation, dropout and of the choice of validation clips"
    )
    crops_per_clip: int = setting(6, "augmented crops of each clip in an epoch")
    clip_seconds: float = setting(5.0, "length of an augmented crop, which is circular")
    max_shift_seconds: float = setting(
        0.0,
        "crops hold a clip once, moved by at most so much from their middle either way, with its "
        "first and last frame held outside; 0: crops are circular and begin anywhere in a clip",
    )
    validation_fraction: float = setting(
        0.15,
        "share of the training clips held out, by source recording, to choose the epoch: the "
        "nearest of a half, a third, a quarter, ...",
    )
    refit: bool = setting(
        False,
        "train once more on all training clips, validation included, for the whole schedule; "
        "calibration stays that of the validated run",
    )
    warmup: float = setting(0.1, "share of all steps in which the rate rises")
    weight_decay: float = setting(0.01, "AdamW's decay")
    max_grad_norm: float = setting(1.0, "gradients longer than this are scaled down to it")
    ema_decay: float = setting(
        0.998, "decay of the running average of the weights that is validated and saved; 0: off"
    )
    label_smoothing: float = setting(0.0, "share of the target spread evenly over all classes")
    teacher: float = setting(
        0.0,
        "share of the target that comes from a teacher, another model of the same front end that "
        "was trained on the same clips and scores the same crop; 0: none is used",
    )
    balance: float = setting(
        0.0,
        "how far rare classes weigh more in the loss: (1 / clips of the class) ** balance, from "
        "the original counts; 0: not at all, 1: every class alike",
    )
    mixup_probability: float = setting(
        0.5,
        "share of the crops of clips that are mixed with another clip or a negative, with a label "
        "in proportion",
    )
    gain: float = setting(2.0, "largest level change, natural log of power, either way")
    random_eq: float = setting(0.5, "spread of the random smooth filter, natural log of power")
    mel_shift: int = setting(2, "largest shift along the mel axis, in bands, either way")
    pitch: float = setting(0.0, "largest change of pitch, natural log of frequency, either way")
    stretch: float = setting(0.0, "largest change of tempo, natural log, either way")
    time_mask: float = setting(
        0.12, "longest stretch of time blanked, as a share of the crop, twice a crop"
    )
    mel_mask: int = setting(8, "widest range of mel bands blanked, twice a crop")
    noise: float = setting(
        0.0, "highest level of added noise above the floor, natural log of power; 0: none"
    )
    clips_per_sequence: int = setting(
        1,
        "augmented crops laid end to end as one stream, the LSTM's state carried on, so that it "
        "learns to go on for hours; 1: each crop starts anew",
    )
    segment_loss_weight: float = setting(
        0.0,
        "weight of the scores of segments in the loss, beside 1 of whole crops; their targets are "
        "the classes that sound just then, or every class alike where none does",
    )
    segment_seconds: float = setting(
        2.0, "the model's outputs over this long are pooled into the scores of a segment"
    )
    negatives_probability: float = setting(
        0.0,
        "share of crops that are generated noises, tones, hums, clicks, speech and silence, whose "
        "target is every class alike, so that such input is not taken for a class",
    )

    frozen: bool = setting(
        False,
        "fit only the last layer, a regression, to what the network of the model to start from "
        "gives of each clip; everything else stays as it is",
    )
    head_strength: float = setting(
        0.1, "C of that regression, the inverse of its regularisation; the features have spread 1"
    )

    def __post_init__(self) -> None:
        check_types(self)
        whole = ("batch_size", "num_epochs", "patience", "crops_per_clip", "clips_per_sequence")
        check_at_least(self, whole, 1)
        positive = ("clip_seconds", "max_grad_norm", "segment_seconds", "head_strength")
        for name in ("learning_rate", *positive):
            check(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        check(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2^63 - 1", self.seed)
        for name in ("ema_decay", "label_smoothing", "warmup", "negatives_probability"):
            value = getattr(self, name)
            check(0 <= value < 1, name, "at least 0 and below 1", value)
        share = self.validation_fraction
        check(0 < share <= 0.5, "validation_fraction", "above 0 and at most 0.5", share)
        for name in ("mixup_probability", "balance", "teacher"):
            check(0 <= getattr(self, name) <= 1, name, "0 to 1", getattr(self, name))
        changes = ("gain", "random_eq", "mel_shift", "pitch", "stretch", "noise")
        masks = ("time_mask", "mel_mask", "max_shift_seconds")
        check_at_least(self, (*changes, *masks, "weight_decay", "segment_loss_weight"), 0)
        divides = self.batch_size % self.clips_per_sequence == 0
        rule = "a divisor of batch_size"
        check(divides, "clips_per_sequence", rule, self.clips_per_sequence)
        for name, alone in (("clips_per_sequence", 1), ("segment_loss_weight", 0)):
            value = getattr(self, name)
            rule = f"{alone} for a bidirectional model, which cannot stream"
            check(not self.network.bidirectional or value == alone, name, rule, value)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier versions wrote under the names of now, with the network apart, and
        with what came later."""
        renamed = rename_keys(values, TrainingSettings.EARLIER_NAMES)
        return {**TrainingSettings.LATER, **separate_network(renamed)}
