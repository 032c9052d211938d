"""An archive on one page: how much there is, of what, when and where, and what failed.

The page is one file, with its pictures and sounds inside. It asks for nothing from outside, which
its policy forbids to the browser too, and runs no script.
"""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from earmark.archive import samples
from earmark.archive.plan import REMOTE
from earmark.archive.query import Questions
from earmark.archive.result_set import ResultSet
from earmark.archive.store import Archive
from earmark.io.files import write_text
from earmark.provenance import now

_CLASSES = 15  # rows of a table of classes
_SITES = 12
_CAUSES = 12
_SAMPLES = 12
_TRIED = 3  # events of a class, until a recording is there
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

_TOTALS = """
SELECT count(*), coalesce(sum(seconds), 0), coalesce(sum(events), 0), count(cause),
       count(DISTINCT site), min(start_utc), max(start_utc), count(start_utc),
       count(*) FILTER (status = 'partial'), any_value(labelled_utc)
FROM files
"""
_BY_CLASS = """
SELECT label, count(*) AS n, count(DISTINCT path), sum(offset_seconds - onset_seconds),
       median(score)
FROM events GROUP BY label ORDER BY n DESC, label
"""
_BY_HOUR = """
SELECT label, hour(start_utc), count(*) FROM events WHERE start_utc IS NOT NULL GROUP BY ALL
"""
_HOURS = """
SELECT hour(start_utc + to_seconds(60 * minute)) AS hour, sum(least(60, seconds - 60 * minute))
FROM (SELECT start_utc, seconds, unnest(range(0, CAST(ceil(seconds / 60) AS BIGINT))) AS minute
      FROM files WHERE start_utc IS NOT NULL AND seconds > 0)
GROUP BY hour
"""
_BY_SITE = "SELECT label, coalesce(site, ''), count(*) FROM events GROUP BY ALL"
_SITE_HOURS = """
SELECT coalesce(site, '') AS place, sum(seconds) AS s, count(*) FROM files GROUP BY place
HAVING s > 0 ORDER BY s DESC, place
"""
_BY_CAUSE = """
SELECT cause, count(*) AS n, min(replace(error, path, parse_filename(path))) FROM files
WHERE cause IS NOT NULL GROUP BY cause ORDER BY n DESC, cause
"""
_BEST = """
SELECT label, path, path_bytes, onset_seconds, offset_seconds, score, site, start_utc FROM events
QUALIFY row_number() OVER (
  PARTITION BY label ORDER BY score DESC, offset_seconds - onset_seconds DESC, path
) <= {tried}
"""


def write_summary(
    path: Path, archive: Archive, sets: Sequence[ResultSet], questions: Questions
) -> None:
    """Write the page.

    Args:
        path: the file.
        archive: the archive.
        sets: whose results it shows.
        questions: to these results.

    Raises:
        ArchiveError: a part of the archive is damaged.
        OSError: the file cannot be written.
    """
    write_text(path, page(archive, sets, questions))


def page(archive: Archive, sets: Sequence[ResultSet], questions: Questions) -> str:
    """Return the page as text."""
    totals = next(questions.sql(_TOTALS).rows)
    classes = list(questions.sql(_BY_CLASS).rows)
    body = [
        _tiles(totals),
        _class_section(classes),
        _hour_section(questions, [row[0] for row in classes], int(totals[7])),
        _site_section(questions, [row[0] for row in classes]),
        _sample_section(questions, [row[0] for row in classes]),
        _cause_section(questions, int(totals[0])),
        _set_section(sets),
    ]
    title = f"{archive.folder.absolute().name}: recordings labelled by Earmark"
    style = importlib.resources.files("earmark.archive").joinpath("page.css").read_text("utf-8")
    models, folder = _text(", ".join(_models(sets))), _text(str(archive.folder))
    first, last = totals[5], totals[6]
    span = ""
    if first is not None:
        days = f"{first:%Y-%m-%d}" + (f" to {last:%Y-%m-%d}" if first.date() != last.date() else "")
        span = f"Recorded {days} (UTC). "
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{_text(archive.folder.absolute().name)}</h1>
<p class="quiet">{span}Labelled by Earmark with {models}; page of {now()[:10]}.</p>
</header>
<main>
{"".join(body)}</main>
<footer><p class="quiet">Made with <code>earmark results {folder} --summary</code>. Scores are the
model's, not certainties: listen to the samples before you count on a class.</p></footer>
</body>
</html>
"""


def _tiles(totals: Sequence[Any]) -> str:
    files, seconds, events, faults, sites = totals[:5]
    partial = int(totals[8])
    shown = [
        (_hours(float(seconds)), "of audio", ""),
        (f"{files:,}", "files", ""),
        (f"{int(events):,}", "events", ""),
        (f"{sites:,}", "site" if sites == 1 else "sites", ""),
        (
            f"{faults:,}",
            "files with a fault" + (f", {partial:,} of them in part" if partial else ""),
            " bad" if faults else "",
        ),
    ]
    tiles = "".join(
        f'<div class="tile{kind}"><b>{number}</b><span class="quiet">{text}</span></div>\n'
        for number, text, kind in shown
        if text not in ("sites",) or number != "0"
    )
    return f'<div class="tiles">\n{tiles}</div>\n'


def _class_section(classes: Sequence[Sequence[Any]]) -> str:
    if not classes:
        return _section("Events", "No class reached its threshold anywhere.", "")
    most = max(row[1] for row in classes)
    rows = "".join(
        f'<tr><th scope="row">{_text(label)}</th><td class="number">{count:,}</td>'
        f'<td class="bar"><i style="width:{100 * count / most:.1f}%"></i></td>'
        f'<td class="number less">{files:,}</td><td class="number less">{_span(seconds)}</td>'
        f'<td class="number">{score:.2f}</td></tr>\n'
        for label, count, files, seconds, score in classes[: 2 * _CLASSES]
    )
    head = (
        '<thead><tr><th>class</th><th class="number">events</th><th></th>'
        '<th class="number less">files</th><th class="number less">length</th>'
        '<th class="number">median score</th></tr></thead>'
    )
    more = len(classes) - 2 * _CLASSES
    note = f"{len(classes)} classes occur" + (
        f"; the {more} rarest are left out." if more > 0 else "."
    )
    return _section(
        "Events by class",
        note,
        _scrolled(f'<table class="classes">{head}<tbody>\n{rows}</tbody></table>'),
    )


def _hour_section(questions: Questions, classes: Sequence[str], timed: int) -> str:
    title = "Events by hour of day"
    if not timed:
        return _section(
            title,
            "No file says when it was recorded, neither in its name (20240131_054500.WAV) nor in "
            "its metadata; a manifest with the column start can.",
            "",
        )
    recorded = {int(hour): float(seconds) for hour, seconds in questions.sql(_HOURS).rows}
    counts = {(label, int(hour)): count for label, hour, count in questions.sql(_BY_HOUR).rows}
    rates = {
        (label, f"{hour:02}"): (count / (recorded[hour] / 3600), count)
        for (label, hour), count in counts.items()
        if recorded.get(hour)
    }
    hours = [f"{hour:02}" for hour in range(24)]
    empty = {f"{hour:02}" for hour in range(24) if not recorded.get(hour)}
    table = _heat(classes[:_CLASSES], hours, rates, empty, "recorded")
    note = (
        "Events for each hour of audio that was recorded at that time of day, in UTC; the deepest "
        "colour in a row is that class's busiest hour. Hours without recordings stay grey."
    )
    return _section(title, note, table)


def _site_section(questions: Questions, classes: Sequence[str]) -> str:
    sites = list(questions.sql(_SITE_HOURS).rows)
    if len(sites) < 2:
        return ""
    shown = sites[:_SITES]
    hours = {site: float(seconds) / 3600 for site, seconds, _ in sites}
    rates = {
        (label, site): (count / hours[site], count)
        for label, site, count in questions.sql(_BY_SITE).rows
        if site in hours
    }
    names = [site for site, _, _ in shown]
    table = _heat(classes[:_CLASSES], names, rates, set(), "recorded")
    parts = [f"{_text(site or 'no site')} {_hours(float(s))}" for site, s, _ in shown]
    more = f" {len(sites) - _SITES} further sites are left out." if len(sites) > _SITES else ""
    note = f"Events for each hour of audio. Audio: {'; '.join(parts)}.{more}"
    return _section("Events by site", note, table, safe_note=True)


def _heat(
    rows: Sequence[str],
    columns: Sequence[str],
    rates: dict[tuple[str, str], tuple[float, int]],
    empty: set[str],
    what: str,
) -> str:
    """Return a table whose cells are the deeper in colour, the higher their share of the row."""
    head = "".join(f"<th>{_text(column or 'no site')}</th>" for column in columns)
    lines = []
    for row in rows:
        most = max(
            (rates[row, column][0] for column in columns if (row, column) in rates), default=1
        )
        cells = []
        for column in columns:
            rate, count = rates.get((row, column), (0.0, 0))
            kind = ' class="none"' if column in empty else ""
            share = 0.08 + 0.66 * rate / most if rate else 0.05
            said = f"{row}, {column or 'no site'}: {count:,} events, {rate:.1f} an hour {what}"
            shown = _short(rate) if rate else ""
            cells.append(
                f'<td{kind} title="{_text(said)}">'
                f'<span style="--share:{share:.2f}">{shown}</span></td>'
            )
        lines.append(
            f'<tr><th scope="row" title="{_text(row)}">{_text(row)}</th>{"".join(cells)}</tr>\n'
        )
    return _scrolled(
        f'<table class="heat"><colgroup><col class="first"></colgroup>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>\n{''.join(lines)}</tbody></table>"
    )


def _sample_section(questions: Questions, classes: Sequence[str]) -> str:
    best: dict[str, list[Sequence[Any]]] = {}
    for row in questions.sql(_BEST.format(tried=_TRIED)).rows:
        best.setdefault(row[0], []).append(row)
    figures = []
    for label in classes:
        made = next(filter(None, map(_figure, sorted(best[label], key=lambda row: -row[5]))), "")
        if made:
            figures.append(made)
        if len(figures) == _SAMPLES:
            break
    away = any(REMOTE in row[1] for rows in best.values() for row in rows)
    left_out = "Recordings at addresses, as s3://, are not fetched, and left out." if away else ""
    if not figures:
        return _section("Samples", left_out, "") if away else ""
    note = (
        "The event with the highest score of each of the most frequent classes. Sounds are brought "
        f"to about one level. {left_out}"
    ).strip()
    return _section("Samples", note, f'<div class="samples">\n{"".join(figures)}</div>')


def _figure(row: Sequence[Any]) -> str:
    """Return an event as picture and sound; nothing where its recording is not there."""
    label, path, raw, onset, offset, score, site, start = row
    file = Path(os.fsdecode(raw) if raw is not None else path)
    if REMOTE in path or not file.is_file():
        return ""
    cut = samples.cut(file, float(onset))
    if cut is None:
        return ""
    picture = samples.address("image/png", samples.spectrogram(cut))
    sound = samples.address(*samples.sound(cut))
    when = f"{start:%Y-%m-%d %H:%M:%S} UTC" if start is not None else ""
    about = ", ".join(filter(None, [when, site or ""]))
    return (
        f'<figure><img src="{picture}" alt="Spectrogram of {_text(label)}">'
        f"<figcaption><div><b>{_text(label)}</b><span>{score:.2f}</span></div>"
        f'<p class="quiet" title="{_text(path)}">{_text(Path(path).name)}, '
        f"{onset:.1f} to {offset:.1f} s"
        f"{'<br>' + _text(about) if about else ''}</p>"
        f'<audio controls preload="none" src="{sound}"></audio></figcaption></figure>\n'
    )


def _cause_section(questions: Questions, files: int) -> str:
    causes = list(questions.sql(_BY_CAUSE).rows)
    if not causes:
        return _section("Faults", f"All {files:,} files were read to their end.", "")
    rows = "".join(
        f'<tr><th scope="row">{_text(cause)}</th><td class="number">{count:,}</td>'
        f'<td class="name quiet">{_text(error)}</td></tr>\n'
        for cause, count, error in causes[:_CAUSES]
    )
    head = '<thead><tr><th>cause</th><th class="number">files</th><th>such as</th></tr></thead>'
    share = 100 * sum(row[1] for row in causes) / max(1, files)
    note = f"{share:.1f} % of the files. All of them: earmark results --failures."
    return _section(
        "Faults by cause",
        note,
        _scrolled(f'<table class="told">{head}<tbody>\n{rows}</tbody></table>'),
    )


def _set_section(sets: Sequence[ResultSet]) -> str:
    rows = []
    for one in sets:
        record = one.record
        settings = ", ".join(f"{k} {v:g}" for k, v in record["event_settings"].items())
        rows.append(
            f'<tr><th scope="row">{_text(one.name)}</th><td class="name quiet">model '
            f"{_text(record['model'][:16])}, calibration {_text(record['calibration'][:16])}; "
            f"{len(one.classes)} classes; {_text(settings)}</td></tr>\n"
        )
    return _section(
        "How it was made",
        "",
        _scrolled(f'<table class="told"><tbody>\n{"".join(rows)}</tbody></table>'),
    )


def _section(title: str, note: str, content: str, *, safe_note: bool = False) -> str:
    said = note if safe_note else _text(note)
    paragraph = f'<p class="quiet">{said}</p>\n' if note else ""
    return f"<section>\n<h2>{_text(title)}</h2>\n{paragraph}{content}</section>\n"


def _scrolled(table: str) -> str:
    return f'<div class="scroll" tabindex="0">{table}</div>\n'


def _models(sets: Iterable[ResultSet]) -> list[str]:
    return [f"{one.record['model_name']} ({len(one.classes)} classes)" for one in sets]


def _text(value: object) -> str:
    return escape(str(value).encode("utf-8", "backslashreplace").decode(), quote=True)


def _hours(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else _hours(seconds)


def _short(rate: float) -> str:
    if rate >= 9999.5:
        return f"{rate / 1000:.0f}k"
    return f"{rate:.0f}" if rate >= 9.95 else f"{rate:.1f}"
