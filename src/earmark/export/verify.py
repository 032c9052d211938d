"""Whether two engines give the same scores, in chunks and batches of several sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.runtime.engine import Engine

MOST_DIFFERENCE = 1e-4  # of any score, between torch and onnxruntime
_WINDOW_STEPS = 25
_STREAMS = 3
_CHUNK_STEPS = (10**6, 7, 1)


def measure_difference(one: Engine, other: Engine, clips: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference of any score of two engines of one model.

    Clips are scored alone and in a batch, in turn in one chunk, in chunks of seven steps and step
    by step, with the state carried from chunk to chunk and clip to clip. A score that is no number
    differs infinitely.

    Args:
        one: an engine.
        other: another engine.
        clips: `(samples,)` each, at the model's rate.
    """
    largest = 0.0
    engines = (one, other)
    starts = [engine.initial_state(_WINDOW_STEPS) for engine in engines]
    for streams in (1, _STREAMS):
        states = [[start] * streams for start in starts]
        for chunk in _cut_clips(clips, one.info.step_samples):
            batch = np.stack([np.roll(chunk, 31 * n) for n in range(streams)])
            results = [
                engine.step(batch, state) for engine, state in zip(engines, states, strict=True)
            ]
            states = [after for *_, after in results]
            for mine, its in zip(results[0][:2], results[1][:2], strict=True):
                difference = np.nan_to_num(np.abs(mine - its), nan=np.inf)
                largest = max(largest, float(difference.max()))
    return largest


def _cut_clips(
    clips: Sequence[NDArray[np.float32]], step_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Cut clips into chunks of whole steps, the sizes in turn; a short clip is filled up to one."""
    for steps, clip in zip(itertools.cycle(_CHUNK_STEPS), clips, strict=False):
        whole = clip[: max(step_samples, len(clip) // step_samples * step_samples)]
        whole = np.pad(whole, (0, max(0, step_samples - len(whole))))
        size = steps * step_samples
        for start in range(0, len(whole), size):
            yield whole[start : start + size]
