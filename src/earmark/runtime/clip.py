"""A clip of any length, block by block, in bounded memory: its scores, or its embedding.

What does not fill a step at the end is left out; a clip shorter than one step, or than the front
end's `min_clip_seconds`, is filled up with zeros. Only a bidirectional model needs all of the clip
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np

from earmark.runtime.engine import Engine, Floats, State

BLOCK_SECONDS = 5.0  # of a clip that are read at a time

_Advance: TypeAlias = Callable[[Floats, State], tuple[Floats, Floats, State]]


def score_clip(engine: Engine, blocks: Iterable[Floats]) -> tuple[Floats, float]:
    """Score a clip.

    Args:
        engine: runs the model.
        blocks: the clip's samples `(samples,)` each, at the model's rate.

    Returns:
        Probabilities `(classes,)`, and the clip's length in seconds.
    """
    return _read(engine, blocks, engine.advance, engine.score_whole)


def embed_clip(engine: Engine, blocks: Iterable[Floats]) -> tuple[Floats, float]:
    """Embed a clip; see `score_clip`.

    Returns:
        The embedding `(size,)`, and the clip's length in seconds.

    Raises:
        ModelError: see `Engine.embed`.
    """
    return _read(engine, blocks, engine.embed, engine.embed_whole)


def _read(
    engine: Engine,
    blocks: Iterable[Floats],
    advance: _Advance,
    whole: Callable[[Floats], Floats],
) -> tuple[Floats, float]:
    counted = _Counted(blocks)
    info = engine.info
    if info.model.network.bidirectional:
        found = whole(np.concatenate(list(counted))[None])[0]
        return found, counted.samples / info.sample_rate
    most = round(BLOCK_SECONDS * info.sample_rate)
    step, state = info.step_samples, engine.initial_state(1)
    of_clip, waiting = np.zeros((1, 0), np.float32), np.zeros(0, np.float32)
    for block in _filled(counted, max(step, info.front_end.min_clip_samples)):
        for start in range(0, len(block), most):
            waiting = np.concatenate([waiting, block[start : start + most]])
            size = len(waiting) // step * step
            if size:
                _, of_clip, state = advance(waiting[None, :size], state)
                waiting = waiting[size:]
    return of_clip[0], counted.samples / info.sample_rate


def _filled(counted: _Counted, least: int) -> Iterator[Floats]:
    """Yield the blocks of a clip, and then the zeros that it lacks to so many samples."""
    yield from counted
    yield np.zeros(max(0, least - counted.samples), np.float32)


class _Counted:
    """Iterates over blocks and counts their samples."""

    def __init__(self, blocks: Iterable[Floats]) -> None:
        self._blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[Floats]:
        for block in self._blocks:
            self.samples += len(block)
            yield block
