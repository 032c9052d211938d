"""Endless streams of samples -> scores of every segment, with an explicit state.

Samples are heard in blocks of a fixed length, a whole number of the model's steps, whatever the
chunks they come in: the same samples give the very same scores, cut as you like. What does not fill
a block yet waits in the state. docs/streaming.md lists what the state holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from earmark.config import EventSettings
from earmark.runtime.engine import Engine, Floats, State


class ScorerState(NamedTuple):
    """What a stream's next scores need, at the model's rate. Each stream has its own.

    Attributes:
        samples: those that do not fill a block yet, `(kept,)`.
        model: the rest, under the names that `earmark.export.build` documents.
    """

    samples: Floats
    model: State


class StreamScorer:
    """Scores every segment of streams. It holds no stream's state, so threads may share it.

    Args:
        engine: runs the model.
        settings: the window that is pooled.
        block_seconds: about this much is heard at a time, in whole steps of the model; more is
            cheaper, less answers sooner.

    Raises:
        ModelError: the model is bidirectional.

    Attributes:
        step_seconds: time from one row of scores to the next.
    """

    def __init__(
        self, engine: Engine, settings: EventSettings, *, block_seconds: float = 0.0
    ) -> None:
        self.engine, self.info = engine, engine.info
        self.sample_rate, self.step_seconds = engine.info.sample_rate, engine.info.step_seconds
        steps = max(1, round(block_seconds / self.step_seconds))
        self.block_samples = engine.info.step_samples * steps
        self.window = max(1, round(settings.window_seconds / self.step_seconds))
        self._start = engine.initial_state(self.window)
        self._none = np.zeros((0, len(engine.info.classes)), np.float32)

    def initial_state(self) -> ScorerState:
        """Return the state of a stream before its first sample."""
        return ScorerState(np.zeros(0, np.float32), self._start)

    def step(self, samples: Floats, state: ScorerState) -> tuple[Floats, ScorerState]:
        """Hear the next samples of one stream.

        Args:
            samples: `(samples,)` at `sample_rate`, any number, none included.
            state: from `initial_state` or the step before.

        Returns:
            Probabilities `(steps, classes)`, a row for each step that the samples complete, and
            the new state.
        """
        if len(state.samples) + len(samples) < self.block_samples:  # most chunks of a live stream
            return self._none, state._replace(samples=np.concatenate([state.samples, samples]))
        rows, states = self.step_together([samples], [state])
        return rows[0], states[0]

    def finish(self, state: ScorerState) -> tuple[Floats, ScorerState]:
        """Hear what still waits for a whole block, but for less than one step; see `step`."""
        whole = len(state.samples) // self.info.step_samples * self.info.step_samples
        samples, rest = state.samples[:whole], state.samples[whole:]
        if whole == 0:
            return self._none, state
        scores, _, states = self.engine.step(samples[None], [state.model])
        return scores[0], ScorerState(rest, states[0])

    def step_together(
        self, samples: Sequence[Floats], states: Sequence[ScorerState]
    ) -> tuple[list[Floats], list[ScorerState]]:
        """Hear the next samples of several streams; those with a whole block advance together.

        Args:
            samples: `(samples,)` of each stream; they may differ in length.
            states: the state of each.

        Returns:
            For each stream what `step` gives, within rounding.
        """
        waiting = [
            np.concatenate([state.samples, new]) for new, state in zip(samples, states, strict=True)
        ]
        models = [state.model for state in states]
        rows: list[list[Floats]] = [[] for _ in states]
        size, taken = self.block_samples, 0  # every stream with a block left is equally far
        while ready := [n for n, held in enumerate(waiting) if len(held) - taken >= size]:
            blocks = np.stack([waiting[n][taken : taken + size] for n in ready])
            scores, _, after = self.engine.step(blocks, [models[n] for n in ready])
            taken += size
            for number, row, model in zip(ready, scores, after, strict=True):
                rows[number].append(row)
                models[number] = model
        given = [np.concatenate([self._none, *parts]) for parts in rows]
        rest = [held[len(held) // size * size :].copy() for held in waiting]
        return given, [ScorerState(*pair) for pair in zip(rest, models, strict=True)]
