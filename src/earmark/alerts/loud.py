"""Loud sounds of no class: level above a limit, and no class accepted before it is over.

A class is accepted one to three seconds after its sound begins, because scores are averaged. So a
loud sound is judged some seconds after it has ended, or when it has lasted for long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from earmark.live.recorder import HeardBlock

SETTLE_SECONDS = 5.0  # by then a class that it belongs to has been accepted, mostly
LONGEST_SECONDS = 10.0  # a longer one is told of while it lasts


@dataclass(frozen=True)
class LoudSound:
    """A loud sound of no class.

    Attributes:
        onset: where it begins, in seconds of the stream.
        offset: where it ends.
        level_db: level of its loudest block, in dB of full scale.
        scores: highest scores by class, the highest first.
    """

    onset: float
    offset: float
    level_db: float
    scores: Mapping[str, float]


@dataclass
class _Run:
    """A loud sound under way, or waiting for its judgement."""

    onset: float
    offset: float
    level_db: float
    scores: dict[str, float] = field(default_factory=dict)
    over: bool = False


class LoudFinder:
    """Finds loud sounds of no class in the blocks of one stream.

    Args:
        level_db: louder than this, in dB of full scale.
        seconds: at least so long.
    """

    def __init__(self, level_db: float, seconds: float) -> None:
        self._level, self._shortest = level_db, seconds
        self._run: _Run | None = None
        self._accepted_until = -math.inf  # end of the last block with a class

    def step(self, block: HeardBlock) -> LoudSound | None:
        """Take the next block; return the sound that is sure by now to be of no class."""
        if block.active:
            self._accepted_until = block.end
            self._run = None
            return None
        loud, run = block.level_db >= self._level, self._run
        if run is None:
            # What is loud while a class dies away belongs to the class.
            if loud and block.start - self._accepted_until > SETTLE_SECONDS:
                self._run = run = _Run(block.start, block.end, block.level_db)
                self._hear(run, block)
            return None
        if loud and not run.over:
            run.offset, run.level_db = block.end, max(run.level_db, block.level_db)
        elif not run.over:
            run.over = True
        self._hear(run, block)
        long = run.offset - run.onset >= LONGEST_SECONDS
        if not (long or (run.over and block.end - run.offset >= SETTLE_SECONDS)):
            return None
        self._run = None
        if run.offset - run.onset < self._shortest - 1e-6:
            return None
        ranked = dict(sorted(run.scores.items(), key=lambda pair: -pair[1]))
        return LoudSound(run.onset, run.offset, run.level_db, ranked)

    def _hear(self, run: _Run, block: HeardBlock) -> None:
        for name, score in block.scores.items():
            run.scores[name] = max(score, run.scores.get(name, 0.0))
