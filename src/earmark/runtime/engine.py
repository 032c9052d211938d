"""What runs a model: samples and a state in, scores or embeddings and the next state out.

Two engines give the same scores: `OnnxEngine` needs onnxruntime alone, `TorchEngine` torch. The
state of a stream is a dict of arrays under the names that `earmark.export` documents, batch first
and zero at the start; a state of one engine can be gone on from with the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.config import (
    Calibration,
    FrontEndSettings,
    ModelSettings,
    frames_per_step,
    to_json,
)
from earmark.errors import ModelError
from earmark.io.files import sha256_of_json

State = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ModelInfo:
    """What a trained model says of itself.

    Attributes:
        name: what it is called, for messages and results.
        classes: class names in the order of the scores.
        front_end: how samples become frames.
        model: the shape of the network.
        calibration: temperature and thresholds that its scores are used with.
        data: what it was trained on.
        fingerprint: SHA-256 of the trained model as it was saved, with the calibration it had then.
        identity: SHA-256 of what scores follow from but for the calibration, so that the same
            weights are known again under another one; that of an ONNX file of earlier versions,
            which does not say it, is empty.
    """

    name: str
    classes: tuple[str, ...]
    front_end: FrontEndSettings
    model: ModelSettings
    calibration: Calibration
    data: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    identity: str = ""

    @cached_property
    def calibration_fingerprint(self) -> str:
        """SHA-256 of the calibration."""
        return sha256_of_json(to_json(self.calibration))

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model."""
        return self.front_end.sample_rate

    @property
    def step_samples(self) -> int:
        """Samples from one row of scores to the next."""
        return frames_per_step(self.model.network) * self.front_end.hop_length

    @property
    def step_seconds(self) -> float:
        """Time from one row of scores to the next."""
        return self.step_samples / self.sample_rate


def recalibrated(info: ModelInfo, calibration: Calibration) -> ModelInfo:
    """Return what a model says of itself under another calibration.

    Raises:
        ModelError: the calibration is of a model with another number of classes.
    """
    thresholds = len(calibration.thresholds)
    if thresholds not in (0, len(info.classes)):
        raise ModelError(
            f"{info.name}: has {len(info.classes)} classes, the calibration thresholds for "
            f"{thresholds}; give one that was fitted for this model"
        )
    return replace(info, calibration=calibration)


class Engine(Protocol):
    """Runs one model for any number of streams. It holds no state, so threads may share it."""

    info: ModelInfo

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding.

        Raises:
            ModelError: the model is a file of an earlier version, which gives none.
        """

    def initial_state(self, window: int) -> State:
        """Return the state of a stream before its first sample, each array `(1, ...)`.

        Args:
            window: steps that the scores of a segment pool.

        Raises:
            ModelError: the model is bidirectional and would need the future.
        """

    def with_calibration(self, calibration: Calibration) -> Engine:
        """Return an engine of the same weights, which both share, under another calibration.

        Raises:
            ModelError: the calibration is of a model with another number of classes.
        """

    def score_whole(self, samples: Floats) -> Floats:
        """Return the probabilities `(1, classes)` of a whole clip `(1, samples)`.

        Only a bidirectional model needs all of it at once.
        """

    def step(self, samples: Floats, states: Sequence[State]) -> tuple[Floats, Floats, list[State]]:
        """Score the next samples of one or more streams, each with a state of its own.

        Args:
            samples: `(streams, samples)` at the model's rate, a whole number of steps, not none.
            states: one for each stream, with the same window.

        Returns:
            Probabilities of every step, `(streams, steps, classes)`; of everything so far,
            `(streams, classes)`; and the new states.
        """

    def advance(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Score the next samples of streams whose states stand in one batch; see `step`.

        Args:
            samples: `(streams, samples)` as `step` takes them.
            state: of all the streams, each array `(streams, ...)`.

        Returns:
            The probabilities as `step` gives them, and the new state of all the streams.
        """

    def embed(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Return what the head classifies, in place of the scores; see `advance`.

        Args:
            samples: as `advance` takes them.
            state: as `advance` takes it.

        Returns:
            Embeddings of every step, over the window that ends with it, `(streams, steps, size)`;
            of everything so far, `(streams, size)`; and the new state of all the streams.

        Raises:
            ModelError: the model is a file of an earlier version, which gives none.
        """

    def embed_whole(self, samples: Floats) -> Floats:
        """Return the embedding `(1, size)` of a whole clip `(1, samples)`; see `score_whole`.

        Raises:
            ModelError: see `embed`.
        """


def joined(states: Sequence[State]) -> State:
    """Return the states of several streams as one batch."""
    if len(states) == 1:
        return states[0]
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def split_states(state: State) -> list[State]:
    """Return the states of a batch one by one."""
    streams = len(state["steps"])
    if streams == 1:
        return [state]
    return [{name: array[n : n + 1] for name, array in state.items()} for n in range(streams)]
