"""Runs a model directory with torch, on any of its devices."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.config import Calibration
from earmark.errors import ModelError
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier, ModelState
from earmark.nn.features import LogMel
from earmark.runtime.engine import (
    Floats,
    ModelInfo,
    State,
    joined,
    recalibrated,
    split_states,
)

Array = NDArray[Any]


class TorchEngine:
    """Runs a trained model; see `Engine`.

    Args:
        trained: the model; it is only read.
        device: where to run it.
        name: what it is called.

    Raises:
        ModelError: the model was trained on features, not on audio.
    """

    def __init__(
        self, trained: TrainedModel, device: str | torch.device = "cpu", name: str = ""
    ) -> None:
        if trained.front_end is None:
            raise ModelError(
                "the model was trained on ready-made features, so it cannot take audio files; "
                "train one from splits made by: earmark prepare DATASET"
            )
        self.info = ModelInfo(
            name=name,
            classes=trained.classes,
            front_end=trained.front_end,
            model=trained.model.settings,
            calibration=trained.calibration,
            data=trained.data,
            fingerprint=trained.fingerprint,
            identity=trained.identity,
        )
        self.device = torch.device(device)
        self.model: LSTMClassifier = trained.model.to(self.device).eval()
        self.front_end = LogMel(trained.front_end).to(self.device)

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding; see `Engine`."""
        return self.model.pooling.output_size

    def initial_state(self, window: int) -> State:
        """Return the state of a stream before its first sample; see `Engine`."""
        kept = self._kept(self.model.initial_state(1, window), self.front_end.initial_state(1))
        for name, shape in self.model.encoder.state_shapes().items():
            kept[name] = np.zeros((1, *shape), np.float32)
        return {
            **{name: np.zeros_like(array) for name, array in kept.items() if _needed(name, array)},
            "steps": np.zeros(1, np.int64),
        }

    def with_calibration(self, calibration: Calibration) -> TorchEngine:
        """Return an engine of the same model under another calibration; see `Engine`."""
        other = copy.copy(self)
        other.info = recalibrated(self.info, calibration)
        return other

    def step(self, samples: Floats, states: Sequence[State]) -> tuple[Floats, Floats, list[State]]:
        """Score the next samples of one or more streams; see `Engine`."""
        scores, whole, after = self.advance(samples, joined(states))
        return scores, whole, split_states(after)

    @torch.inference_mode()
    def advance(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Score the next samples of streams in one batch; see `Engine`."""
        windows, whole, after = self._embed_all(samples, state)
        return self._scores(windows), self._scores(whole), after

    @torch.inference_mode()
    def embed(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Return what the head classifies, in place of the scores; see `Engine`."""
        windows, whole, after = self._embed_all(samples, state)
        return windows.cpu().numpy(), whole.cpu().numpy(), after

    def _embed_all(self, samples: Floats, state: State) -> tuple[Tensor, Tensor, State]:
        """Advance streams, whether they have begun or begin now."""
        begun = state["steps"] > 0
        if begun.all() or not begun.any():
            return self._embed(samples, state)
        # Those that have begun advance in one pass, and those that begin now in another.
        parts = []
        for rows in (np.flatnonzero(begun), np.flatnonzero(~begun)):
            some = {name: array[rows] for name, array in state.items()}
            parts.append((rows, self._embed(samples[rows], some)))
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        windows = torch.cat([given[0] for _, given in parts])[order]
        whole = torch.cat([given[1] for _, given in parts])[order]
        after = {
            name: np.concatenate([given[2][name] for _, given in parts])[order]
            for name in parts[0][1][2]
        }
        return windows, whole, after

    def _embed(self, samples: Floats, before: State) -> tuple[Tensor, Tensor, State]:
        """Advance streams that have all begun, or that all begin now."""
        count = samples.shape[1] // self.info.step_samples
        context = self.front_end.initial_state(len(samples))
        if "front_end" in before:  # a window longer than its hop
            context = self._tensor(before["front_end"])
        frames, context = self.front_end.step(self._tensor(samples), context)
        windows, moved = self.model.embed_segments(frames, self._given(before))
        after = {**self._kept(moved, context), "steps": before["steps"] + count}
        return windows, self.model.embed_so_far(moved), after

    @torch.inference_mode()
    def score_whole(self, samples: Floats) -> Floats:
        """Return the probabilities `(1, classes)` of a whole clip `(1, samples)`.

        Only a bidirectional model needs all of it at once.
        """
        return self._scores(self.model.embed(self.front_end(self._tensor(samples))))

    @torch.inference_mode()
    def embed_whole(self, samples: Floats) -> Floats:
        """Return the embedding of a whole clip; see `Engine`."""
        return self.model.embed(self.front_end(self._tensor(samples))).cpu().numpy()

    def _scores(self, embeddings: Tensor) -> Floats:
        """Return the probabilities `(..., classes)` of embeddings `(..., size)`."""
        temperature = self.info.calibration.temperature
        scores: Floats = self.model.probabilities(embeddings, temperature).cpu().numpy()
        return scores

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _given(self, state: State) -> ModelState:
        """Return a batch of states as the model takes them."""
        steps, streams = int(state["steps"][0]), len(state["steps"])
        window = state["recent"].shape[1] + 1 if "recent" in state else 1
        start = self.model.initial_state(streams, window)
        if steps == 0:
            return start

        def kept(name: str, otherwise: Tensor) -> Tensor:
            return self._tensor(state[name]) if name in state else otherwise

        return ModelState(
            beginning=start.beginning,
            encoder={name: kept(name, none) for name, none in start.encoder.items()},
            hidden=self._tensor(state["hidden"]).transpose(0, 1).contiguous(),
            cell=self._tensor(state["cell"]).transpose(0, 1).contiguous(),
            pooled=kept("pooled", start.pooled),
            recent=kept("recent", start.recent),
            steps=steps,
        )

    def _kept(self, state: ModelState, front_end: Tensor) -> State:
        """Return what the model gave as a batch of states, but for the steps."""
        tensors = {
            "front_end": front_end,
            **state.encoder,
            "hidden": state.hidden.transpose(0, 1),
            "cell": state.cell.transpose(0, 1),
            "pooled": state.pooled,
            "recent": state.recent,
        }
        # Copies: a view would keep all of what it was cut from.
        arrays = {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}
        return {name: array for name, array in arrays.items() if _needed(name, array)}


def _needed(name: str, array: Array) -> bool:
    """Say whether a state has this array: nothing empty, but for a window of one step."""
    return array.size > 0 or (name == "recent" and array.shape[2] > 0)
