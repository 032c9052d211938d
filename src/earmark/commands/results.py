"""`earmark results`: read an archive: events as tables, questions in SQL, a page of it all."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.commands.printing import print_line
from earmark.commands.reviewing import add_reviewing, refuse_odd_reviewing, review
from earmark.errors import ArchiveError, EarmarkError, SettingsError
from earmark.output.events import FORMATS, event_writer
from earmark.output.label_files import name_label_files
from earmark.output.writer import csv_line
from earmark.runtime.events import Event

if TYPE_CHECKING:
    from earmark.archive.query import Answer, Questions
    from earmark.archive.result_set import ResultSet
    from earmark.archive.store import Archive

_ALL = "all"
_SUFFIXES = {"csv": ".csv", "dcase": ".csv", "jsonl": ".jsonl"}  # .txt: Raven and Audacity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `results`."""
    parser.add_argument("archive", metavar="OUT", help="folder of the archive, or of --keep")
    parser.add_argument(
        "--set",
        metavar="NAME",
        help="results of which model and settings: the begin of a name that --list shows, or all "
        "(those of the latest run that has files)",
    )
    parser.add_argument("--list", action="store_true", help="list what is in the archive, and end")
    parser.add_argument(
        "--format", choices=FORMATS, help="how to write events (csv), or an answer: csv or jsonl"
    )
    parser.add_argument(
        "--query",
        metavar="CONDITION",
        default="",
        help="only events that meet a condition of SQL, as \"label = 'Rain' and score > 0.8\"",
    )
    parser.add_argument(
        "--sql", metavar="SELECT", help="answer a question in SQL to the tables files and events"
    )
    parser.add_argument(
        "--failures", action="store_true", help="list the files with a fault, and its cause"
    )
    parser.add_argument(
        "--summary", metavar="FILE", help="write one HTML page that sums the results up"
    )
    parser.add_argument(
        "--review",
        metavar="FOLDER",
        help="write clips of each class there and open a page to judge them by ear; then print "
        "each class's precision with its interval; the same command goes on where it stopped",
    )
    add_reviewing(parser)
    parser.add_argument(
        "--per_file",
        action="store_true",
        help="write a file for each recording that has events, into the folder --output_file",
    )
    parser.add_argument(
        "--output_file",
        metavar="FILE",
        help="write there, not to the terminal; a folder with --per_file",
    )
    parser.epilog = (
        "Columns of events: path, site, recorder, start_utc, onset_seconds, offset_seconds,\n"
        "label, score, top, model, calibration, settings, run; of files: path, seconds, status,\n"
        "cause, error and more. Both have entry, which joins them. --sql can change nothing and\n"
        "read no other file.\n\n"
        "examples:\n"
        "  earmark results archive/ --format raven --output_file events.txt\n"
        "  earmark results archive/ --query \"label = 'Chainsaw' and score > 0.8\"\n"
        "  earmark results archive/ --sql 'SELECT label, count(*) FROM events GROUP BY label'\n"
        "  earmark results archive/ --format audacity --per_file --output_file labels/\n"
        "  earmark results archive/ --summary page.html\n"
        "  earmark results archive/ --review review/"
    )


def run(args: argparse.Namespace) -> int:
    """Write what is asked for; return the exit code."""
    _refuse_odd(args)
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise EarmarkError(f"archives need {error.name}; pip install 'earmark[archive]'") from None
    from earmark.archive.kept import opened

    with opened(Path(args.archive)) as archive:
        return _answer(archive, args)


def _answer(archive: Archive, args: argparse.Namespace) -> int:
    """Write what is asked for of an archive; return the exit code."""
    from earmark.archive.query import Questions
    from earmark.io.outputs import refuse_output

    if args.list:
        return _list(archive)
    sets = _chosen(archive, args.set)
    own = [path for path in Path(args.archive).iterdir() if path.is_file()]
    for output in filter(None, (args.output_file, args.summary)):
        if output == args.summary or not args.per_file:
            refuse_output(Path(output), own)
    questions = Questions(archive, sets)
    if args.summary:
        from earmark.archive.summary import write_summary

        write_summary(Path(args.summary), archive, sets, questions)
        print(f"{args.summary}: written", file=sys.stderr)
        return 0
    if args.review:
        return _review(questions, args)
    if args.failures:
        question = (
            "SELECT path, status, cause, error FROM files WHERE cause IS NOT NULL "
            "ORDER BY cause, path"
        )
        return _write_answer(questions.sql(question), args)
    if args.sql is not None:
        return _write_answer(questions.sql(args.sql), args)
    if args.per_file:
        return _write_per_file(questions, sets, args)
    with _output(args.output_file) as emit:
        _write_events(questions, sets, args, emit)
    return 0


def _refuse_odd(args: argparse.Namespace) -> None:
    """Refuse flags that contradict each other."""
    asked = [
        f"--{name}"
        for name in ("list", "sql", "failures", "summary", "review")
        if getattr(args, name)
    ]
    if len(asked) > 1:
        raise SettingsError(f"{asked[0]} and {asked[1]} ask for two things; give one")
    for name in ("query", "per_file"):
        if asked and getattr(args, name):
            raise SettingsError(f"--{name} is about events; leave out {asked[0]}")
    refuse_odd_reviewing(args)
    if args.per_file and not args.output_file:
        raise SettingsError("--per_file needs --output_file FOLDER")
    if args.set == _ALL:
        if args.summary:
            raise SettingsError(
                "--summary counts a file once; give one --set, as --list names them"
            )
        if args.format in ("raven", "dcase") and not args.per_file:
            raise SettingsError(
                f"--format {args.format} names no set; give one --set, or add --per_file"
            )
    if (
        asked
        and asked[0] not in ("--summary", "--review")
        and args.format not in (None, "csv", "jsonl")
    ):
        raise SettingsError(f"{asked[0]} answers as csv or jsonl, not as {args.format}")


def _list(archive: Archive) -> int:
    from earmark.archive.query import Questions

    runs = {run.get("set"): str(run.get("started", "?")) for run in archive.runs}
    for one in archive.sets:
        row = next(
            Questions(archive, [one])
            .sql("SELECT count(*), sum(seconds) / 3600, count(cause), sum(events) FROM files")
            .rows
        )
        files, hours, faults, events = row
        print_line(
            f"{one.name}  {files} files, {hours or 0:.2f} h, {events or 0} events, "
            f"{faults} with faults, {len(one.classes)} classes"
        )
        settings = one.record.get("event_settings") or {}
        words = [f"{name} {value}" for name, value in settings.items() if value is not None]
        print_line(
            f"  run {runs.get(one.record.get('set'), '?')}, calibration "
            f"{str(one.record['calibration'])[:12]}, {', '.join(words)}"
        )
    return 0


def _chosen(archive: Archive, name: str | None) -> list[ResultSet]:
    """Return the sets that are asked for.

    Raises:
        ArchiveError: there is none of this name, or several.
    """
    sets = archive.sets
    if not sets:
        raise ArchiveError(f"{archive.folder}: holds no results yet; run earmark label")
    if name == _ALL:
        return sets
    if name is None:
        filled = [one for one in sets if archive.parts(one)]
        shown = (filled or sets)[-1]
        if len(sets) > 1:
            print(
                f"shown is set {shown.name}, 1 of {len(sets)}; --list names them, --set chooses",
                file=sys.stderr,
            )
        return [shown]
    found = [one for one in sets if one.name.startswith(name)]
    if len(found) != 1:
        there = ", ".join(one.name for one in sets)
        many = "names several sets" if found else "is no set"
        raise ArchiveError(f"{archive.folder}: {name} {many} of results; there are {there}")
    return found


def _review(questions: Questions, args: argparse.Namespace) -> int:
    """Have clips judged, and say what the verdicts come to."""
    from earmark.archive.verdicts import report

    if found := review(questions, args):
        with _output(args.output_file) as emit:
            for line in report(found):
                emit(line)
    return 0


def _write_answer(answer: Answer, args: argparse.Namespace) -> int:
    from earmark.archive.query import plain

    with _output(args.output_file) as emit:
        if args.format != "jsonl":
            emit(csv_line(list(answer.names)))
        for row in answer.rows:
            values = [plain(value) for value in row]
            if args.format == "jsonl":
                named = dict(zip(answer.names, values, strict=True))
                emit(json.dumps(named, ensure_ascii=False))
            else:
                emit(csv_line([_word(value) for value in values]))
    return 0


def _word(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_events(
    questions: Questions,
    sets: list[ResultSet],
    args: argparse.Namespace,
    emit: Callable[[str], Any],
) -> None:
    """Write all events as one table; times of files without events count on too, as in Raven."""
    format = args.format or "csv"
    rows = questions.events(args.query, _columns(format))
    if format in _TABLES:
        _write_table(format, rows, emit)
        return
    if args.format == "audacity":
        raise SettingsError(
            "labels of Audacity name no recording; add --per_file --output_file FOLDER"
        )
    writer = _writer(args.format, sets, emit)
    writer.open()
    lengths = iter(_lengths(questions))
    entry, seconds = next(lengths, (0, 0.0))
    for row in rows:
        while entry != row["entry"]:  # both stand in the same order
            writer.next_file(seconds)
            entry, seconds = next(lengths)
        writer.write(_event(row))
    writer.close()


_TABLES = ("csv", "jsonl")
_CSV = ("path", "site", "recorder", "start_utc", "onset", "offset", "label", "score", "model")


def _columns(format: str) -> str:
    """Return the columns of events that a format needs; the fewer, the less memory."""
    if format == "jsonl":
        return "*"
    return (
        "entry, path, site, recorder, start_utc, onset_seconds, offset_seconds, label, score, "
        "model, calibration, settings"
    )


def _write_table(format: str, rows: Iterable[dict[str, Any]], emit: Callable[[str], Any]) -> None:
    """Write events with all that the archive knows of them, as csv or jsonl."""
    from earmark.archive.query import plain

    rows = iter(rows)
    first = list(itertools.islice(rows, 1))  # a question that is refused has no head
    if format == "csv":
        emit(csv_line(_CSV))
    for row in itertools.chain(first, rows):
        if format == "jsonl":
            kept = {name: plain(row[name]) for name in row if name not in ("entry", "path_bytes")}
            emit(json.dumps(kept, ensure_ascii=False))
            continue
        onset, offset = row["onset_seconds"], row["offset_seconds"]
        values = {**row, "onset": f"{onset:.3f}", "offset": f"{offset:.3f}"}
        values["score"] = f"{row['score']:.4f}"
        emit(csv_line([_word(plain(values[name])) for name in _CSV]))


def _lengths(questions: Questions) -> Iterator[Any]:
    from earmark.archive.query import ORDER

    yield from questions.sql(f"SELECT entry, seconds FROM files ORDER BY {ORDER}").rows


def _write_per_file(questions: Questions, sets: list[ResultSet], args: argparse.Namespace) -> int:
    """Write a file for each recording with events, in a folder for each set where there are many.

    Rows come set by set, and within one recording by recording.
    """
    from earmark.io.files import write_text

    folder, format = Path(args.output_file), args.format or "csv"
    by_key = {_set_of(one.record): one for one in sets}
    paths: dict[tuple[str, ...], dict[Path, None]] = {}
    for row in questions.events(args.query, "path, model, calibration, settings"):
        paths.setdefault(_set_of(row), {})[Path(row["path"])] = None
    names = {
        key: name_label_files(folder / by_key[key].name if len(sets) > 1 else folder, found)
        for key, found in paths.items()
    }
    rows = questions.events(args.query, _columns(format))
    count = 0
    for (key, path), group in itertools.groupby(rows, lambda row: (_set_of(row), row["path"])):
        lines: list[str] = []
        if format in _TABLES:
            _write_table(format, group, lines.append)
        else:
            writer = _writer(format, [by_key[key]], lines.append)
            writer.open()
            for row in group:
                writer.write(_event(row))
            writer.close()
        target = names[key][Path(path)].with_suffix(_SUFFIXES.get(format, ".txt"))
        write_text(target, "".join(line + "\n" for line in lines))
        count += 1
    print(f"{folder}: {count} files", file=sys.stderr)
    return 0


def _set_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells a row's set of results from the others."""
    return row["model"], row["calibration"], row["settings"]


def _writer(format: str, sets: list[ResultSet], emit: Callable[[str], Any]) -> Any:
    low = min(float(one.record["low_hz"]) for one in sets)
    high = max(float(one.record["high_hz"]) for one in sets)
    return event_writer(format, emit, low_hz=low, high_hz=high)


def _event(row: dict[str, Any]) -> Event:
    return Event(
        label=row["label"],
        onset=row["onset_seconds"],
        offset=row["offset_seconds"],
        score=row["score"],
        top={},
        source=row["path"],
        model=row["model"],
    )


@contextlib.contextmanager
def _output(file: str | None) -> Iterator[Callable[[str], Any]]:
    """Yield what takes lines, for the terminal or for a file that is written whole."""
    if file is None:
        yield print_line
        return
    from earmark.io.files import writing

    with writing(Path(file)) as opened:
        yield lambda line: opened.write(f"{line}\n".encode("utf-8", "backslashreplace"))
