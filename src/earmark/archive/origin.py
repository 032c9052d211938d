"""When, where and by what a recording was made: manifest, GUANO, a recorder's comment, its name.

Only the chunks of WAV files are looked at, each up to 64 kB, and never a sample.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from earmark.archive.plan import Unit
from earmark.errors import SettingsError

_LONGEST_CHUNK = 1 << 16
_MOST_CHUNKS = 64
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
_NAME = re.compile(
    r"(?<!\d)(?P<date>\d{8}|\d{4}-\d{2}-\d{2})(?:[_ -]?T?|[_ ])(?P<time>\d{6}|\d{2}-\d{2}-\d{2})"
    r"(?!\d)(?P<zone>Z|_?[+-]\d{4}(?!\d))?"
)
_AUDIOMOTH_NAME = re.compile(r"[0-9A-F]{8}")  # seconds since 1970, of its earlier firmware
_AUDIOMOTH = re.compile(
    r"Recorded at (\d\d:\d\d:\d\d(?:\.\d+)?) (\d\d/\d\d/\d{4}) \(UTC([+-]\d+(?::\d+)?)?\) by "
    r"(?:AudioMoth )?([0-9A-F]{16})?"
)
_FARTHEST = datetime.timedelta(hours=14)  # from UTC, of any time zone
_FIRST = datetime.datetime(2014, 1, 1, tzinfo=datetime.timezone.utc)
_LAST = datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Origin:
    """When, where and by what a recording was made; empty where nothing says so.

    Attributes:
        start: when it begins, in UTC.
        source: what says so: manifest, guano, comment or name.
        site: where it was recorded.
        recorder: what recorded it.
    """

    start: datetime.datetime | None = None
    source: str = ""
    site: str = ""
    recorder: str = ""


def time_zone(name: str) -> datetime.tzinfo:
    """Return a time zone by its name, as Europe/Berlin, or by its distance to UTC, as +01:00.

    Raises:
        SettingsError: there is none.
    """
    if match := _OFFSET.fullmatch(name):
        sign = -1 if match[1] == "-" else 1
        delta = datetime.timedelta(hours=int(match[2]), minutes=int(match[3]))
        if delta < datetime.timedelta(hours=24):
            return datetime.timezone(sign * delta)
    elif name.upper() in ("UTC", "Z"):
        return datetime.timezone.utc
    else:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise SettingsError(
        f"{name!r} is no time zone; give a name such as Europe/Berlin, or +01:00 (on Windows, "
        "names need pip install tzdata)"
    )


def origin_of(unit: Unit, path: Path | None, zone: datetime.tzinfo) -> Origin:
    """Say when, where and by what a file was recorded.

    Args:
        unit: the file, with what a manifest says of it.
        path: where it lies now; None: it is not opened.
        zone: of times that do not say theirs.
    """
    start, source, recorder = unit.start, "manifest" if unit.start else "", unit.recorder
    site = unit.site
    chunks = Origin() if path is None else _of_chunks(path)
    for found in (chunks, _of_name(unit.address)):
        if start is None and found.start is not None:
            start, source = found.start, found.source
        recorder, site = recorder or found.recorder, site or found.site
    if not unit.site and (folder := _site_folder(unit)):
        site = folder
    if start is not None:
        start = start if start.tzinfo else start.replace(tzinfo=zone)
        try:
            start = start.astimezone(datetime.timezone.utc)
        except OverflowError:  # of a clock that stands at the end of time
            start = None
    return Origin(start, source if start else "", _text(site), _text(recorder))


def is_another(unit: Unit, zone: datetime.tzinfo, before: Origin) -> bool:
    """Tell whether manifest, folder or name now say another start or site than a row has.

    Args:
        unit: the file, which is not opened.
        zone: of times that do not say theirs.
        before: what the row has.
    """
    now = origin_of(unit, None, zone)
    if now.source in ("manifest", before.source) and now.start != before.start:
        return True
    return bool(unit.site or _site_folder(unit)) and now.site != before.site


def _of_chunks(path: Path) -> Origin:
    """Read what a recorder left in a WAV file."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return Origin()
        with path.open("rb") as file:
            chunks = dict(_chunks(file))
    except (OSError, ValueError):
        return Origin()
    if data := chunks.get(b"guan"):
        return _of_guano(data)
    comment = chunks.get(b"LIST", b"").decode("latin-1")
    match = _AUDIOMOTH.search(comment)
    if match is None:
        return Origin()
    time, date, offset, serial = match.groups()
    try:
        naive = datetime.datetime.strptime(f"{date} {time[:8]}", "%d/%m/%Y %H:%M:%S")
    except ValueError:
        return Origin()
    hours, _, minutes = (offset or "+0").partition(":")
    try:
        delta = datetime.timedelta(hours=int(hours), minutes=int(f"{hours[0]}{minutes or 0}"))
        start = naive.replace(tzinfo=datetime.timezone(delta))
    except (ValueError, OverflowError):
        return Origin()
    recorder = f"AudioMoth {serial}" if serial else "AudioMoth"
    return Origin(start, "comment", "", recorder)


def _of_guano(data: bytes) -> Origin:
    """Read GUANO metadata."""
    try:
        import guano
    except ModuleNotFoundError:
        return Origin()
    try:
        read = guano.GuanoFile.from_string(data.decode("utf-8", "replace").rstrip("\0"))
        start = read.get("Timestamp")
    except Exception:  # of a chunk that holds anything
        return Origin()

    def word(*names: str) -> str:
        return " ".join(str(value) for name in names if (value := read.get(name)))

    if not isinstance(start, datetime.datetime):
        start = None
    elif start.tzinfo is not None:  # of a class of its own, whose offset is all that counts
        start = start.replace(tzinfo=datetime.timezone(start.utcoffset() or datetime.timedelta(0)))
    recorder = word("Make", "Model", "Serial")
    return Origin(start, "guano", word("Site") or word("Site Name"), recorder)


def _of_name(address: str) -> Origin:
    """Read the name of a file, as 20240131_054500.WAV or SITE1_20240131_054500Z.flac."""
    stem = PurePath(address).stem
    if _AUDIOMOTH_NAME.fullmatch(stem):
        start = datetime.datetime.fromtimestamp(int(stem, 16), datetime.timezone.utc)
        return Origin(start, "name") if _FIRST < start < _LAST else Origin()
    for match in _NAME.finditer(stem):
        digits = match["date"].replace("-", "") + match["time"].replace("-", "")
        try:
            start = datetime.datetime.strptime(digits, "%Y%m%d%H%M%S")
        except ValueError:
            continue
        if not _FIRST.year - 30 < start.year < _LAST.year:
            continue
        zone = (match["zone"] or "").lstrip("_")
        if zone == "Z":
            start = start.replace(tzinfo=datetime.timezone.utc)
        elif zone:
            with contextlib.suppress(SettingsError):  # digits that are no zone, as a serial number
                named = start.replace(tzinfo=time_zone(zone))
                if abs(named.utcoffset() or _FARTHEST) <= _FARTHEST:
                    start = named
        return Origin(start, "name", stem[: match.start()].strip(" _-."))
    return Origin()


def _site_folder(unit: Unit) -> str:
    """Return the first folder below the one that was searched, if the file lies in any."""
    if not unit.folder:
        return ""
    inside = PurePath(unit.address).relative_to(unit.folder).parts
    return inside[0] if len(inside) > 1 else ""


def _text(name: str) -> str:
    """Return a name that any table can hold."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the small chunks of a WAV file; large ones are passed over, the samples too."""
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return
    for _ in range(_MOST_CHUNKS):
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if len(name) < 4:
            return
        if length <= _LONGEST_CHUNK and name != b"data":
            yield name, file.read(length)
            file.seek(length % 2, 1)
        else:
            file.seek(length + length % 2, 1)


def origin_columns(origin: Origin) -> dict[str, Any]:
    """Return what a file's row says of its origin."""
    return {
        "site": origin.site or None,
        "recorder": origin.recorder or None,
        "start_utc": origin.start,
        "start_source": origin.source or None,
    }
