"""How samples are scored: by which engine, in which blocks, pooled over which window.

Samples are scored in blocks of a fixed length, a whole number of the model's steps, whatever the
chunks they come in: the same samples give the very same scores, cut as you like.
docs/streaming.md lists what the state of a stream holds.
"""

from __future__ import annotations

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
        block_seconds: about this much is scored at a time, in whole steps of the model; more is
            cheaper, less answers sooner.

    Raises:
        ModelError: the model is bidirectional.

    Attributes:
        step_seconds: time from one row of scores to the next.
        block_samples: samples that are scored at a time.
        window: steps that the scores of a segment pool.
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

    def initial_state(self) -> ScorerState:
        """Return the state of a stream before its first sample."""
        return ScorerState(np.zeros(0, np.float32), self._start)

    def score(self, block: Floats, model: State) -> tuple[Floats, State]:
        """Score the next samples of one stream.

        Args:
            block: `(samples,)`, a whole number of steps, not none.
            model: the model's state.

        Returns:
            Probabilities `(steps, classes)` and the model's new state.
        """
        scores, _, after = self.engine.advance(block[None], model)
        return scores[0], after
