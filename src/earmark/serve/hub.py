"""All streams of the server, advanced together in a thread beside the event loop.

    hub = Hub(classifier, ...)
    stream = hub.open(start, sample_rate)       # in any thread
    hub.put(stream, chunk)
    hub.subscribe(on_event)                     # StreamEvent, with its sound

Streams wake the thread when a block of theirs is full. In a round it takes those that have
something to do, a few at a time: it gives their sessions what waits, scores one block of each in
one call of the engine, and hands the messages to the event loop. A stream far behind, such as a
file, gets one block a round like all others, so it holds nobody up. A fault in one stream ends that
stream alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.errors import EarmarkError
from earmark.live.chunk import Chunk
from earmark.runtime.pool import SessionPool, most_together
from earmark.serve.clips import ClipStore
from earmark.serve.metrics import Metrics
from earmark.serve.protocol import Start
from earmark.serve.settings import Limits, RefusedError
from earmark.serve.shedding import Shedding
from earmark.serve.stream import Block, Message, Model, Sink, Stream, StreamEvent

_GATHER_SECONDS = 0.01  # blocks that become full within this are scored together ...
_ROUND_SECONDS = 0.0005  # ... and a round begins no sooner after the last one, for each stream
_CROWD = 32  # streams, from which on sound is read a block at a time
_LOOK_SECONDS = 1.0  # between two looks for streams that nobody listens to any more
_STOP_SECONDS = 2.0  # what came is scored for so long when the server ends; the rest is dropped
_BEHIND = "the server cannot keep up with its streams; try again later"
_STOPPED = "the server has ended"
_LOG = logging.getLogger("earmark.serve")

Batch = list[tuple[Sink, Sequence[tuple[Message, bool]], bool]]
Dispatch = Callable[[Callable[[], None]], object]
OnEvent = Callable[[StreamEvent], object]
OnBlock = Callable[[Block], object]


class Hub:
    """Advances streams.

    Args:
        classifier: names the sounds of streams that are opened from now on.
        clips: keeps the clips of events.
        settings: how scores become events.
        limits: what streams may ask for.
        metrics: counts.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        clips: ClipStore,
        settings: EventSettings | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.limits, self.clips = limits or Limits(), clips
        self.settings = settings or EventSettings()
        self.metrics = metrics or Metrics()
        self.model = self._model_of(classifier)
        self._streams: dict[str, Stream] = {}
        self._pools: dict[int, SessionPool] = {}
        self._new: list[Stream] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop_by: float | None = None  # set once it is told to stop
        self._shedding = Shedding(self.limits.behind_seconds)
        self._on_event: list[OnEvent] = []
        self._on_begun: list[OnEvent] = []
        self._on_block: list[OnBlock] = []
        self._dispatch: Dispatch = lambda deliver: deliver()
        self._thread = threading.Thread(target=self._run, name="earmark-hub", daemon=True)

    def start(self, dispatch: Dispatch) -> None:
        """Begin to advance streams.

        Args:
            dispatch: runs a function in the event loop, as `loop.call_soon_threadsafe`.
        """
        self._dispatch = dispatch
        self._thread.start()

    def stop(self) -> None:
        """End all streams, and the thread.

        What came is scored for two seconds more; then it is dropped, and the events under way end
        where their stream was scored last. A call of the engine is waited for: an interpreter that
        ends while a thread is inside of it aborts.
        """
        self._stop_by = time.monotonic() + _STOP_SECONDS
        for stream in self.streams():
            stream.finish()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def subscribe(self, on_event: OnEvent) -> Callable[[], None]:
        """Call a function for each event that has ended; return what ends that.

        It is called in the hub's thread: it should put the event somewhere and return.
        """
        self._on_event.append(on_event)
        return lambda: self._on_event.remove(on_event)

    def subscribe_begun(self, on_begun: OnEvent) -> Callable[[], None]:
        """Call a function for each event under way, and again while its score rises.

        It is asked for of live streams alone, and called as `subscribe` says.
        """
        self._on_begun.append(on_begun)
        return lambda: self._on_begun.remove(on_begun)

    def watch(self, on_block: OnBlock) -> Callable[[], None]:
        """Call a function for each block of each stream, as `subscribe` does for events."""
        self._on_block.append(on_block)
        return lambda: self._on_block.remove(on_block)

    def use(self, classifier: Classifier) -> None:
        """Take another model for streams that are opened from now on, and tell the others.

        Raises:
            ModelError: it is bidirectional.
        """
        self.model = self._model_of(classifier)
        for stream in self.streams():
            stream.say({"type": "model", "fingerprint": classifier.info.fingerprint})
        self._wake.set()

    def _model_of(self, classifier: Classifier) -> Model:
        return Model.of(classifier, self.settings, block_seconds=self.limits.block_seconds)

    def open(self, start: Start, sample_rate: int, sink: Sink | None = None) -> Stream:
        """Open a stream.

        Raises:
            RefusedError: there are too many, or the server cannot keep up with those it has.
            AudioError: a rate that is not supported.
        """
        stream = Stream(self.model, start, sample_rate, clips=self.clips, limits=self.limits)
        if sink is not None:
            stream.sinks.add(sink)
        with self._lock:
            lost = [one for one in self._streams.values() if one.lost_at is not None]
            if len(self._streams) - len(lost) >= self.limits.sessions:
                raise RefusedError(
                    "sessions",
                    f"the server has its {self.limits.sessions} streams; try again later",
                    503,
                )
            if start.kind == "client" and self._shedding.full:
                raise RefusedError("behind", _BEHIND, 503)
            # Those that are kept for who may come back take nobody's place for long.
            for one in lost[: max(0, len(lost) - self.limits.sessions // 4)]:
                one.finish()
            self._add(stream)
        self._wake.set()
        return stream

    def reopen(self, stream: Stream) -> Stream:
        """Open a stream in place of another, of the model that is used now; the other ends."""
        start, rate = stream.start, stream.sample_rate
        new = Stream(self.model, start, rate, clips=self.clips, limits=self.limits)
        with self._lock:
            self._add(new)
        self.finish(stream)
        return new

    def _add(self, stream: Stream) -> None:
        self._streams[stream.id] = stream
        self._new.append(stream)
        self.metrics.sessions.set(len(self._streams))

    @property
    def crowded(self) -> bool:
        """Whether there are so many streams that each should cost less, and may answer later."""
        return len(self._streams) > _CROWD

    def find(self, name: str) -> Stream | None:
        """Return a stream that has not ended, by its id."""
        with self._lock:
            return self._streams.get(name)

    def streams(self) -> list[Stream]:
        """Return the streams that have not ended."""
        with self._lock:
            return list(self._streams.values())

    def put(self, stream: Stream, chunk: Chunk) -> None:
        """Give a stream its next chunk."""
        if stream.put(chunk) and not self._wake.is_set():  # to set it takes a lock
            self._wake.set()

    def finish(self, stream: Stream) -> None:
        """End a stream when what waits has been scored."""
        stream.finish()
        self._wake.set()

    def lose(self, stream: Stream, sink: Sink) -> None:
        """Take note that a connection was lost; its stream is kept for a while."""
        stream.sinks.discard(sink)
        if stream.sinks or stream.kind == "server":
            return
        if stream.kind == "client" and stream.expected:
            stream.lost_at = time.monotonic()
        else:  # there is nothing to come back to
            self.finish(stream)

    def _run(self) -> None:
        looked = begun = time.monotonic()
        while self._stop_by is None or self.streams():
            full = {stream.kind for stream in self.streams() if stream.full}
            if "file" not in full and not any(pool.ready for pool in self._pools.values()):
                if not full:  # what became full while blocks were scored wakes nobody any more
                    self._wake.wait(_LOOK_SECONDS)
                if self._stop_by is None:
                    time.sleep(max(_GATHER_SECONDS, self._apart - (time.monotonic() - begun)))
            begun = time.monotonic()
            self._wake.clear()
            try:
                self._round()
            except Exception:  # whatever it is, the other streams go on
                _LOG.exception("a round of the hub failed")
                if self._dropping:
                    break
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self._look(looked)

    @property
    def _apart(self) -> float:
        """Seconds from the begin of a round to the next: the more become full, the less each costs.

        But not more than are scored together, so that none waits for long.
        """
        streams, scorer = max(1, len(self._streams)), self.model.scorer
        block_seconds = scorer.block_samples / scorer.sample_rate
        return min(_ROUND_SECONDS * streams, most_together(scorer) * block_seconds / streams)

    @property
    def _dropping(self) -> bool:
        """Whether it stops, and what is not scored by now is dropped."""
        return self._stop_by is not None and time.monotonic() > self._stop_by

    def _round(self) -> None:
        self._join()
        busy = [stream for stream in self.streams() if stream.busy or self._dropping]
        # So few that what belongs to them stays in the processor's cache; and the first of many
        # need not wait for the last.
        most = most_together(self.model.scorer)
        for start in range(0, len(busy), most):
            self._go_on(busy[start : start + most])

    def _go_on(self, streams: Sequence[Stream]) -> None:
        """Take what waits of some streams, score a block of each, and send what came of it."""
        batch: Batch = []
        short: list[Sink] = []
        for stream in streams:
            # A file that is ahead waits; what is full already is scored first.
            waits = (stream.full and stream.session.ready == 0) or stream.ending
            if waits and not stream.over and not self._dropping:
                with self._guarded(stream):
                    seconds = stream.feed()
                    if stream.kind == "client":
                        self.metrics.audio_seconds.inc(seconds)
                        if stream.session.ready == 0:
                            short += stream.sinks
        for pool in list(self._pools.values()):
            together = [one for one in streams if one.session.pool is pool]
            if together and not self._dropping:
                self._advance(together, pool)
        for stream in streams:
            if stream.session.done or stream.ending:
                with self._guarded(stream):
                    stream.report()
                    if stream.exhausted and not stream.over and not self._dropping:
                        stream.end()
            if self._dropping and not stream.over:
                _fail(stream, _STOPPED, "stopped")
            self._collect(stream, batch)
            if stream.over:
                self._remove(stream)
        if batch or short:
            with contextlib.suppress(RuntimeError):  # the loop is closed, as at the end
                self._dispatch(lambda: _deliver(batch, short))

    def _join(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for stream in new:
            self._pools.setdefault(id(stream.model), SessionPool()).add(stream.session)

    def _advance(self, streams: Sequence[Stream], pool: SessionPool) -> None:
        begun = time.perf_counter()
        try:
            advanced = pool.advance([stream.session for stream in streams])
        except EarmarkError as error:  # the engine failed, for all that were in its batch
            for stream in streams:
                _fail(stream, str(error))
            return
        if advanced:
            self.metrics.blocks.inc(len(advanced))
            self.metrics.batch_seconds.observe(time.perf_counter() - begun)

    def _collect(self, stream: Stream, batch: Batch) -> None:
        finished, stream.finished = stream.finished, []
        for event in finished:
            self.metrics.events.labels(event.event.label).inc()
            for on_event in self._on_event:
                with _logged("a subscriber failed"):
                    on_event(event)
        begun = stream.begun() if self._on_begun and stream.live else []
        for event in begun:
            for on_begun in self._on_begun:
                with _logged("a subscriber failed"):
                    on_begun(event)
        block, stream.last_block = stream.last_block, None
        if block is not None:
            for on_block in self._on_block:
                with _logged("a subscriber failed"):
                    on_block(block)
        if messages := stream.outgoing():
            batch += [(sink, messages, stream.over) for sink in list(stream.sinks)]

    def _remove(self, stream: Stream) -> None:
        with self._lock:
            self._streams.pop(stream.id, None)
            self.metrics.sessions.set(len(self._streams))
        if stream.session.pool is not None:
            stream.session.pool.remove(stream.session)
        used = {id(one.model) for one in self.streams()}
        self._pools = {key: pool for key, pool in self._pools.items() if key in used or pool}

    @contextlib.contextmanager
    def _guarded(self, stream: Stream):  # type: ignore[no-untyped-def]
        """Within, a fault ends the stream and nothing else."""
        try:
            yield
        except EarmarkError as error:
            _fail(stream, str(error))
        except Exception:
            _LOG.exception("stream %s failed", stream.id)
            _fail(stream, "the server failed on this stream; its log says more")

    def _shed(self, now: float) -> None:
        """End the newest live streams where there are more than are scored as they come."""
        live = [one for one in self.streams() if one.kind == "client" and one.lost_at is None]
        many = self._shedding.look(now, [one.seconds_late for one in live])
        for newest in live[len(live) - many :]:
            self.metrics.refused.labels("behind").inc()
            _fail(newest, _BEHIND, "behind")

    def _look(self, now: float) -> None:
        """End the streams that were lost, and let old clips go."""
        for stream in self.streams():
            if stream.lost_at is not None and now - stream.lost_at > self.limits.linger_seconds:
                self.finish(stream)
        self._shed(now)
        self.clips.prune()
        self.metrics.clip_bytes.set(self.clips.bytes)


def _fail(stream: Stream, text: str, code: str = "stream") -> None:
    """End a stream for a fault; its events under way end where it was scored last."""
    stream.over = True
    if stream.session.pool is not None:  # no more of it is scored
        stream.session.pool.remove(stream.session)
    with _logged("the events of a stream that failed are lost"):
        stream.end_events()
    stream.say({"type": "error", "code": code, "text": text})
    stream.finish()


def _deliver(batch: Batch, short: Sequence[Sink]) -> None:
    for sink in short:
        sink.short()
    for sink, messages, over in batch:
        sink.put(messages)
        if over:
            sink.ended()


@contextlib.contextmanager
def _logged(text: str):  # type: ignore[no-untyped-def]
    try:
        yield
    except Exception:
        _LOG.exception(text)
