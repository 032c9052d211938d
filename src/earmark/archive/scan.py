"""What a folder of recordings holds, before it is labelled: what decodes, gaps, time and size.

Of each file the structure is looked at and the first second decoded; on request all of it is.
"""

from __future__ import annotations

import datetime
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from earmark.archive.labelled import cause_of
from earmark.archive.origin import origin_of
from earmark.archive.plan import Plan, Unit
from earmark.classifier import Classifier
from earmark.errors import AudioError
from earmark.io.decode import most_seconds
from earmark.io.recording import inspect, open_file
from earmark.io.shape import declared_shape
from earmark.runtime.session import file_chunks

_PROBED_FILES = 4
_PROBED_SECONDS = 40.0  # of each, for the estimate
_FILE_BYTES, _EVENT_BYTES = 240, 50  # of a row in an archive, measured
_EMPTY_ARCHIVE_BYTES = 60_000
_REGULAR = 1.5  # a pause of so many usual ones is a gap
_CLOCK_SECONDS = 2.0  # that a clock or a header may be off


@dataclass(frozen=True)
class Scanned:
    """What one file holds.

    Attributes:
        unit: the file.
        sample_rate: in Hz; None: not known.
        channels: None: not known.
        seconds: its length, as far as its bytes or its samples tell; None: not known.
        cause: what is wrong with it, in a word; empty: nothing was found.
        error: the same as a line.
        site: where it was recorded.
        start: when it begins, in UTC.
        unfinished: its header tells of less than is there, all of which is read.
    """

    unit: Unit
    sample_rate: int | None
    channels: int | None
    seconds: float | None
    cause: str = ""
    error: str = ""
    site: str = ""
    start: datetime.datetime | None = None
    unfinished: bool = False


@dataclass(frozen=True)
class Gap:
    """A time of which a site has no recording, or two.

    Attributes:
        site: the site.
        begin: the end of the recording before.
        seconds: how long it is; below 0: the recordings overlap.
    """

    site: str
    begin: datetime.datetime
    seconds: float


@dataclass
class Estimate:
    """What labelling would take.

    Attributes:
        seconds: on this machine.
        size: of the archive, in bytes.
        speed: seconds of audio in a second, by one worker.
        probed: seconds of audio that it was measured on.
    """

    seconds: float
    size: int
    speed: float
    probed: float


@dataclass
class Report:
    """What a folder holds.

    Attributes:
        files: the files.
        gaps: the times without a recording, the longest first.
        estimate: what labelling would take; None: nothing decodes.
    """

    files: list[Scanned] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    estimate: Estimate | None = None

    @property
    def seconds(self) -> float:
        """All audio that is there, as far as it is known."""
        return sum(one.seconds or 0.0 for one in self.files)

    def counts(self, of: Callable[[Scanned], object]) -> Counter[object]:
        """Return how many files that decode have which value."""
        return Counter(of(one) for one in self.files if one.seconds is not None)


def scan(
    plan: Plan,
    classifier: Classifier,
    zone: datetime.tzinfo,
    *,
    workers: int,
    thorough: bool = False,
    show: Callable[[int], object] = lambda _: None,
) -> Report:
    """Look at every file of a plan.

    Args:
        plan: the files.
        classifier: the model that is to label them.
        zone: of times that do not say theirs.
        workers: that are to label them.
        thorough: decode all of each file.
        show: is told after each file how many were looked at.
    """
    report = Report()
    for number, unit in enumerate(plan.units, 1):
        report.files.append(scan_file(unit, zone, thorough))
        show(number)
    report.gaps = gaps(report.files)
    report.estimate = _estimate(report, classifier, workers)
    return report


def gaps(files: Iterable[Scanned]) -> list[Gap]:
    """Find the gaps and overlaps between recordings of each site, the longest first.

    Many recorders pause on purpose: a pause is a gap where it is longer than is usual there.
    """
    sites: dict[str, list[Scanned]] = {}
    for one in files:
        if one.start is not None and one.seconds is not None:
            sites.setdefault(one.site, []).append(one)
    found = []
    for site, there in sites.items():
        there.sort(key=lambda one: (one.start, one.unit.address))
        pauses = [_pause(one, two) for one, two in itertools.pairwise(there)]
        usual = max(0.0, statistics.median(pauses)) if pauses else 0.0
        for one, pause in zip(there, pauses, strict=False):
            if pause > _REGULAR * usual + _CLOCK_SECONDS or pause < -_CLOCK_SECONDS:
                found.append(Gap(site, _end(one), pause))
    return sorted(found, key=lambda gap: -abs(gap.seconds))


def _end(one: Scanned) -> datetime.datetime:
    start = one.start or datetime.datetime.min
    return start + datetime.timedelta(seconds=one.seconds or 0.0)


def _pause(one: Scanned, two: Scanned) -> float:
    return ((two.start or datetime.datetime.min) - _end(one)).total_seconds()


def scan_file(unit: Unit, zone: datetime.tzinfo, thorough: bool) -> Scanned:
    """Look at one file; see `scan`."""
    path = Path(unit.address)
    if unit.remote:
        return Scanned(unit, None, None, None, "not looked at", "lies elsewhere", unit.site)
    origin = origin_of(unit, path, zone)
    rate, channels, seconds = None, None, None
    error, unfinished = "", False
    try:
        raw, size = open_file(path)
        rate, channels, seconds = declared_shape(path)
        with raw:
            found = inspect(raw, size, path)
        if found.cut:
            error = f"{path}: {found.cut}"
        elif (there := most_seconds(path)) is not None:
            unfinished = len(found.parts) == 1 and there > 1.01 * (seconds or 0.0) + 0.01
            seconds = there
        taken, at = 0, rate if rate and 4_000 <= rate <= 384_000 else 16_000
        for block in file_chunks(path, at, lambda _: None):
            taken += len(block)
            if not thorough and taken:
                break
        if thorough or seconds is None:
            seconds = taken / at if thorough else seconds
    except AudioError as fault:
        error = error or str(fault)
        if not _heard(path, rate or 16_000):
            seconds = None
    cause = cause_of(error, unit.address) if error else ""
    return Scanned(
        unit,
        rate,
        channels,
        seconds,
        cause,
        error,
        site=origin.site,
        start=origin.start,
        unfinished=unfinished,
    )


def _heard(path: Path, rate: int) -> bool:
    """Tell whether a file with a fault gives any samples."""
    try:
        return next(iter(file_chunks(path, rate, lambda _: None)), None) is not None
    except AudioError:
        return False


def _estimate(report: Report, classifier: Classifier, workers: int) -> Estimate | None:
    """Label the begins of some files, and reckon from them."""
    good = [one for one in report.files if one.seconds and not one.cause]
    if not good:
        return None
    probed, took, events = 0.0, 0.0, 0
    for place in np.linspace(0, len(good) - 1, min(_PROBED_FILES, len(good))).round():
        path = Path(good[int(place)].unit.address)
        session = classifier.file_session(path)
        begun = time.monotonic()
        try:
            for block in file_chunks(path, session.sample_rate, lambda _: None):
                events += len(session.push(block))
                if session.seconds > _PROBED_SECONDS:
                    break
            events += len(session.finish())
        except AudioError:
            continue
        took += time.monotonic() - begun
        probed += session.seconds
    if not probed or not took:
        return None
    speed = probed / took
    rows = report.seconds * events / probed
    size = round(len(report.files) * _FILE_BYTES + rows * _EVENT_BYTES) + _EMPTY_ARCHIVE_BYTES
    return Estimate(report.seconds / speed / workers, size, speed, probed)


def as_columns(one: Scanned) -> Sequence[str]:
    """Return a file as words of a table."""
    return (
        one.unit.address.encode("utf-8", "backslashreplace").decode(),
        str(one.unit.size),
        "" if one.sample_rate is None else str(one.sample_rate),
        "" if one.channels is None else str(one.channels),
        "" if one.seconds is None else f"{one.seconds:.3f}",
        one.start.isoformat() if one.start else "",
        one.site,
        one.cause,
        one.error.encode("utf-8", "backslashreplace").decode(),
    )


COLUMNS = (
    "path",
    "size",
    "sample_rate",
    "channels",
    "seconds",
    "start_utc",
    "site",
    "cause",
    "error",
)
