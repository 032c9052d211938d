"""Endless streams of samples -> scores of every moment, with an explicit state. Layer 5: torch.

Samples are heard in blocks of a fixed length, a whole number of the model's steps, whatever the
chunks they come in: the same samples give the very same scores, cut as you like. What does not fill
a block yet waits in the state. docs/streaming.md lists what the state holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.artifact import TrainedModel
from earmark.errors import ModelError
from earmark.features import LogMel
from earmark.model import LSTMClassifier, ModelState
from earmark.settings import EventSettings

Rows = NDArray[np.float32]


class HearingState(NamedTuple):
    """What a stream's next scores need, at the model's rate. Each stream has its own.

    Attributes:
        samples: those that do not fill a block yet, `(kept,)`.
        front_end: samples that the next frame reaches back to, `(1, window - hop)`.
        model: the rest; see `ModelState`.
    """

    samples: Tensor
    front_end: Tensor
    model: ModelState


class Hearing:
    """Scores every moment of streams. It holds no stream's state, so threads may share it.

    Args:
        trained: the model; it is only read.
        settings: the window that is pooled.
        block_seconds: at least this much is heard at a time, in whole steps of the model; more
            is cheaper, less answers sooner.
        device: where to run it.

    Raises:
        ModelError: the model is bidirectional, or was trained on features and not on audio.

    Attributes:
        step_seconds: time from one row of scores to the next.
    """

    def __init__(
        self,
        trained: TrainedModel,
        settings: EventSettings,
        *,
        block_seconds: float = 0.0,
        device: str | torch.device = "cpu",
    ) -> None:
        if trained.front_end is None:
            raise ModelError("the model was trained on ready-made features, so it hears no audio")
        self.model: LSTMClassifier = trained.model.to(device).eval()
        self.front_end = LogMel(trained.front_end).to(device)
        self.temperature = trained.calibration.temperature
        self.rate_hz = trained.front_end.rate_hz
        self._step_samples = self.model.frames_per_step * trained.front_end.hop_samples
        self.step_seconds = self._step_samples / self.rate_hz
        self.block_samples = self._step_samples * max(1, round(block_seconds / self.step_seconds))
        self._window = max(1, round(settings.window_seconds / self.step_seconds))
        self._model_start = self.model.initial_state(1, self._window)

    def initial_state(self) -> HearingState:
        """Return the state of a stream before its first sample."""
        front_end = self.front_end.initial_state(1)
        return HearingState(front_end.new_zeros(0), front_end, self._model_start)

    def step(self, samples: NDArray[np.float32], state: HearingState) -> tuple[Rows, HearingState]:
        """Hear the next samples of one stream.

        Args:
            samples: `(samples,)` at `rate_hz`, any number, none included.
            state: from `initial_state` or the step before.

        Returns:
            Probabilities `(steps, classes)`, a row for each step that the samples complete, and
            the new state.
        """
        rows, states = self.step_together([samples], [state])
        return rows[0], states[0]

    @torch.inference_mode()
    def finish(self, state: HearingState) -> tuple[Rows, HearingState]:
        """Hear what still waits for a whole block, but for less than one step; see `step`."""
        whole = len(state.samples) // self._step_samples * self._step_samples
        samples, rest = state.samples[:whole], state.samples[whole:]
        frames, front_end = self.front_end.step(samples[None], state.front_end)
        logits, model = self.model.moments(frames, state.model)
        return self._scores(logits)[0].numpy(), HearingState(rest, front_end, model)

    @torch.inference_mode()
    def step_together(
        self, samples: Sequence[NDArray[np.float32]], states: Sequence[HearingState]
    ) -> tuple[list[Rows], list[HearingState]]:
        """Hear the next samples of several streams; those that stand alike advance in one pass.

        Args:
            samples: `(samples,)` of each stream; they may differ in length.
            states: the state of each.

        Returns:
            For each stream what `step` gives, within rounding.
        """
        device = self._model_start.hidden.device
        waiting = [
            torch.cat([state.samples, torch.from_numpy(new).to(device)])
            for new, state in zip(samples, states, strict=True)
        ]
        fronts = [state.front_end for state in states]
        models = [state.model for state in states]
        rows: list[list[Tensor]] = [[] for _ in states]
        taken = [0] * len(states)
        while True:
            ready: dict[Any, list[int]] = {}
            for stream, held in enumerate(waiting):
                if len(held) - taken[stream] >= self.block_samples:
                    ready.setdefault(self._standing(models[stream]), []).append(stream)
            if not ready:
                break
            for streams in ready.values():
                blocks = torch.stack(
                    [waiting[s][taken[s] : taken[s] + self.block_samples] for s in streams]
                )
                front_end = torch.cat([fronts[s] for s in streams])
                frames, front_end = self.front_end.step(blocks, front_end)
                logits, model = self.model.moments(frames, _joined([models[s] for s in streams]))
                scores = self._scores(logits)
                for place, stream in enumerate(streams):
                    rows[stream].append(scores[place])
                    fronts[stream] = front_end[place : place + 1]
                    models[stream] = _part(model, place, models[stream].steps + scores.shape[1])
                    taken[stream] += self.block_samples
        none = torch.zeros(0, self.model.settings.num_classes)
        given = [torch.cat([none, *parts]).numpy() for parts in rows]
        after = [
            HearingState(held[start:].clone(), front_end, model)
            for held, start, front_end, model in zip(waiting, taken, fronts, models, strict=True)
        ]
        return given, after

    def _scores(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits / self.temperature, dim=2).cpu()

    def _standing(self, state: ModelState) -> tuple[int, int]:
        """Return what streams must have in common to advance in one pass."""
        return state.frames.shape[1], min(state.steps, self._window)


def _joined(states: Sequence[ModelState]) -> ModelState:
    """Return the states of several streams as that of a batch."""
    if len(states) == 1:
        return states[0]
    columns = list(zip(*states, strict=True))
    names = ModelState._fields
    along = {"hidden": 1, "cell": 1}  # (num_layers, batch, hidden_size)
    values: dict[str, Any] = {}
    for name, column in zip(names, columns, strict=True):
        if name == "contexts":
            values[name] = tuple(torch.cat(parts) for parts in zip(*column, strict=True))
        elif name == "steps":
            values[name] = column[0]
        else:
            values[name] = torch.cat(column, dim=along.get(name, 0))
    return ModelState(**values)


def _part(state: ModelState, place: int, steps: int) -> ModelState:
    """Return one stream's state out of that of a batch."""
    batch = slice(place, place + 1)
    return ModelState(
        state.frames[batch],
        tuple(context[batch] for context in state.contexts),
        state.hidden[:, batch],
        state.cell[:, batch],
        state.total[batch],
        state.weight[batch],
        state.largest[batch],
        state.recent[batch],
        steps,
    )
