"""Frozen settings, saved with every model and rebuilt from it. Layer 0: imports errors only.

A setting that changes a shape, a feature or a score stands in one of these classes and nowhere
else. Values are checked where they enter, so a wrong flag or an edited file is one clear line.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from earmark.errors import SettingsError

Settings = TypeVar("Settings")

POOLINGS = ("mean", "max", "meanmax", "last", "attention")
Convolutions = tuple[tuple[int, int, int, int, int], ...]
FrequencyLSTM = tuple[int, ...]  # none, or units, mels and stride
_LARGEST = 2**24  # of what gives weights their shape


def _setting(default: Any, text: str) -> Any:
    """Return a dataclass field whose meaning can be read from it."""
    return dataclasses.field(default=default, metadata={"help": text})


def _convolutions(value: object) -> Convolutions:
    """Return lists of lists, as JSON and TOML give them, as tuples."""
    try:
        layers = tuple(tuple(layer) for layer in value)  # type: ignore[attr-defined]
    except TypeError:
        layers = ((),)
    whole = all(len(layer) == 5 and all(type(n) is int for n in layer) for layer in layers)
    rule = "a list of [channels, frames, mels, frame stride, mel stride]"
    _check(whole, "convolutions", rule, value)
    return layers


def _check(ok: bool, name: str, rule: str, value: object) -> None:
    if not ok:
        raise SettingsError(f"{name} must be {rule}, got {value!r}")


def _check_size(name: str, value: int) -> None:
    _check(1 <= value <= _LARGEST, name, f"1 to {_LARGEST}", value)


def _check_types(settings: Any) -> None:
    """Refuse a value whose type is not the field's; an int where a float is meant becomes one."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        if hint == Convolutions:
            object.__setattr__(settings, field.name, _convolutions(value))
            continue
        if hint in (tuple[float, ...], FrequencyLSTM):
            kind, names = (int, "whole numbers") if hint == FrequencyLSTM else (float, "numbers")
            numbers = isinstance(value, (list, tuple)) and all(type(v) is kind for v in value)
            _check(numbers, field.name, f"a list of {names}", value)
            object.__setattr__(settings, field.name, tuple(value))
            continue
        allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if type(value).__module__ == "numpy" and hasattr(value, "item"):  # one of its numbers
            object.__setattr__(settings, field.name, value := value.item())
        if float in allowed and type(value) is int:
            _check(abs(value) < 2**1000, field.name, "a finite number", "a huge whole number")
            object.__setattr__(settings, field.name, value := float(value))
        if type(value) not in allowed:
            names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
            raise SettingsError(f"{field.name} must be of type {names}, got {value!r}")
        if isinstance(value, float):
            _check(math.isfinite(value), field.name, "a finite number", value)
        if type(value) is int:
            _check(abs(value) < 2**63, field.name, "below 2^63", value)


@dataclasses.dataclass(frozen=True)
class FrontEndSettings:
    """How a waveform becomes log-mel frames.

    Attributes:
        rate_hz: sample rate of the model; other rates are resampled to it.
        window_samples: length of the Hann window and of the Fourier transform.
        hop_samples: samples from one frame to the next, at most the window.
        mels: mel bands per frame, the `input_size` of the documented model.
        low_hz: lower edge of the first mel band.
        high_hz: upper edge of the last mel band, at most half of `rate_hz`.
        floor: power added before the logarithm; it hides quantisation noise and digital silence.
    """

    rate_hz: int = 32_000
    window_samples: int = 1024
    hop_samples: int = 640
    mels: int = 40
    low_hz: float = 20.0
    high_hz: float = 16_000.0
    floor: float = 1e-6

    def __post_init__(self) -> None:
        _check_types(self)
        _check(4_000 <= self.rate_hz <= 384_000, "rate_hz", "4000 to 384000", self.rate_hz)
        _check(self.window_samples >= 2, "window_samples", "at least 2", self.window_samples)
        rule = "1 to window_samples"
        _check(1 <= self.hop_samples <= self.window_samples, "hop_samples", rule, self.hop_samples)
        _check(self.mels >= 1, "mels", "at least 1", self.mels)
        _check(self.low_hz >= 0, "low_hz", "at least 0", self.low_hz)
        rule = "above low_hz and at most half of rate_hz"
        _check(self.low_hz < self.high_hz <= self.rate_hz / 2, "high_hz", rule, self.high_hz)
        _check(self.floor > 0, "floor", "above 0", self.floor)

    @property
    def frames_per_second(self) -> float:
        """Frames the front end gives for each second of audio."""
        return self.rate_hz / self.hop_samples


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The shape of the network; with `input_size` and the classes it rebuilds the model.

    Attributes:
        input_size: features per frame.
        hidden_size: units of each LSTM layer.
        num_layers: LSTM layers.
        num_classes: classes, one probability each.
        dropout: share of units dropped while training, 0 up to but not including 1.
        bidirectional: also read backwards; such a model cannot stream.
        stack: consecutive frames joined into one LSTM step.
        delta: frames back to which each frame's change is added as features; 0: none.
        pooling: how LSTM outputs become one vector: mean, max, meanmax, last or attention.
        convolutions: causal convolutions before the LSTM, none by default; each is (channels,
            frames, mels, frame stride, mel stride). They take the place of `stack` and `delta`.
        frequency_lstm: an LSTM over the frequencies of each step, whose outputs the LSTM over time
            is given: units in each direction, mels it sees at a time, and mels from one place to
            the next; empty: none.
    """

    input_size: int
    hidden_size: int
    num_layers: int
    num_classes: int
    dropout: float = 0.3
    bidirectional: bool = False
    stack: int = 1
    delta: int = 0
    pooling: str = "mean"
    convolutions: Convolutions = ()
    frequency_lstm: FrequencyLSTM = ()

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("input_size", "num_classes"):
            _check_size(name, getattr(self, name))
        _check(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _check_shape(self)
        if self.frequency_lstm:
            _, width, stride = self.frequency_lstm
            rule = f"[units, mels, step] whose places cover the {self.input_size} mels of a frame"
            fits = stride <= width <= self.input_size and (self.input_size - width) % stride == 0
            _check(fits, "frequency_lstm", rule, self.frequency_lstm)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What turns a model's scores into decisions; fitted on validation clips.

    Attributes:
        temperature: the logits are divided by it before the softmax.
        thresholds: score from which each class counts as heard, in class order; when no class
            reaches its own, the clip is none of these. Empty: nothing is rejected.
        false_alarm_rate: share of the backgrounds, and of clips of other classes, that reached the
            thresholds when they were fitted.
        clips: validation clips they were fitted on.
        backgrounds: generated clips of no class they were fitted on.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    false_alarm_rate: float = 0.0
    clips: int = 0
    backgrounds: int = 0

    def __post_init__(self) -> None:
        _check_types(self)
        _check(self.temperature > 0, "temperature", "above 0", self.temperature)
        inside = all(0 <= value <= 1 for value in self.thresholds)
        _check(inside, "thresholds", "numbers from 0 to 1", self.thresholds)
        rate = self.false_alarm_rate
        _check(0 <= rate < 1, "false_alarm_rate", "at least 0 and below 1", rate)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """A training recipe: the documented flags first, then what the documented command fixes.

    What each setting means stands beside it, where `--help` and the recipes read it too.
    """

    batch_size: int = _setting(32, "clips in one step, over all processes")
    num_epochs: int = _setting(
        50, "most epochs; each shows every training clip as often as views says"
    )
    learning_rate: float = _setting(
        0.001, "highest rate of the one-cycle schedule: a rise, then a half cosine to zero"
    )
    hidden_size: int = _setting(128, "units of each LSTM layer")
    num_layers: int = _setting(2, "LSTM layers")
    dropout: float = _setting(0.3, "share of units dropped while training")
    patience: int = _setting(
        5,
        "epochs with neither a lower validation loss nor a higher accuracy before training stops, "
        "counted in the second half of the schedule",
    )
    seed: int = _setting(
        0, "seed of weights, order, augmentation, dropout and of the choice of validation clips"
    )
    bidirectional: bool = _setting(False, "also read backwards; such a model cannot stream")
    stack: int = _setting(5, "consecutive frames joined into one LSTM step")
    delta: int = _setting(
        5, "frames back to which each frame's change is added as features; 0: none"
    )
    pooling: str = _setting(
        "mean", "how LSTM outputs become one vector: mean, max, meanmax, last or attention"
    )
    convolutions: Convolutions = _setting(
        (),
        "causal convolutions before the LSTM, as [[channels, frames, mels, frame stride, mel "
        "stride], ...]; they need stack 1 and delta 0",
    )
    frequency_lstm: FrequencyLSTM = _setting(
        (),
        "an LSTM over the frequencies of each step, up and down, before the one over time, as "
        "[units, mels it sees at a time, mels from place to place], whose places cover all mels; "
        "not with convolutions",
    )
    views: int = _setting(6, "augmented views of each clip in an epoch")
    clip_seconds: float = _setting(5.0, "length of the circular crop that a view is")
    validation_fraction: float = _setting(
        0.15,
        "share of the training clips held out, by source recording, to choose the epoch: the "
        "nearest of a half, a third, a quarter, ...",
    )
    refit: bool = _setting(
        False,
        "train once more on all training clips, validation included, for the whole schedule; "
        "calibration stays that of the validated run",
    )
    warmup: float = _setting(0.1, "share of all steps in which the rate rises")
    weight_decay: float = _setting(0.01, "AdamW's decay")
    clip_norm: float = _setting(1.0, "gradients longer than this are scaled down to it")
    average: float = _setting(
        0.998, "decay of the running average of the weights that is validated and saved; 0: off"
    )
    label_smoothing: float = _setting(0.0, "share of the target spread evenly over all classes")
    teacher: float = _setting(
        0.0,
        "share of the target that comes from a teacher, another model of the same front end that "
        "was trained on the same clips and hears the same view; 0: none is used",
    )
    balance: float = _setting(
        0.0,
        "how far rare classes weigh more in the loss: (1 / clips of the class) ** balance, from "
        "the original counts; 0: not at all, 1: every class alike",
    )
    mix_probability: float = _setting(
        0.5,
        "share of the views of clips that are mixed with another clip or a background, with a "
        "label in proportion",
    )
    gain: float = _setting(2.0, "largest level change, natural log of power, either way")
    tilt: float = _setting(0.5, "spread of the random smooth filter, natural log of power")
    mel_shift: int = _setting(2, "largest shift along the mel axis, in bands, either way")
    pitch: float = _setting(0.0, "largest change of pitch, natural log of frequency, either way")
    stretch: float = _setting(0.0, "largest change of tempo, natural log, either way")
    time_mask: float = _setting(
        0.12, "longest stretch of time blanked, as a share of the view, twice a view"
    )
    mel_mask: int = _setting(8, "widest range of mel bands blanked, twice a view")
    noise: float = _setting(
        0.0, "highest level of added noise above the floor, natural log of power; 0: none"
    )
    joined: int = _setting(
        1,
        "views heard one after the other as one stream, the LSTM's state carried on, so that it "
        "learns to go on for hours; 1: each view starts anew",
    )
    moments: float = _setting(
        0.0,
        "weight of the scores of single moments in the loss, beside 1 of whole views; their "
        "targets are the classes that sound just then, or every class alike where none does",
    )
    moment_seconds: float = _setting(
        2.0, "the model's outputs over this long are pooled into the scores of a moment"
    )
    backgrounds: float = _setting(
        0.0,
        "share of views that are generated noises, tones, hums, clicks, speech and silence, whose "
        "target is every class alike, so that such input is not taken for a class",
    )

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("batch_size", "num_epochs", "patience", "views", "joined"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "clip_seconds", "clip_norm", "moment_seconds"):
            _check(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        _check(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _check(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2^63 - 1", self.seed)
        _check_shape(self)
        for name in ("average", "label_smoothing", "warmup", "backgrounds"):
            value = getattr(self, name)
            _check(0 <= value < 1, name, "at least 0 and below 1", value)
        rule = "above 0 and at most 0.5"
        share = self.validation_fraction
        _check(0 < share <= 0.5, "validation_fraction", rule, share)
        for name in ("mix_probability", "balance", "teacher"):
            _check(0 <= getattr(self, name) <= 1, name, "0 to 1", getattr(self, name))
        for name in (
            *("weight_decay", "gain", "tilt", "mel_shift", "time_mask", "mel_mask"),
            *("noise", "stretch", "pitch", "moments"),
        ):
            _check(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        divides = self.batch_size % self.joined == 0
        _check(divides, "joined", "a divisor of batch_size", self.joined)
        for name, alone in (("joined", 1), ("moments", 0)):
            value = getattr(self, name)
            rule = f"{alone} for a bidirectional model, which cannot stream"
            _check(not self.bidirectional or value == alone, name, rule, value)


# What a recipe says of the shape of a model's weights, in both settings by the same names.
SHAPE = tuple(
    field.name
    for field in dataclasses.fields(ModelSettings)
    if field.name != "dropout" and hasattr(TrainingSettings, field.name)
)


@dataclasses.dataclass(frozen=True)
class EventSettings:
    """How the scores of a stream become events with onset and offset."""

    window_seconds: float = _setting(
        0.75, "the model's outputs over this long are pooled into the scores of a moment"
    )
    smoothing_seconds: float = _setting(1.2, "scores are averaged over this long")
    threshold: float = _setting(
        0.0,
        "score from which any class is heard; 0: each class's own, as the model has them, and half "
        "for events where it has none",
    )
    release: float = _setting(
        0.8, "an event ends when its score falls below this share of its class's threshold"
    )
    shortest_seconds: float = _setting(0.3, "shorter events are dropped")
    gap_seconds: float = _setting(1.0, "events of a class closer than this are one")
    onset_lag_seconds: float = _setting(
        0.45, "how long scores rise after a sound begins; onsets are moved back by it"
    )
    offset_lag_seconds: float = _setting(
        1.05, "how long scores fall after a sound ends; offsets are moved back by it"
    )

    def __post_init__(self) -> None:
        _check_types(self)
        _check(self.window_seconds > 0, "window_seconds", "above 0", self.window_seconds)
        rule = "at least 0 and below 1"
        _check(0 <= self.threshold < 1, "threshold", rule, self.threshold)
        _check(0 < self.release <= 1, "release", "above 0 and at most 1", self.release)
        for name in (
            *("smoothing_seconds", "shortest_seconds", "gap_seconds"),
            *("onset_lag_seconds", "offset_lag_seconds"),
        ):
            _check(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))


def frames_per_step(settings: ModelSettings | TrainingSettings) -> int:
    """Return how many frames the model needs for each step of its LSTM."""
    return settings.stack * math.prod(layer[3] for layer in settings.convolutions)


def _check_shape(settings: ModelSettings | TrainingSettings) -> None:
    """Check what a recipe and a model say of the path from frames to one vector."""
    for name in ("hidden_size", "num_layers", "stack"):
        _check_size(name, getattr(settings, name))
    _check(0 <= settings.delta <= _LARGEST, "delta", f"0 to {_LARGEST}", settings.delta)
    rule = f"one of {', '.join(POOLINGS)}"
    _check(settings.pooling in POOLINGS, "pooling", rule, settings.pooling)
    for layer in settings.convolutions:
        _, frames, _, stride, _ = layer
        rule = f"five whole numbers from 1 to {_LARGEST}, the frame stride at most the frames"
        fits = min(layer) >= 1 and max(layer) <= _LARGEST and stride <= frames
        _check(fits, "each convolution", rule, list(layer))
    rule = "used without convolutions, which stride and look back themselves (stack 1, delta 0)"
    alone = not settings.convolutions or (settings.stack, settings.delta) == (1, 0)
    _check(alone, "stack and delta", rule, (settings.stack, settings.delta))
    scan = settings.frequency_lstm
    rule = f"three whole numbers from 1 to {_LARGEST}, without convolutions, or an empty list"
    whole = len(scan) == 3 and min(scan) >= 1 and max(scan) <= _LARGEST
    fits = not scan or (whole and not settings.convolutions)
    _check(fits, "frequency_lstm", rule, scan)


def to_json(settings: Any) -> dict[str, Any]:
    """Return a settings object as a dict of plain values, in the order of its fields."""
    return dataclasses.asdict(settings)


def from_json(kind: type[Settings], values: object) -> Settings:
    """Rebuild settings of class `kind` from a dict that must hold every field and no other.

    Raises:
        SettingsError: a key is missing or unknown, or a value has the wrong type or range.
    """
    if not isinstance(values, dict):
        raise SettingsError(f"{kind.__name__} must be an object, got {type(values).__name__}")
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if missing := sorted(names - values.keys()):
        raise SettingsError(f"{kind.__name__} lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in values.keys() - names):
        raise SettingsError(f"{kind.__name__} has unknown {', '.join(unknown)}")
    return kind(**values)
