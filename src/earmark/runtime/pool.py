"""Many streams advanced in one call of the engine.

    pool = SessionPool()
    pool.add(session)                       # for each stream, at any time
    session.feed(samples)                   # as they come
    for session, events in pool.advance():  # now and then
        ...

The states of all streams stand in one batch from call to call, so nothing is put together or taken
apart while they advance; a stream's own part is cut out when it leaves.
"""

from __future__ import annotations

import numpy as np

from earmark.errors import SettingsError
from earmark.runtime.engine import State, joined
from earmark.runtime.events import Event
from earmark.runtime.session import Session


class SessionPool:
    """Advances sessions of one model together. It belongs to one thread at a time.

    The scores are those that each session would have alone, within 1e-5. Sessions join and leave
    at any time; the first says which model and which length of block all others must have.
    """

    def __init__(self) -> None:
        self._sessions: list[Session] = []  # in the order of the batch; those that join stand last
        self._state: State = {}  # of all but those that join
        self._joining: list[State] = []

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
        if self._sessions:
            ours, its = self._sessions[0].scorer, session.scorer
            if (ours.engine, ours.window, ours.block_samples) != (
                its.engine,
                its.window,
                its.block_samples,
            ):
                raise SettingsError(
                    f"{session.source}: has another model, window or block length than the pool; "
                    "use a pool for each"
                )
        self._sessions.append(session)
        self._joining.append(session.model)
        session.pool = self

    def remove(self, session: Session) -> None:
        """Let a session go; it goes on alone from where it stands.

        Raises:
            SettingsError: it is not in this pool.
        """
        session.model = self.model_of(session)
        session.pool = None
        place, last = self._sessions.index(session), len(self._sessions) - 1
        # The last one takes the free place.
        for name, array in self._state.items():
            array[place] = array[last]
            self._state[name] = array[:last]
        self._sessions[place] = self._sessions[last]
        self._sessions.pop()
        if not self._sessions:  # the next to join may be of another model
            self._state = {}

    def model_of(self, session: Session) -> State:
        """Return the model's state of a session, as a value.

        Raises:
            SettingsError: the session is not in this pool.
        """
        if session.pool is not self:
            raise SettingsError(f"{session.source}: is not in this pool")
        self._join()
        place = self._sessions.index(session)
        return {name: array[place : place + 1].copy() for name, array in self._state.items()}

    def advance(self) -> list[tuple[Session, list[Event]]]:
        """Score the next block of every session that has one, in one call of the engine.

        Returns:
            The sessions that advanced, each with the events that have ended, in no promised order.
        """
        self._join()
        places = [n for n, session in enumerate(self._sessions) if session.ready]
        if not places:
            return []
        sessions = [self._sessions[place] for place in places]
        blocks = np.stack([b for session in sessions if (b := session.next_block()) is not None])
        engine = sessions[0].scorer.engine
        if len(sessions) == len(self._sessions):
            scores, _, self._state = engine.advance(blocks, self._state)
        else:
            some = {name: array[places] for name, array in self._state.items()}
            scores, _, after = engine.advance(blocks, some)
            for name, array in after.items():
                self._state[name][places] = array
        return [
            (session, session.accept(rows)) for session, rows in zip(sessions, scores, strict=True)
        ]

    def _join(self) -> None:
        """Put the states of those that have joined to the batch."""
        if self._joining:
            states = [self._state, *self._joining] if self._state else self._joining
            batch = joined(states)
            # What came as the state of one session stays its own; ours is written to.
            self._state = {name: array.copy() for name, array in batch.items()}
            self._joining = []
