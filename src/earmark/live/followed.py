"""A session that shows each block that it has scored, with its samples, to a follower."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.runtime.events import Event
from earmark.runtime.session import Session


@dataclass(frozen=True)
class FollowedBlock:
    """What a session has just scored.

    Attributes:
        samples: `(samples,)` at the model's rate; none at the end of a stream.
        end: its end, in seconds of the stream.
        scores: the scores of its last segment, by class.
        events: the events that ended in it.
        ongoing: onsets of the events under way, by class, in seconds of the stream; some may be
            too short in the end.
        under_way: those of them that are long enough, see `EventFinder.under_way`.
        ended: whether the stream has ended.
    """

    samples: NDArray[np.float32]
    end: float
    scores: dict[str, float]
    events: tuple[Event, ...]
    ongoing: dict[str, float]
    under_way: tuple[Event, ...] = ()
    ended: bool = False


class FollowedSession(Session):
    """A session whose blocks are shown to a follower, in the thread that drives it.

    Args:
        session: a session that was given nothing yet; this one takes its place.
        follow: is called with each block.
    """

    def __init__(self, session: Session, follow: Callable[[FollowedBlock], object]) -> None:
        super().__init__(session.scorer, session.sample_rate, session.settings, session.source)
        self._follow = follow
        self._blocks: deque[NDArray[np.float32]] = deque()

    @property
    def thresholds(self) -> dict[str, float]:
        """The scores that count, by class."""
        return dict(zip(self.classes, self.finder.policy.thresholds.tolist(), strict=True))

    def next_block(self) -> NDArray[np.float32] | None:
        """Return the next block, and keep it until its scores are there."""
        block = super().next_block()
        if block is not None:
            self._blocks.append(block)
        return block

    def accept(self, scores: NDArray[np.float32]) -> list[Event]:
        """Take the scores of a block; show both."""
        events = super().accept(scores)
        self._show(self._blocks.popleft(), events)
        return events

    def end_events(self) -> list[Event]:
        """Return the events that were under way at the end; show them."""
        events = super().end_events()
        self._show(np.zeros(0, np.float32), events, ended=True)
        return events

    def _show(
        self, samples: NDArray[np.float32], events: list[Event], *, ended: bool = False
    ) -> None:
        step, state = self.scorer.step_seconds, self._events
        ongoing = {
            self.classes[number]: self.finder.onset_of(known.first)
            for number, known in state.ongoing.items()
        }
        end = state.steps * step
        block = FollowedBlock(
            samples=samples,
            end=end,
            scores=self.scores,
            events=tuple(events),
            ongoing=ongoing,
            under_way=() if ended else tuple(self.under_way),
            ended=ended,
        )
        self._follow(block)
