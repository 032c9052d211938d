"""One stream of the server: chunks in; messages, events and clips out.

Chunks are put in by whoever receives them and wait, undecoded, until a block of the model is full;
all else happens in the hub's thread, once a block: one resampling, one mix, one look for events.
"""

from __future__ import annotations

import datetime
import math
import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.decision.policy import NO_CLASS, NONE
from earmark.live.chunk import Chunk
from earmark.live.watch import Watch
from earmark.runtime.events import Event, EventFinder
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session
from earmark.serve import protocol
from earmark.serve.clips import ClipStore, to_pcm
from earmark.serve.columns import Columns, FrontEndView
from earmark.serve.settings import Limits
from earmark.serve.why import Explainer, Reason

BEFORE_SECONDS = 2.0  # of an event, in its clip
AFTER_SECONDS = 0.5
_KEPT_SECONDS = 6.0  # while no event is under way: what comes before one, and how late it is known
_NEVER = 2.0  # a threshold that no score reaches
_QUIETEST = 1e-9

Message: TypeAlias = "str | bytes"


class Sink(Protocol):
    """Takes the messages of a stream; it is called in the event loop."""

    def put(self, messages: Sequence[tuple[Message, bool]]) -> None:
        """Take messages, each with whether it may be left out for a slow reader."""

    def short(self) -> None:
        """Take note that no block is full yet, though enough for one seemed to have come."""

    def ended(self) -> None:
        """Take note that no more will come."""


@dataclass(frozen=True)
class Model:
    """What all streams of one model share."""

    classifier: Classifier
    scorer: StreamScorer
    settings: EventSettings
    live_view: FrontEndView
    file_view: FrontEndView

    @classmethod
    def of(cls, classifier: Classifier, settings: EventSettings, *, block_seconds: float) -> Model:
        """Return what streams of a classifier share.

        Raises:
            ModelError: the model is bidirectional and would need the future.
        """
        front_end = classifier.info.front_end
        settings = settings.with_lags(classifier.info.model.lags_seconds)
        return cls(
            classifier,
            StreamScorer(classifier.engine, settings, block_seconds=block_seconds),
            settings,
            FrontEndView(front_end),
            FrontEndView(front_end, per_second=6.25),
        )


@dataclass(frozen=True)
class StreamEvent:
    """An event, as subscribers of the hub get it: one that has ended, or one under way.

    Attributes:
        event: the event; its times are seconds of the stream.
        id: a name of it that no other event has.
        stream: id of its stream.
        source: name of the stream.
        live: whether its sound is of now; that of a file is not.
        time: when it began, by the server's clock; of a file, when the file was read.
        samples: 16-bit samples, from `BEFORE_SECONDS` before it on; at most as long as clips are;
            none while it is under way.
        sample_rate: of the samples.
        clip: id of the clip in the clip store, empty where it was not kept; of an event under way,
            that of the clip to come.
        threshold: the score that its class had to reach.
        calibration: fingerprint of the model's calibration.
        ended: whether it has ended; else its offset and scores are those so far.
    """

    event: Event
    id: str
    stream: str
    source: str
    live: bool
    time: datetime.datetime
    samples: NDArray[np.int16]
    sample_rate: int
    clip: str
    threshold: float
    calibration: str
    ended: bool = True


@dataclass(frozen=True)
class Block:
    """What a block gave, for those who watch scores rather than events.

    Attributes:
        stream: id of the stream.
        source: its name.
        live: see `StreamEvent`.
        start: begin of the block, in seconds of the stream.
        at: end of the block.
        classes: the model's.
        values: the averaged score of each at its end.
        label: the best class that reaches its threshold, or "none of these".
        level_db: its level, in dB of full scale.
    """

    stream: str
    source: str
    live: bool
    start: float
    at: float
    classes: Sequence[str]
    values: Sequence[float]
    label: str
    level_db: float

    @property
    def scores(self) -> dict[str, float]:
        """The averaged scores at its end, by class."""
        return dict(zip(self.classes, self.values, strict=True))


class _Followed(Session):
    """A session that keeps the samples and the scores of each block for its stream."""

    def __init__(self, scorer: StreamScorer, rate: int, settings: EventSettings, name: str) -> None:
        super().__init__(scorer, rate, settings, name)
        self.blocks: deque[NDArray[np.float32]] = deque()
        self.done: list[tuple[NDArray[np.float32], NDArray[np.float32], Any, int, list[Event]]] = []

    def next_block(self) -> NDArray[np.float32] | None:
        """Return the next block, and keep it."""
        block = super().next_block()
        if block is not None:  # a copy: a part would keep all that came with it in memory
            self.blocks.append(block.copy())
        return block

    def accept(self, scores: NDArray[np.float32]) -> list[Event]:
        """Take the scores of a block; keep them with their averages."""
        at = self._events.steps
        events = super().accept(scores)
        self.done.append((self.blocks.popleft(), scores, self._smooth, at, events))
        return events

    @property
    def ongoing(self) -> dict[int, int]:
        """First steps of the events under way, by class."""
        return {number: known.first for number, known in self._events.ongoing.items()}

    @property
    def missing(self) -> int:
        """Samples at the model's rate until the next block is full."""
        return self.scorer.block_samples - self._waiting_samples % self.scorer.block_samples


class Stream:
    """One stream of one model.

    Args:
        model: what streams of the model share.
        start: what was asked for.
        sample_rate: of its samples.
        clips: keeps the clips of events.
        limits: how long clips are, and how many events are remembered.

    Raises:
        AudioError: a rate that is not supported.

    Attributes:
        id: names it.
        events: those that have ended, as messages; the last ones.
        sinks: who gets its messages.
        lost_at: since when it has no connection, or None.
        expected: the place of the next sample that a client sends.
    """

    def __init__(
        self,
        model: Model,
        start: protocol.Start,
        sample_rate: int,
        *,
        clips: ClipStore,
        limits: Limits,
    ) -> None:
        self.id = secrets.token_hex(12)
        self.model, self.start, self.limits, self._clips = model, start, limits, clips
        self.name, self.kind, self.sample_rate = start.name, start.kind, sample_rate
        self.live = start.live and start.kind != "file"
        self.session = _Followed(model.scorer, sample_rate, model.settings, start.name)
        self._own = np.array(self.session.finder.policy.thresholds, np.float32)
        self._explainer = Explainer(self.session.finder, model.settings)
        self.set_rules(start.thresholds, start.classes)
        self._columns = self._new_columns() if start.spectrogram else None
        self._watch = Watch(start.name, model.scorer.sample_rate, levels=False)
        self._lock = threading.Lock()
        self._inbox: deque[Chunk] = deque()
        self._inside = 0  # samples in the inbox, dropped ones included
        self._needed = self._samples_needed()
        self.room = threading.Condition(self._lock)
        self.ending = self.over = False
        remembered = limits.events if self.kind == "server" else limits.client_events
        self.events: deque[dict[str, Any]] = deque(maxlen=remembered)
        self.event_count = self._names_given = 0
        self._begun: dict[str, StreamEvent] = {}  # the events under way, by class
        self.sinks: set[Sink] = set()
        self.lost_at: float | None = None
        self.expected = self.next_sequence = 0
        self._began: datetime.datetime | None = None
        self._silenced = False
        settings, step = model.settings, model.scorer.step_seconds
        smoothing = max(1, round(settings.smoothing_seconds / step))
        # Events begin so long before their first step, see `EventFinder`.
        self._onset_lag = settings.onset_lag_seconds + (smoothing - 1) / 2 * step
        self._kept: deque[NDArray[np.float32]] = deque()
        self._kept_from = self._kept_samples = 0
        self._early: dict[int, NDArray[np.int16]] = {}
        self._out: list[tuple[Message, bool]] = []
        self._sent_columns = 0
        self._seen: list[Event] = []  # of the blocks that were reported last
        self.finished: list[StreamEvent] = []
        self.last_block: Block | None = None

    def _new_columns(self) -> Columns:
        return Columns(self.model.file_view if self.kind == "file" else self.model.live_view)

    # In any thread.

    def put(self, chunk: Chunk) -> bool:
        """Take the next chunk; tell whether a block may be full by now."""
        with self._lock:
            if self._began is None:
                self._began = datetime.datetime.now(datetime.timezone.utc)
            self._inbox.append(chunk)
            self._inside += len(chunk.samples) + chunk.dropped
            return self._inside >= self._needed

    def finish(self) -> None:
        """Say that no more will come."""
        with self._lock:
            self.ending = True
            self.room.notify_all()

    def wait_for_room(self, seconds: float) -> bool:
        """Wait until less than `seconds` of sound wait; False: the stream has ended."""
        with self._lock:
            while self._inside > seconds * self.sample_rate and not (self.ending or self.over):
                self.room.wait(0.5)
            return not (self.ending or self.over)

    @property
    def full(self) -> bool:
        """Whether a block may be full."""
        return self._inside >= self._needed or self.session.ready > 0

    @property
    def samples_missing(self) -> int:
        """Samples until the next block is full that is not full yet; at least one."""
        missing = self._needed - self._inside
        if missing <= 0:  # one is full, and was not fed yet
            scorer = self.model.scorer
            missing += scorer.block_samples * self.sample_rate // scorer.sample_rate
        return max(1, missing)

    # In the hub's thread.

    @property
    def busy(self) -> bool:
        """Whether there may be something to do for it."""
        return self.full or self.ending or self.over or bool(self._out)

    @property
    def seconds_late(self) -> float:
        """Seconds of sound that came and were not scored."""
        scorer = self.model.scorer
        ready = self.session.ready * scorer.block_samples / scorer.sample_rate
        return self._inside / self.sample_rate + ready

    @property
    def exhausted(self) -> bool:
        """Whether no more will come, and all that came has been scored."""
        with self._lock:
            return self.ending and self._inside == 0 and self.session.ready == 0

    def set_rules(
        self, thresholds: Mapping[str, float] | None, classes: Sequence[str] | None
    ) -> None:
        """Take other thresholds, and the classes that count, from now on."""
        session, names = self.session, self.session.classes
        mine = self._own.copy()
        for name, value in (thresholds or {}).items():
            mine[names.index(name)] = value
        off = np.array([classes is not None and name not in classes for name in names])
        self._explainer.set_thresholds(mine)
        self._explainer.off = off
        session.finder = EventFinder(
            names,
            tuple(np.where(off, np.float32(_NEVER), mine).tolist()),
            session.scorer.step_seconds,
            replace(self.model.settings, threshold=0.0),
            session.scorer.info.fingerprint,
        )

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds that hold now, by class."""
        values = np.round(self._explainer.thresholds.astype(float), 4).tolist()
        return dict(zip(self.session.classes, values, strict=True))

    def show_columns(self) -> None:
        """Send columns of mel bands from now on."""
        if self._columns is None:
            self._columns = self._new_columns()

    @property
    def view(self) -> FrontEndView:
        """How its columns are made."""
        return self.model.file_view if self.kind == "file" else self.model.live_view

    def feed(self) -> float:
        """Give the session what waits.

        Returns:
            Seconds of sound that came, without what was lost.

        Raises:
            AudioError: samples far beyond full scale.
        """
        with self._lock:
            self._needed = self.samples_missing  # about, for who asks while these are resampled
            chunks, self._inbox, self._inside = self._inbox, deque(), 0
            self.room.notify_all()
        together: list[NDArray[Any]] = []
        seconds = 0.0
        for chunk in chunks:
            seconds += len(chunk.samples) / chunk.sample_rate
            if chunk.dropped or chunk.sample_rate != self.sample_rate:
                self._feed(together)
                together, self.sample_rate = [], chunk.sample_rate
            if chunk.dropped:
                at, lost = self.session.seconds, chunk.dropped / self.sample_rate
                self.session.feed_mono(np.zeros(chunk.dropped, np.float32), self.sample_rate)
                self.say({"type": "gap", "at": round(at, 3), "seconds": round(lost, 3)})
            together.append(chunk.samples)
            if chunk.note:
                self.say({"type": "notice", "text": chunk.note})
        self._feed(together)
        self._needed = self._samples_needed()
        return seconds

    def _feed(self, parts: list[NDArray[Any]]) -> None:
        parts = [part for part in parts if len(part)]
        if not parts:
            return
        samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
        mixed = self._watch.mix(Chunk(samples, self.sample_rate))
        if not self._watch.finite:
            mixed = np.zeros(len(mixed), np.float32)
            if not self._silenced:
                self._silenced = True
                text = "some samples are no numbers; such messages are replaced by silence"
                self.say({"type": "notice", "text": text})
        for line in self._watch.notes():
            self.say({"type": "notice", "text": line.removeprefix(f"{self.name}: ")})
        self.session.feed_mono(mixed, self.sample_rate)

    def _samples_needed(self) -> int:
        rate = self.session.scorer.sample_rate
        return max(1, math.ceil(self.session.missing * self.sample_rate / rate))

    def end(self) -> None:
        """End the session: score what is left, end all events."""
        events = self.session.finish()
        self.report(trim=False)
        self._raise_last([one for one in events if not any(one is seen for seen in self._seen)])
        self.over = True
        self.say(
            {
                "type": "end",
                "seconds": round(self.session.seconds, 3),
                "events": self.event_count,
            }
        )
        with self._lock:
            self.room.notify_all()

    def end_events(self) -> None:
        """End the events under way where the stream was scored last."""
        self._raise_last(self.session.end_events())

    def _raise_last(self, events: list[Event]) -> None:
        reasons = self._explainer.finish(events)
        for event in events:
            self._raise(event)
        self._say_reasons(reasons)

    def report(self, *, trim: bool = True) -> None:
        """Make messages of the blocks that have been scored.

        Args:
            trim: let go of samples that no clip will need.
        """
        self._seen = []
        done, self.session.done = self.session.done, []
        end = round(self.session.seconds * self.session.scorer.sample_rate)
        for filled, raw, smooth, at, events in done:
            # What came, without the silence that is scored after a stream that is over too soon.
            samples = filled[: max(0, end - at * self.session.scorer.info.step_samples)]
            self._keep(samples)
            if self._columns is not None:
                self._send_columns(self._columns, samples)
            reasons = self._explainer.step(raw, smooth, at, events)
            for event in events:
                self._seen.append(event)
                self._raise(event)
            self._say_reasons(reasons)
            self._say_scores(samples, raw, smooth, at)
        if done and trim:
            self._trim()

    def say(self, message: Mapping[str, Any], *, optional: bool = False) -> None:
        """Put a message out."""
        self._out.append((protocol.dump(message), optional))

    def outgoing(self) -> list[tuple[Message, bool]]:
        """Return the messages since the last call."""
        out, self._out = self._out, []
        return out

    def _say_scores(
        self, samples: NDArray[np.float32], raw: Any, smooth: NDArray[np.float32], at: int
    ) -> None:
        session = self.session
        number = int(session.finder.policy.decide(smooth[-1]))
        label = NONE if number == NO_CLASS else session.classes[number]
        seconds = min((at + len(smooth)) * session.scorer.step_seconds, session.seconds)
        power = float(np.dot(samples, samples)) / max(1, len(samples))
        level = round(10 * math.log10(max(power, _QUIETEST)), 1)
        values, own = np.round(np.array([smooth[-1], raw[-1]], float), 3).tolist()
        self.say(
            {
                "type": "scores",
                "at": round(seconds, 3),
                "scores": values,
                "raw": own,
                "label": label,
                "active": session.active_now,
                "level_db": level,
            },
            optional=True,
        )
        self.last_block = Block(
            stream=self.id,
            source=self.name,
            live=self.live,
            start=at * session.scorer.step_seconds,
            at=seconds,
            classes=session.classes,
            values=values,
            label=label,
            level_db=level,
        )

    def _say_reasons(self, reasons: Sequence[Reason]) -> None:
        end = self.session.seconds
        for reason in reasons:
            near = replace(reason, onset=min(reason.onset, end), offset=min(reason.offset, end))
            self.say({"type": "near", **near.to_dict()}, optional=True)

    def _send_columns(self, columns: Columns, samples: NDArray[np.float32]) -> None:
        first = columns.given
        made = columns.push(samples)
        if len(made):
            self._out.append((protocol.pack_columns(self._sent_columns, first, made), True))
            self._sent_columns += 1

    def begun(self) -> list[StreamEvent]:
        """Return the events under way that are new, or whose score has risen since the last call.

        They are events for sure; each keeps its id when it ends.
        """
        found = []
        for event in self.session.under_way:
            known = self._begun.get(event.label)
            if known is None or event.score > known.event.score:
                known = self._begun[event.label] = self._named(event, known)
                found.append(known)
        return found

    def _named(self, event: Event, known: StreamEvent | None) -> StreamEvent:
        """Return an event under way, with the id that it has or gets."""
        if known is not None:
            return replace(known, event=event)
        self._names_given += 1
        began = self._began or datetime.datetime.now(datetime.timezone.utc)
        return StreamEvent(
            event=event,
            id=f"{self.id}-{self._names_given}",
            stream=self.id,
            source=self.name,
            live=self.live,
            time=began + datetime.timedelta(seconds=event.onset),
            samples=np.zeros(0, np.int16),
            sample_rate=self.session.scorer.sample_rate,
            clip=self._clips.new_id(),
            threshold=self.thresholds[event.label],
            calibration=self.session.scorer.info.calibration_fingerprint,
            ended=False,
        )

    def _raise(self, event: Event) -> None:
        samples = self._clip(event)
        rate = self.session.scorer.sample_rate
        named, clip = self._named(event, self._begun.pop(event.label, None)), ""
        if len(samples):
            try:
                self._clips.add(samples, rate, named.clip)
                clip = named.clip
            except OSError as error:
                self.say({"type": "notice", "text": f"a clip was not kept: {error.strerror}"})
        self.event_count += 1
        finished = replace(named, samples=samples, clip=clip, ended=True)
        message = {
            "type": "event",
            "id": finished.id,
            **event.to_dict(),
            "threshold": finished.threshold,
            "why": self._explainer.why(event),
            "time": finished.time.isoformat(timespec="milliseconds"),
            "clip": f"clips/{clip}.wav" if clip else "",
            "clip_from": round(max(0.0, event.onset - BEFORE_SECONDS), 3),
        }
        self.events.append(message)
        self.say(message)
        self.finished.append(finished)

    def _keep(self, samples: NDArray[np.float32]) -> None:
        self._kept.append(samples)
        self._kept_samples += len(samples)

    def _trim(self) -> None:
        """Let go of samples that no clip will need."""
        rate, step = self.session.scorer.sample_rate, self.session.scorer.step_seconds
        end = self._kept_from + self._kept_samples
        needed = end - round(_KEPT_SECONDS * rate)
        ongoing = self.session.ongoing
        self._early = {n: clip for n, clip in self._early.items() if n in ongoing}
        for number, first in ongoing.items():
            if number in self._early:
                continue
            onset = max(0.0, first * step - self._onset_lag)
            begin = round(max(0.0, onset - BEFORE_SECONDS) * rate)
            if end - begin > (self.limits.clip_seconds + BEFORE_SECONDS) * rate:
                self._early[number] = self._between(begin, end)
            else:
                needed = min(needed, begin)
        while self._kept and self._kept_from + len(self._kept[0]) <= needed:
            gone = len(self._kept.popleft())
            self._kept_from += gone
            self._kept_samples -= gone

    def _between(self, first: int, last: int) -> NDArray[np.int16]:
        kept = np.concatenate([np.zeros(0, np.float32), *self._kept])
        first, last = max(0, first - self._kept_from), max(0, last - self._kept_from)
        return to_pcm(kept[first:last])

    def _clip(self, event: Event) -> NDArray[np.int16]:
        """Return the samples of an event with those before it."""
        rate = self.session.scorer.sample_rate
        first = round(max(0.0, event.onset - BEFORE_SECONDS) * rate)
        last = round((event.offset + AFTER_SECONDS) * rate)
        longest = round((self.limits.clip_seconds + BEFORE_SECONDS) * rate)
        early = self._early.pop(self.session.classes.index(event.label), None)
        if early is not None:
            return early[:longest]
        return self._between(first, min(last, first + longest))
