"""CSV tables of clips: read strictly, with what was not used.

Tables come from spreadsheets, other tools and other systems, so names of columns are compared
without case, blanks after commas are skipped, and a path written with backslashes is found. What
could mean something else than the reader takes it for is a remark.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.errors import DatasetError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Table:
    """The rows of a table, and which of its columns nobody asked for.

    Attributes:
        rows: the values of each row by column, without white space around them.
        unused: names of the columns that were not asked for.
    """

    rows: Sequence[dict[str, str]]
    unused: Sequence[str]


def read_table(path: Path, required: Sequence[str], optional: Iterable[str] = ()) -> Table:
    """Read a CSV table.

    Args:
        path: the file, UTF-8.
        required: columns it must have, none of their values empty.
        optional: columns it may have. All are taken in upper or lower case.

    Raises:
        DatasetError: a column is missing or there twice, a row is short, long, or holds a control
            character, a value is empty, or it is no CSV table in UTF-8.
    """
    known = (*required, *optional)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = [_known_name(str(name).strip(), known) for name in reader.fieldnames or ()]
            reader.fieldnames = names
            _check_columns(path, names, required)
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{path}: line {reader.line_num} has not {len(names)} values; "
                        "quote values that hold commas"
                    )
                rows.append({key: value.strip() for key, value in row.items()})
                _check_row(f"{path}: line {reader.line_num}", rows[-1], required)
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DatasetError(f"{path}: is not a CSV table ({error})") from None
    return Table(rows, [name for name in names if name and name not in known])


def find_file(folder: Path, written: str) -> Path:
    """Return the file that a table in `folder` means; an absolute path stands as it is.

    Tables made on Windows have backslashes; where no file is called so, they are taken for slashes.
    """
    file = folder / written
    if "\\" in written and not file.exists():
        other = folder / written.replace("\\", "/")
        if other.exists():
            return other
    return file


def _known_name(name: str, known: Iterable[str]) -> str:
    """Return a column's name as it was asked for, where it differs in case only."""
    return next((one for one in known if one.casefold() == name.casefold()), name)


def _check_columns(path: Path, names: Sequence[str], required: Iterable[str]) -> None:
    if missing := [column for column in required if column not in names]:
        raise DatasetError(
            f"{path}: has no column {', '.join(missing)}; begin it with a line that names "
            f"the columns, with commas between (its first line is {','.join(names)!r})"
        )
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise DatasetError(f"{path}: has two columns {twice[0]!r}; keep one")


def _check_row(place: str, row: dict[str, str], required: Iterable[str]) -> None:
    if odd := [key for key, text in row.items() if _CONTROL.search(text)]:
        raise DatasetError(
            f"{place} has a line break or another control character in its {odd[0]}; remove it"
        )
    if empty := [column for column in required if not row[column]]:
        raise DatasetError(f"{place} has no {empty[0]}")
