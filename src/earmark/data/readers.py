"""Datasets on disk -> labelled clips, without conversion.

`read_dataset` recognises the original layouts of ESC-10, ESC-50 and UrbanSound8K, a folder per
class, and a table `path,label[,fold][,group]`; `read_negatives` a folder or a table of clips of no
class. They open no audio; they only say which file is which class, in which official fold, and
from which source recording.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from earmark.data.negatives import means_no_class
from earmark.errors import DatasetError
from earmark.io.decode import has_audio_suffix

SYNTHETIC = "synthetic-sounds"  # what the built-in sounds are written as; the name is their mark
# ESC-10's own names: "001 - Dog bark/1-100032-A.ogg" is class, then fold-source-take.
_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC10_FILE = re.compile(r"(\d)-(\d+)-[A-Z]\d*\.\w+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_FOLD = 60  # characters


@dataclass(frozen=True)
class Clip:
    """One labelled recording.

    Attributes:
        path: the audio file.
        label: the class name; None for a clip of no class.
        group: the source recording; clips of one group never stand on both sides of a split.
        fold: the official fold, or None where it has none.
    """

    path: Path
    label: str | None
    group: str
    fold: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset's clips in a fixed order.

    Attributes:
        name: the dataset's name, as it stands in results.
        clips: all clips, sorted as the dataset lists them.
        synthetic: the clips are generated, not recorded.
    """

    name: str
    clips: tuple[Clip, ...]
    synthetic: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in alphabetical order; a label's number is its place here."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @property
    def negatives(self) -> int:
        """Number of clips of no class."""
        return sum(clip.label is None for clip in self.clips)


def read_dataset(path: Path, *, esc10_only: bool = False) -> Dataset:
    """Find out what a dataset is and list its clips.

    Args:
        path: a dataset's top folder, or a CSV file.
        esc10_only: of ESC-50, take only the rows marked `esc10`.

    Raises:
        DatasetError: nothing there is a dataset, or it contradicts itself.
    """
    if (path / f"{SYNTHETIC}.csv").is_file():
        path = path / f"{SYNTHETIC}.csv"
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DatasetError(f"{path}: is neither a folder nor a .csv table of clips")
        dataset = _read_table(path)
    elif not path.is_dir():
        raise DatasetError(f"{path}: no such dataset; give a folder or a .csv table")
    elif (path / "meta" / "esc50.csv").is_file():
        dataset = _read_esc50(path, esc10_only)
    elif (path / "metadata" / "UrbanSound8K.csv").is_file():
        dataset = _read_urbansound(path)
    elif any(_ESC10_FOLDER.fullmatch(folder.name) for folder in _folders(path)):
        dataset = _read_esc10(path)
    else:
        dataset = _read_class_folders(path)
    if esc10_only and not dataset.name.startswith("ESC-50"):
        raise DatasetError(f"{path}: --esc10 chooses rows of ESC-50, but this is {dataset.name}")
    _check(path, dataset)
    return dataset


def read_negatives(path: Path) -> tuple[Clip, ...]:
    """List the clips of no class in a folder, at any depth, or in a table.

    Args:
        path: a folder of audio files, or a CSV table `path[,fold][,group]`; labels in it are not
            looked at.

    Raises:
        DatasetError: there is no such folder or table, or it holds nothing.
    """
    if path.is_dir():
        clips = [Clip(file, None, str(file)) for file in _audio_files(path)]
    elif path.is_file() and path.suffix.lower() == ".csv":
        clips = [_table_clip(path, row, None) for row in _rows(path, ("path",))]
    else:
        raise DatasetError(f"{path}: no such negatives; give a folder or a .csv table of clips")
    if not clips:
        raise DatasetError(f"{path}: holds no audio files to use as negatives")
    return tuple(clips)


def with_negatives(dataset: Dataset, paths: Iterable[Path]) -> Dataset:
    """Return a dataset with the clips of no class in some folders and tables added.

    Raises:
        DatasetError: see `read_negatives`; or a file is listed twice.
    """
    more = [clip for path in paths for clip in read_negatives(path)]
    if not more:
        return dataset
    together = dataclasses.replace(dataset, clips=(*dataset.clips, *more))
    _refuse_twice(Path(dataset.name), together)
    return together


def _read_esc10(path: Path) -> Dataset:
    clips, odd = [], []
    for folder in _folders(path):
        name = _ESC10_FOLDER.fullmatch(folder.name)
        files = _audio_files(folder)
        if files and means_no_class(folder.name):
            clips += [Clip(file, None, str(file.relative_to(path))) for file in files]
            continue
        if not name or not files:
            odd.append(f"{folder.name}/ ({len(files)} audio files)")
            continue
        for file in files:
            parts = _ESC10_FILE.fullmatch(file.name)
            if parts:
                clips.append(Clip(file, name[1], group=parts[2], fold=parts[1]))
            else:
                odd.append(f"{folder.name}/{file.name}")
    ours = "; if these are sounds of your own, name the folders without numbers"
    _refuse_odd(path, "ESC-10", odd, ours)
    return Dataset("ESC-10", tuple(clips))


def _read_esc50(path: Path, esc10_only: bool) -> Dataset:
    table = path / "meta" / "esc50.csv"
    rows = _rows(table, ("filename", "fold", "category", "esc10", "src_file"))
    clips = [
        Clip(path / "audio" / row["filename"], row["category"], row["src_file"], row["fold"])
        for row in rows
        if not esc10_only or row["esc10"].lower() == "true"
    ]
    return Dataset("ESC-50 (esc10 rows)" if esc10_only else "ESC-50", tuple(clips))


def _read_urbansound(path: Path) -> Dataset:
    table = path / "metadata" / "UrbanSound8K.csv"
    rows = _rows(table, ("slice_file_name", "fsID", "fold", "class"))
    clips = [
        Clip(
            path / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            *(row["class"], row["fsID"], row["fold"]),
        )
        for row in rows
    ]
    return Dataset("UrbanSound8K", tuple(clips))


def _read_class_folders(path: Path) -> Dataset:
    clips, odd = [], []
    for folder in _folders(path):
        files = _audio_files(folder)
        if not files:
            odd.append(f"{folder.name}/ (no audio file)")
        label = _class_or_none(folder.name)
        clips += [Clip(file, label, str(file.relative_to(path))) for file in files]
    if clips:
        odd += [f.name for f in sorted(path.iterdir()) if f.is_file() and has_audio_suffix(f)]
        _refuse_odd(path, "one folder per class", odd)
    name = path.resolve().name
    return Dataset(name, tuple(clips), name.startswith(SYNTHETIC))


def _read_table(path: Path) -> Dataset:
    rows = _rows(path, ("path", "label"))
    clips = [_table_clip(path, row, _class_or_none(row["label"])) for row in rows]
    # Negatives may do without a fold where the classes have one, but not the other way round.
    without = sum(clip.fold is None for clip in clips if clip.label is not None)
    if without and any(clip.fold is not None for clip in clips):
        raise DatasetError(f"{path}: {without} of {len(clips)} rows have no fold; fill all or none")
    return Dataset(path.stem, tuple(clips), path.stem.startswith(SYNTHETIC))


def _table_clip(table: Path, row: dict[str, str], label: str | None) -> Clip:
    file = table.parent / row["path"]  # an absolute path stands as it is
    return Clip(file, label, row.get("group") or str(file), row.get("fold") or None)


def _class_or_none(name: str) -> str | None:
    return None if means_no_class(name) else name


def _rows(table: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV table, which must have `columns`, with the white space around values removed."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [str(name).strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if missing := [column for column in columns if column not in names]:
                raise DatasetError(
                    f"{table}: has no column {', '.join(missing)}; begin it with a line that names "
                    f"the columns, with commas between (its first line is {','.join(names)!r})"
                )
            if twice := [name for name, count in Counter(names).items() if name and count > 1]:
                raise DatasetError(f"{table}: has two columns {twice[0]!r}; keep one")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{table}: line {reader.line_num} has not {len(names)} values; "
                        "quote values that hold commas"
                    )
                rows.append({key: value.strip() for key, value in row.items()})
                if odd := [key for key, text in rows[-1].items() if _CONTROL.search(text)]:
                    raise DatasetError(
                        f"{table}: line {reader.line_num} has a line break or another control "
                        f"character in its {odd[0]}; remove it"
                    )
                if empty := [column for column in columns if not rows[-1][column]]:
                    raise DatasetError(f"{table}: line {reader.line_num} has no {empty[0]}")
    except UnicodeDecodeError:
        raise DatasetError(f"{table}: is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DatasetError(f"{table}: is not a CSV table ({error})") from None
    return rows


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder; hidden ones and those like `__MACOSX` are no data."""
    return sorted(
        f
        for f in path.iterdir()
        if f.is_dir() and (means_no_class(f.name) or not f.name.startswith((".", "__")))
    )


def _audio_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder and below, hidden ones left out, in a fixed order."""
    found = (f for f in folder.rglob("*") if has_audio_suffix(f) and not f.is_dir())
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _refuse_odd(path: Path, layout: str, odd: list[str], more_advice: str = "") -> None:
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise DatasetError(
            f"{path}: looks like {layout}, but does not fit it: {', '.join(odd[:3])}{more}; "
            f"complete or remove them{more_advice}"
        )


def _check(path: Path, dataset: Dataset) -> None:
    """Refuse a dataset that is empty, has one class, or names a file or a class twice."""
    if not dataset.clips:
        raise DatasetError(
            f"{path}: holds no labelled clips; expected ESC-10, ESC-50, UrbanSound8K, "
            "a folder of audio files per class, or a table path,label[,fold][,group]"
        )
    if len(dataset.classes) == 1:
        raise DatasetError(
            f"{path}: has one class, {dataset.classes[0]!r}; telling sounds apart needs two"
        )
    if not dataset.classes:
        raise DatasetError(
            f"{path}: has clips of no class only; telling sounds apart needs two classes"
        )
    _refuse_twice(path, dataset)
    for fold in {clip.fold for clip in dataset.clips if clip.fold}:
        if len(fold) > _LONGEST_FOLD or "/" in fold or "\\" in fold:
            raise DatasetError(
                f"{path}: fold {fold[:_LONGEST_FOLD]!r} is to name a folder; use a short name "
                "without slashes"
            )
    spelling: dict[str, str] = {}
    for label in dataset.classes:
        key = " ".join(label.casefold().replace("_", " ").split())
        if other := spelling.get(key):
            raise DatasetError(
                f"{path}: classes {other!r} and {label!r} differ only in case or space; "
                "give them one name"
            )
        spelling[key] = label


def _refuse_twice(path: Path, dataset: Dataset) -> None:
    twice = [str(p) for p, n in Counter(clip.path for clip in dataset.clips).items() if n > 1]
    if twice:
        raise DatasetError(f"{path}: lists {twice[0]} more than once; keep one row for each file")
