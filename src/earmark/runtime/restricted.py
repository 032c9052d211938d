"""A model that answers with some of its classes only; see `earmark.decision.restriction`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from earmark.config import Calibration
from earmark.decision.restriction import choose_classes, restrict_scores
from earmark.runtime.engine import Engine, Floats, State, recalibrated, split_states
from earmark.runtime.engine import joined as join_states


class RestrictedEngine:
    """Runs a model for some of its classes; see `Engine`.

    The state of a stream, embeddings and the identity of the weights are those of the whole model.

    Args:
        engine: runs the model.
        classes: names of the classes, see `choose_classes`.
        closed_set: nothing but these sounds.

    Raises:
        SettingsError: see `choose_classes`.
    """

    def __init__(self, engine: Engine, classes: Sequence[str], *, closed_set: bool = False) -> None:
        whole = engine.info
        chosen = choose_classes(classes, whole.classes)
        self._engine, self._closed_set = engine, closed_set
        self._places = [whole.classes.index(name) for name in chosen]
        self._of_model = len(whole.classes)
        self.info = dataclasses.replace(
            whole, classes=chosen, calibration=self._restrict(whole.calibration)
        )

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding; see `Engine`."""
        return self._engine.embedding_size

    def initial_state(self, window: int) -> State:
        """Return the state of a stream before its first sample; see `Engine`."""
        return self._engine.initial_state(window)

    def with_calibration(self, calibration: Calibration) -> RestrictedEngine:
        """Return an engine of the same weights and classes under another calibration.

        Args:
            calibration: with thresholds for these classes, for all of the model, or for none.

        Raises:
            ModelError: it has thresholds for another number of classes.
        """
        mine = self._restrict(calibration)
        made = RestrictedEngine(
            self._engine.with_calibration(dataclasses.replace(mine, thresholds=())),
            self.info.classes,
            closed_set=self._closed_set,
        )
        made.info = recalibrated(self.info, mine)
        return made

    def step(self, samples: Floats, states: Sequence[State]) -> tuple[Floats, Floats, list[State]]:
        """Score the next samples of one or more streams; see `Engine`."""
        scores, clip_scores, after = self.advance(samples, join_states(states))
        return scores, clip_scores, split_states(after)

    def advance(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Score the next samples of streams in one batch; see `Engine`."""
        scores, clip_scores, after = self._engine.advance(samples, state)
        return self._pick(scores), self._pick(clip_scores), after

    def score_whole(self, samples: Floats) -> Floats:
        """Return the probabilities of a whole clip; see `Engine`."""
        return self._pick(self._engine.score_whole(samples))

    def embed(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Return what the head classifies, in place of the scores; see `Engine`."""
        return self._engine.embed(samples, state)

    def embed_whole(self, samples: Floats) -> Floats:
        """Return the embedding of a whole clip; see `Engine`."""
        return self._engine.embed_whole(samples)

    def _pick(self, scores: Floats) -> Floats:
        return restrict_scores(scores, self._places, closed_set=self._closed_set)

    def _restrict(self, calibration: Calibration) -> Calibration:
        """Return a calibration with the thresholds of these classes alone."""
        if len(calibration.thresholds) != self._of_model:
            return calibration
        thresholds = tuple(calibration.thresholds[place] for place in self._places)
        return dataclasses.replace(calibration, thresholds=thresholds)
