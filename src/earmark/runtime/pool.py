"""Many streams advanced together.

    pool = SessionPool()
    pool.add(session)                       # for each stream, at any time
    session.feed(samples)                   # as they come
    for session, events in pool.advance():  # now and then
        ...

A call of the engine scores `most_together` streams: one by one, each would pay for the call; with
many more, what lies between the layers of the network no longer fits the processor's cache, and the
same arithmetic takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from earmark.errors import SettingsError
from earmark.runtime.engine import joined
from earmark.runtime.events import Event
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session

_MOST_TOGETHER = 12
_MOST_SECONDS = 8.0  # of sound in one call


def most_together(scorer: StreamScorer) -> int:
    """Return how many streams of a scorer are scored in one call: fewer of longer blocks."""
    fit = int(_MOST_SECONDS * scorer.sample_rate / scorer.block_samples)
    return max(1, min(_MOST_TOGETHER, fit))


class SessionPool:
    """Advances sessions of one model together. It belongs to one thread at a time.

    The scores are those that each session would have alone, within 1e-5. Sessions join and leave
    at any time; the first says which model and which length of block all others must have.
    """

    def __init__(self) -> None:
        self._sessions: dict[Session, None] = {}  # in the order in which they joined

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._sessions)

    @property
    def ready(self) -> int:
        """Sessions with a block that waits to be scored."""
        return sum(session.ready > 0 for session in self._sessions)

    def add(self, session: Session) -> None:
        """Take a session in; from now on it is fed, not pushed.

        Raises:
            SettingsError: it is in a pool already, or of another model, window or block length
                than the others.
        """
        if session.pool is not None:
            raise SettingsError(f"{session.source}: is in a pool already; remove it there first")
        for other in self._sessions:
            ours, its = other.scorer, session.scorer
            if (ours.engine, ours.window, ours.block_samples) != (
                its.engine,
                its.window,
                its.block_samples,
            ):
                raise SettingsError(
                    f"{session.source}: has another model, window or block length than the pool; "
                    "use a pool for each"
                )
            break  # all others are as the first
        self._sessions[session] = None
        session.pool = self

    def remove(self, session: Session) -> None:
        """Let a session go; it goes on alone from where it stands.

        Raises:
            SettingsError: it is not in this pool.
        """
        if session.pool is not self:
            raise SettingsError(f"{session.source}: is not in this pool")
        del self._sessions[session]
        session.pool = None

    def advance(
        self, sessions: Sequence[Session] | None = None
    ) -> list[tuple[Session, list[Event]]]:
        """Score the next block of every session that has one.

        Args:
            sessions: these alone, of the pool's; None: all of them.

        Returns:
            The sessions that advanced, each with the events that have ended, in no promised order.
        """
        ready = [one for one in (self._sessions if sessions is None else sessions) if one.ready]
        most = most_together(ready[0].scorer) if ready else 1
        return [
            advanced
            for start in range(0, len(ready), most)
            for advanced in _advance(ready[start : start + most])
        ]


def _advance(sessions: Sequence[Session]) -> Iterator[tuple[Session, list[Event]]]:
    """Score a block of each session in one call of the engine."""
    blocks = np.stack([b for session in sessions if (b := session.next_block()) is not None])
    states = joined([session.model for session in sessions])
    scores, _, after = sessions[0].scorer.engine.advance(blocks, states)
    for place, session in enumerate(sessions):
        # A copy: a part of the batch would keep all of it in memory while its stream stands still.
        session.model = {name: array[place : place + 1].copy() for name, array in after.items()}
        yield session, session.accept(scores[place])
