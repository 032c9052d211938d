"""From the blocks of one stream to events with a time of day, a name and their sound.

A clip begins some seconds before its event and ends some seconds after it, so an event is handed on
when that much has come. While an event is under way its sound is kept from the start, up to a
longest clip; at other times only the seconds that a clip may need are.
"""

from __future__ import annotations

import datetime
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from earmark.live.followed import FollowedBlock
from earmark.live.recent import RecentSound, StreamClock
from earmark.runtime.events import Event

LONGEST_SECONDS = 60.0  # of an event, in its clip
_LATE_SECONDS = 6.0  # an event is known so long after its onset, at most, with room to spare
_KEPT_SECONDS = 20.0  # while no event is under way: a loud sound is asked for when it is over
_QUIETEST = 1e-9  # -90 dB

Clock = Callable[[], datetime.datetime]


@dataclass(frozen=True)
class RecordedEvent:
    """An event with its time of day and its sound.

    Attributes:
        event: the event; its times are seconds of the stream.
        id: a name that no other event has.
        start: when it began, in UTC.
        threshold: the score that its class had to reach; None: it has no class.
        samples: 16-bit samples `(samples,)`; none where clips are not kept.
        sample_rate: of the samples, in Hz.
        clip_from: where the samples begin, in seconds of the stream.
        level_db: its level in dB of full scale, where that is what was looked for.
        ended: whether it has ended; else its offset, end and scores are those so far.
    """

    event: Event
    id: str
    start: datetime.datetime
    threshold: float | None = None
    samples: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    sample_rate: int = 0
    clip_from: float = 0.0
    level_db: float | None = None
    ended: bool = True

    @property
    def end(self) -> datetime.datetime:
        """When it ended, in UTC."""
        return self.start + datetime.timedelta(seconds=self.event.offset - self.event.onset)


@dataclass(frozen=True)
class HeardBlock:
    """What rules about loudness need to know of a block.

    Attributes:
        source: name of the stream.
        start: its begin, in seconds of the stream.
        end: its end.
        time: when it ended, in UTC.
        level_db: its level, in dB of full scale.
        active: whether some class was accepted in it, or an event was under way.
        scores: of its last segment, by class, the highest first.
    """

    source: str
    start: float
    end: float
    time: datetime.datetime
    level_db: float
    active: bool
    scores: Mapping[str, float]

    def began(self, seconds: float) -> datetime.datetime:
        """Return when an earlier place of the stream was, in UTC."""
        return self.time + datetime.timedelta(seconds=seconds - self.end)


def utc_now() -> datetime.datetime:
    """Return the present time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def level_of(samples: NDArray[np.float32]) -> float:
    """Return the level of samples, in dB of full scale."""
    power = float(np.dot(samples, samples)) / max(1, len(samples))
    return 10 * math.log10(max(power, _QUIETEST))


class Recorder:
    """Follows one stream.

    Args:
        source: name of the stream.
        sample_rate: of the model, in Hz.
        thresholds: the scores that count, by class.
        before: seconds of a clip before its event.
        after: seconds of a clip after it.
        clips: whether sound is kept at all.
        clock: gives the time of live sound; a recording's first sample is at `start`.
        start: when a recording began; None: the stream is live.

    Attributes:
        on_begun: is called with each event when it has begun for sure, and again while its score
            rises; its id and start are those that it will be handed on with.
        on_event: is called with each event, when its clip is whole.
        on_block: is called with each block, after its events.
        stream: names the stream, in the names of its events.
    """

    def __init__(
        self,
        source: str,
        sample_rate: int,
        thresholds: Mapping[str, float],
        *,
        before: float = 2.0,
        after: float = 2.0,
        clips: bool = True,
        clock: Clock = utc_now,
        start: datetime.datetime | None = None,
    ) -> None:
        self.stream = secrets.token_hex(6)
        self.on_begun: Callable[[RecordedEvent], object] = lambda _: None
        self.on_event: Callable[[RecordedEvent], object] = lambda _: None
        self.on_block: Callable[[HeardBlock], object] = lambda _: None
        self._source = source
        self._thresholds = dict(thresholds)
        self._before, self._after, self._clips = before, after, clips
        self._clock, self._begun = clock, start
        self._sound, self._times = RecentSound(sample_rate), StreamClock()
        self._count = 0
        self._under_way: dict[str, RecordedEvent] = {}  # by class
        self._waiting: list[tuple[Event, RecordedEvent | None]] = []  # for the seconds after them
        self._early: dict[str, NDArray[np.int16]] = {}  # of events longer than a clip

    def follow(self, block: FollowedBlock) -> None:
        """Take a block of the stream."""
        start = self._sound.end
        if len(block.samples):
            self._times.note(block.end, self._now(block.end))
            self._sound.push(block.samples)
        self._waiting += [(event, self._under_way.pop(event.label, None)) for event in block.events]
        for event in block.under_way:
            self._begin(event)
        self._hand_on(block)
        if len(block.samples):
            heard = HeardBlock(
                source=self._source,
                start=start,
                end=block.end,
                time=self._times.time_of(block.end),
                level_db=level_of(block.samples),
                active=bool(block.ongoing or block.events),
                scores=block.scores,
            )
            self.on_block(heard)
        self._trim(block)

    def loud_event(self, event: Event, level_db: float) -> RecordedEvent:
        """Return a sound of no class as other events are handed on."""
        return self._recorded(event, self._cut(event.onset, event.offset), None, level_db)

    def _now(self, end: float) -> datetime.datetime:
        if self._begun is None:
            return self._clock()
        return self._begun + datetime.timedelta(seconds=end)

    def _begin(self, event: Event) -> None:
        """Take note of an event under way."""
        known = self._under_way.get(event.label)
        if known is None:
            none = np.zeros(0, np.int16)
            threshold = self._thresholds.get(event.label)
            begun = replace(self._recorded(event, none, threshold), ended=False)
        elif event.score > known.event.score:
            begun = replace(known, event=event)
        else:
            return
        self._under_way[event.label] = begun
        self.on_begun(begun)

    def _hand_on(self, block: FollowedBlock) -> None:
        """Hand on the events whose clips are whole, in the order of their ends."""
        wait = self._after if self._clips else 0.0
        while self._waiting:
            event, begun = self._waiting[0]
            early = event.label in self._early
            if not (block.ended or early or self._sound.end >= event.offset + wait):
                return
            self._waiting.pop(0)
            samples = self._early.pop(event.label, None)
            if samples is None:
                samples = self._cut(event.onset, event.offset)
            if begun is None:
                recorded = self._recorded(event, samples, self._thresholds.get(event.label))
            else:
                recorded = replace(begun, event=event, samples=samples, ended=True)
            self.on_event(recorded)

    def _recorded(
        self,
        event: Event,
        samples: NDArray[np.int16],
        threshold: float | None,
        level_db: float | None = None,
    ) -> RecordedEvent:
        self._count += 1
        return RecordedEvent(
            event=event,
            id=f"{self.stream}-{self._count}",
            start=self._times.time_of(event.onset),
            threshold=threshold,
            samples=samples,
            sample_rate=self._sound.sample_rate,
            clip_from=max(0.0, event.onset - self._before),
            level_db=level_db,
        )

    def _cut(self, onset: float, offset: float) -> NDArray[np.int16]:
        if not self._clips:
            return np.zeros(0, np.int16)
        first = max(0.0, onset - self._before)
        last = min(offset + self._after, first + self._before + LONGEST_SECONDS)
        return self._sound.between(first, last)

    def _trim(self, block: FollowedBlock) -> None:
        """Let go of samples that no clip will need."""
        if not self._clips:
            self._sound.forget_before(math.inf)
            return
        needed = self._sound.end - max(_KEPT_SECONDS, self._before + _LATE_SECONDS)
        for label, onset in block.ongoing.items():
            if label in self._early:
                continue
            if block.end - onset > LONGEST_SECONDS and not self._waits(label):
                self._early[label] = self._cut(onset, block.end)
            else:
                needed = min(needed, onset - self._before)
        for event, _ in self._waiting:
            needed = min(needed, event.onset - self._before)
        for label in self._early.keys() - block.ongoing.keys():
            if not self._waits(label):  # it was too short for an event
                del self._early[label]
        self._sound.forget_before(needed)

    def _waits(self, label: str) -> bool:
        return any(event.label == label for event, _ in self._waiting)
