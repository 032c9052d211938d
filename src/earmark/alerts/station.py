"""What follows one stream: it is recorded, its events are kept, alerts are raised."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path

from earmark.alerts.desk import Desk
from earmark.alerts.loud import LoudSound
from earmark.alerts.rules_file import read_rules
from earmark.decision.policy import NONE
from earmark.live.followed import FollowedBlock, FollowedSession
from earmark.live.keeper import Keeper, KeepSettings
from earmark.live.recorder import HeardBlock, RecordedEvent, Recorder
from earmark.output.event_log import provenance_columns, run_record, stamp
from earmark.runtime.engine import ModelInfo
from earmark.runtime.events import TOP_CLASSES, Event
from earmark.runtime.session import Session

_FLUSH_SECONDS = 60.0  # between two looks for old clips, and for events that wait for a full disk

Report = Callable[[str], object]


class Station:
    """Follows a stream.

    Args:
        session: the stream, which was given nothing yet.
        info: of the model.
        keep: what is kept of events; None: nothing.
        rules: file of the rules; None: no alerts.
        report: is told in a line what goes wrong, and when it is over.
        start: when a recording began; None: the stream is live.

    Raises:
        SettingsError: see `earmark.alerts.rules_file.read_rules` and `Desk`.
        StorageError: another process uses a folder.
        OSError: a folder cannot be written to.

    Attributes:
        session: takes the place of the one that was given.
    """

    def __init__(
        self,
        session: Session,
        info: ModelInfo,
        *,
        keep: KeepSettings | None,
        rules: Path | None,
        report: Report,
        start: datetime.datetime | None = None,
    ) -> None:
        self.session = FollowedSession(session, self._follow)
        self._source, self._model = session.source, info.fingerprint
        self._recorder = Recorder(
            session.source,
            info.sample_rate,
            self.session.thresholds,
            before=0.0 if keep is None else keep.before,
            after=0.0 if keep is None else keep.after,
            clips=keep is not None,
            start=start,
        )
        self._recorder.on_event, self._recorder.on_block = self._event, self._block
        self._recorder.on_begun = self._begun
        self._desk: Desk | None = None
        self._keeper: Keeper | None = None
        self._flushed = time.monotonic()
        if rules is not None:
            folder = "" if keep is None else keep.folder
            self._desk = Desk(
                read_rules(rules),
                rules,
                info.classes,
                clip_folder=folder,
                live=start is None,
                report=report,
            )
        if keep is not None:
            record = {
                "source": session.source,
                "begun": stamp(start or datetime.datetime.now(datetime.timezone.utc)),
                "live": start is None,
                **run_record(info, session.settings),
            }
            self._keeper = Keeper(
                keep,
                run=self._recorder.stream,
                record=record,
                provenance=provenance_columns(info, session.settings),
                report=report,
            )
        if self._desk is not None:
            self._desk.start()

    def close(self) -> None:
        """End; alerts that cannot be delivered in a few seconds wait for the next start."""
        if self._keeper is not None:
            self._keeper.close()
        if self._desk is not None:
            self._desk.close()

    def _follow(self, block: FollowedBlock) -> None:
        self._recorder.follow(block)

    def _event(self, recorded: RecordedEvent) -> None:
        clip = "" if self._keeper is None else self._keeper.keep(recorded)
        if self._desk is not None:
            self._desk.event(recorded, clip)

    def _begun(self, begun: RecordedEvent) -> None:
        if self._desk is not None:
            clip = "" if self._keeper is None else self._keeper.clip_of(begun)
            self._desk.event(begun, clip)

    def _block(self, block: HeardBlock) -> None:
        if self._desk is not None:
            for number, sound in self._desk.loud_sounds(block):
                self._loud(number, sound)
        now = time.monotonic()
        if self._keeper is not None and now - self._flushed > _FLUSH_SECONDS:
            self._flushed = now
            self._keeper.flush()

    def _loud(self, number: int, sound: LoudSound) -> None:
        """Take a loud sound of no class for an event of that name."""
        top = dict(list(sound.scores.items())[:TOP_CLASSES])
        score = max(sound.scores.values(), default=0.0)
        event = Event(NONE, sound.onset, sound.offset, score, top, self._source, self._model)
        recorded = self._recorder.loud_event(event, sound.level_db)
        clip = "" if self._keeper is None else self._keeper.keep(recorded)
        if self._desk is not None:
            self._desk.loud_event(number, recorded, clip)
