"""Alerts of the server's streams, and what is kept of their events.

The hub hands on events and blocks in its own thread, which must not wait for a disk; so they stand
in a queue, and a thread of their own keeps them and raises alerts. Uploaded files and files of the
server are looked at, not listened to: they are left out.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from earmark.alerts.desk import Desk
from earmark.alerts.loud import LoudSound
from earmark.alerts.rules_file import read_rules
from earmark.decision.policy import NONE
from earmark.live.keeper import Keeper, KeepSettings
from earmark.live.recorder import HeardBlock, RecordedEvent, utc_now
from earmark.output.event_log import provenance_columns, run_record, stamp
from earmark.runtime.events import TOP_CLASSES, Event
from earmark.serve.hub import Hub
from earmark.serve.stream import BEFORE_SECONDS, Block, StreamEvent

_WAITING = 500  # events and blocks, while a disk stands still
_LOOK_SECONDS = 60.0

Report = Callable[[str], object]


@contextlib.contextmanager
def following(
    hub: Hub, *, keep: KeepSettings | None, rules: Path | None, report: Report
) -> Iterator[None]:
    """Within, follow the streams of a hub, if anything is asked for.

    Args:
        hub: advances the streams.
        keep: what is kept of events; None: nothing.
        rules: file of the rules; None: no alerts.
        report: is told in a line what goes wrong, and when it is over.

    Raises:
        SettingsError, StorageError, OSError: see `earmark.alerts.station.Station`.
    """
    if keep is None and rules is None:
        yield
        return
    made = _Following(hub, keep, rules, report)
    leave = [hub.subscribe(made.put)]
    if rules is not None:
        leave += [hub.subscribe_begun(made.put), hub.watch(made.put)]
    try:
        yield
    finally:
        for one in leave:
            one()
        made.close()


class _Following:
    """Keeps events and raises alerts, in a thread."""

    def __init__(
        self, hub: Hub, keep: KeepSettings | None, rules: Path | None, report: Report
    ) -> None:
        self._hub, self._report = hub, report
        info = hub.model.classifier.info
        self._model, self._calibration = info.fingerprint, info.calibration_fingerprint
        self._run, self._loud_events = secrets.token_hex(6), 0
        self._desk: Desk | None = None
        self._keeper: Keeper | None = None
        if rules is not None:
            folder = str(hub.clips.folder.parent) if keep is None else keep.folder
            self._desk = Desk(
                read_rules(rules), rules, info.classes, clip_folder=folder, report=report
            )
        if keep is not None:
            self._keeper = Keeper(
                keep,
                run=self._run,
                record=self._record(),
                provenance=provenance_columns(info, hub.settings),
                report=report,
            )
        if self._desk is not None:
            self._desk.start()
        self._queue: queue.Queue[StreamEvent | Block | None] = queue.Queue(_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name="earmark-alerts", daemon=True)
        self._thread.start()

    def put(self, heard: StreamEvent | Block) -> None:
        """Take an event or a block, in the hub's thread."""
        if not heard.live:
            return
        try:
            self._queue.put_nowait(heard)
        except queue.Full:
            if not self._lost:
                self._report("events come faster than they can be kept; some are left out")
            self._lost += 1

    def close(self) -> None:
        """Take what is in the queue, and end."""
        self._queue.put(None)
        self._thread.join()
        if self._keeper is not None:
            self._keeper.close()
        if self._desk is not None:
            self._desk.close()

    def _work(self) -> None:
        while True:
            try:
                heard = self._queue.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if self._keeper is not None:
                    self._keeper.flush()
                continue
            if heard is None:
                return
            try:
                if isinstance(heard, StreamEvent):
                    self._take_event(heard)
                else:
                    self._take_block(heard)
            except Exception as error:  # one event must not end the others
                said = " ".join(str(error).split())[:200]
                self._report(f"an event was not kept ({type(error).__name__}: {said})")

    def _take_event(self, heard: StreamEvent) -> None:
        if (heard.event.model, heard.calibration) != (self._model, self._calibration):
            self._take_model(heard)
        recorded = RecordedEvent(
            event=heard.event,
            id=heard.id,
            start=heard.time,
            threshold=heard.threshold,
            samples=heard.samples,
            sample_rate=heard.sample_rate,
            clip_from=max(0.0, heard.event.onset - BEFORE_SECONDS),
            ended=heard.ended,
        )
        clip = f"{self._hub.clips.folder.name}/{heard.clip}.wav" if heard.clip else ""
        if self._keeper is not None:
            clip = self._keeper.keep(recorded) if heard.ended else self._keeper.clip_of(recorded)
        if self._desk is not None:
            self._desk.event(recorded, clip)

    def _take_model(self, heard: StreamEvent) -> None:
        """Take note that events come from another model, or one of other thresholds, now."""
        info = self._hub.model.classifier.info
        used = info.fingerprint, info.calibration_fingerprint
        if used != (heard.event.model, heard.calibration):
            return  # of a stream that was opened before
        (self._model, self._calibration), self._run = used, secrets.token_hex(6)
        if self._desk is not None:
            self._desk.take_classes(info.classes)
        if self._keeper is not None:
            provenance = provenance_columns(info, self._hub.settings)
            self._keeper.begin(self._run, self._record(), provenance)

    def _record(self) -> dict[str, object]:
        info = self._hub.model.classifier.info
        head = {"source": "serve", "begun": stamp(utc_now()), "live": True}
        return {**head, **run_record(info, self._hub.settings)}

    def _take_block(self, heard: Block) -> None:
        if self._desk is None:
            return
        block = HeardBlock(
            source=heard.stream,
            start=heard.start,
            end=heard.at,
            time=utc_now(),
            level_db=heard.level_db,
            active=heard.label != NONE,
            scores=heard.scores,
        )
        for number, sound in self._desk.loud_sounds(block):
            self._take_loud(number, sound, heard, block)

    def _take_loud(self, number: int, sound: LoudSound, heard: Block, block: HeardBlock) -> None:
        """Take a loud sound of no class for an event of that name; it has no clip."""
        top = dict(list(sound.scores.items())[:TOP_CLASSES])
        score = max(sound.scores.values(), default=0.0)
        event = Event(NONE, sound.onset, sound.offset, score, top, heard.source, self._model)
        self._loud_events += 1
        recorded = RecordedEvent(
            event=event,
            id=f"{self._run}-{self._loud_events}",
            start=block.began(sound.onset),
            level_db=sound.level_db,
        )
        if self._keeper is not None:
            self._keeper.keep(recorded)
        if self._desk is not None:
            self._desk.loud_event(number, recorded)
