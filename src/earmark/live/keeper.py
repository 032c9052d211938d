"""The folder of `--keep`: clips of events, and the events themselves.

    events.jsonl    a line for each event, only ever added to
    clips/          their sound, bounded by size and age
    runs/           what each run was: model, calibration, settings

A disk that is full, or gone, stops no detection: it is said once, events wait in memory, and they
are written when there is room again. Clips that could not be written are lost, and counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.config.codec import check, check_types
from earmark.io.append import AppendedLines
from earmark.io.files import write_json
from earmark.io.lock import FolderLock
from earmark.live.clip_folder import ClipFolder, clip_path
from earmark.live.recorder import RecordedEvent
from earmark.output.event_log import event_row

EVENTS_NAME, CLIPS_NAME, RUNS_NAME = "events.jsonl", "clips", "runs"
LEAST_BYTES = 10_000_000
_WAITING_EVENTS = 100_000  # in memory, while the disk is full
_CALM_SECONDS = 60.0  # without a fault, until it is said that all is well

Report = Callable[[str], object]


@dataclass(frozen=True)
class KeepSettings:
    """What is kept of events.

    Attributes:
        folder: where to.
        most_bytes: all clips together.
        most_days: how long a clip is kept.
        before: seconds of a clip before its event.
        after: seconds of a clip after it.
    """

    folder: str
    most_bytes: int = 2_000_000_000
    most_days: float = 30.0
    before: float = 2.0
    after: float = 2.0

    def __post_init__(self) -> None:
        check_types(self)
        check(self.most_bytes >= LEAST_BYTES, "keep_size", "at least 10MB", self.most_bytes)
        check(self.most_days > 0, "keep_days", "above 0", self.most_days)
        for name in ("before", "after"):
            value = getattr(self, name)
            check(0 <= value <= 60, f"keep_{name}", "from 0 to 60 seconds", value)


class Keeper:
    """Keeps events and their clips in a folder that it alone writes to.

    Args:
        settings: where and how much.
        run: names this run.
        record: all that is known of the run, see `earmark.output.event_log.run_record`.
        provenance: what each event says of it.
        report: is told in a line what goes wrong, and when it is over.
        clock: gives the time in seconds.

    Raises:
        StorageError: another process keeps events there.
        OSError: the folder cannot be written to.
    """

    def __init__(
        self,
        settings: KeepSettings,
        *,
        run: str,
        record: Mapping[str, Any],
        provenance: Mapping[str, str],
        report: Report,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder = Path(settings.folder)
        self.folder = folder
        self._report, self._clock = report, clock
        self._lock = FolderLock(folder, "give another --keep")
        self._log = AppendedLines(folder / EVENTS_NAME)
        if self._log.repaired:
            report(f"{self._log.path}: its last line was torn by a kill and has been taken away")
        self._clips = ClipFolder(
            folder / CLIPS_NAME, most_bytes=settings.most_bytes, most_days=settings.most_days
        )
        self.begin(run, record, provenance)
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_WAITING_EVENTS)
        self._failing = self._clip_failed = False
        self._lost_clips = self._lost_events = 0
        self._failed_at = 0.0

    def begin(self, run: str, record: Mapping[str, Any], provenance: Mapping[str, str]) -> None:
        """Begin a run, as when another model is taken; events belong to it from now on.

        Raises:
            OSError: it cannot be written.
        """
        self._run, self._provenance = run, dict(provenance)
        write_json(self.folder / RUNS_NAME / f"{run}.json", {"run": run, **record})

    def keep(self, recorded: RecordedEvent) -> str:
        """Keep an event and its clip; return the path of the clip within the folder, or nothing."""
        clip = self._keep_clip(recorded)
        row = event_row(
            recorded.event,
            name=recorded.id,
            start=recorded.start,
            end=recorded.end,
            threshold=recorded.threshold,
            level_db=recorded.level_db,
            clip=clip,
            clip_from=recorded.clip_from,
            run=self._run,
            provenance=self._provenance,
        )
        self._lost_events += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(row)
        self.flush()
        return clip

    def clip_of(self, begun: RecordedEvent) -> str:
        """Return the path that `keep` will give the clip of an event under way."""
        return f"{CLIPS_NAME}/{clip_path(begun.start, begun.event.label, begun.id)}"

    def flush(self) -> None:
        """Write the events that wait, and remove clips that have become too old."""
        try:
            self._clips.prune()
            while self._waiting:
                self._log.append(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            self._fail(error)
            return
        calm = self._clock() - self._failed_at > _CALM_SECONDS  # a small clip may fit in between
        if self._failing and not self._clip_failed and calm:
            self._report(f"{self.folder}: can be written to again; {self._lost()}")
            self._failing, self._lost_clips, self._lost_events = False, 0, 0

    def close(self) -> None:
        """Write what still waits, and let go of the folder."""
        self.flush()
        if self._failing:
            self._lost_events += len(self._waiting)
            self._report(f"{self.folder}: {self._lost()}")
        self._log.close()
        self._lock.release()

    def _keep_clip(self, recorded: RecordedEvent) -> str:
        if not len(recorded.samples):
            return ""
        try:
            path = self._clips.add(
                recorded.samples,
                recorded.sample_rate,
                start=recorded.start,
                label=recorded.event.label,
                name=recorded.id,
            )
        except OSError as error:
            self._lost_clips += 1
            self._clip_failed = True
            self._fail(error)
            return ""
        self._clip_failed = False
        return f"{CLIPS_NAME}/{path}"

    def _lost(self) -> str:
        return f"{self._lost_events} event(s) and {self._lost_clips} clip(s) were lost"

    def _fail(self, error: OSError) -> None:
        self._failed_at = self._clock()
        if not self._failing:
            reason = (error.strerror or str(error)).lower()
            self._report(
                f"{self.folder}: cannot be written to ({reason}); detection goes on, events wait "
                "in memory and clips are lost until there is room"
            )
        self._failing = True
