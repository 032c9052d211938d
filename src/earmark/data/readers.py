"""Datasets on disk -> labelled clips, without conversion.

`read_dataset` recognises the original layouts of ESC-10, ESC-50 and UrbanSound8K, a folder per
class, and a table `path,label[,fold][,group]`; `read_negatives` a folder or a table of clips of no
class. They open no audio; they only say which file is which class, in which official fold, and
from which source recording.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.data.negatives import means_no_class
from earmark.data.tables import find_file, read_table
from earmark.errors import DatasetError
from earmark.io.paths import (
    DEAD_LINK,
    HIDDEN,
    NOT_AUDIO,
    SPECIAL,
    Found,
    has_audio_suffix,
    walk,
)

SYNTHETIC = "synthetic-sounds"  # what the built-in sounds are written as; the name is their mark
# ESC-10's own names: "001 - Dog bark/1-100032-A.ogg" is class, then fold-source-take.
_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC10_FILE = re.compile(r"(\d)-(\d+)-[A-Z]\d*\.\w+")
_LONGEST_FOLD = 60  # characters
_ESC50_TABLE = "esc50.csv"
_ESC50_CLASSES = 50
# Sources that stand in two official folds of the published datasets.
_ESC50_LEAKS = frozenset(["131943", "134049", "209698", "234879"])
_URBANSOUND_LEAKS = frozenset(["77751", "106905", "132016", "176638", "180937"])
# The classes of ESC-10 as ESC-10 itself, ESC-50's folders and ESC-50's table call them.
_ESC10_LABELS = frozenset(
    [
        "dog bark",
        "dog",
        "rain",
        "sea waves",
        "baby cry",
        "crying baby",
        "clock tick",
        "person sneeze",
        "sneezing",
        "helicopter",
        "chainsaw",
        "rooster",
        "fire crackling",
        "crackling fire",
    ]
)
_OUTSIDE = "outside the class folders"
_SEVERAL = re.compile(r"[,;|]")
_PARTS = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|eval|fold[ _-]?\d+)", re.I
)


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
        known_leaks: sources that stand in two of its official folds as it is published.
        remarks: what was read otherwise than one may think, a line each.
        left_out: what a search of its folders passed over, with numbers and reasons, in a line;
            nothing where it passed over nothing, or a table lists the clips.
    """

    name: str
    clips: tuple[Clip, ...]
    synthetic: bool = False
    known_leaks: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in alphabetical order; a label's number is its place here."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @property
    def negatives(self) -> int:
        """Number of clips of no class."""
        return sum(clip.label is None for clip in self.clips)


def read_dataset(path: Path, *, esc10_only: bool = False, for_training: bool = True) -> Dataset:
    """Find out what a dataset is and list its clips.

    Args:
        path: a dataset's top folder, or a CSV file.
        esc10_only: of ESC-50, take only the rows marked `esc10`.
        for_training: refuse fewer than two classes, which nothing can be trained on.

    Raises:
        DatasetError: nothing there is a dataset, or it contradicts itself.
    """
    if (path / f"{SYNTHETIC}.csv").is_file():
        path = path / f"{SYNTHETIC}.csv"
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DatasetError(f"{path}: is neither a folder nor a .csv table of clips")
        dataset = _read_esc50_table(path, esc10_only) if _is_esc50(path) else _read_table(path)
    elif not path.is_dir():
        raise DatasetError(f"{path}: no such dataset; give a folder or a .csv table")
    elif (path / "meta" / "esc50.csv").is_file():
        dataset = _read_esc50(path, esc10_only)
    elif (path / "metadata" / "UrbanSound8K.csv").is_file():
        dataset = _read_urbansound(path)
    elif (path / _ESC50_TABLE).is_file():
        dataset = _read_esc50_table(path / _ESC50_TABLE, esc10_only)
    elif any(_ESC10_FOLDER.fullmatch(folder.name) for folder in _folders(path)):
        dataset = _read_numbered_folders(path, esc10_only)
    else:
        dataset = _read_class_folders(path)
    if esc10_only and not dataset.name.startswith("ESC-50"):
        raise DatasetError(f"{path}: --esc10 chooses rows of ESC-50, but this is {dataset.name}")
    _check(path, dataset, for_training)
    return dataset


def read_negatives(
    path: Path, found: Found | None = None, *, beside: Dataset | None = None
) -> tuple[Clip, ...]:
    """List the clips of no class in a folder, at any depth, or in a table.

    Args:
        path: a folder of audio files, or a CSV table `path[,label][,fold][,group]`.
        found: is told what a search of the folder passed over.
        beside: the dataset that they are for, whose clips they may not hold, nor folders or labels
            named like its classes; None: anything will do.

    Raises:
        DatasetError: there is no such folder or table, it holds nothing, or a clip of a class.
    """
    if path.is_dir():
        clips = [Clip(file, None, str(file)) for file in _audio_files(path, found or Found())]
        parents = {clip.path.parent.relative_to(path) for clip in clips}
        kind, names = "folder", {path.name, *(name for parent in parents for name in parent.parts)}
    elif path.is_file() and path.suffix.lower() == ".csv":
        table = read_table(path, required=("path",), optional=("label", "fold", "group"))
        clips = [_table_clip(path, row, None) for row in table.rows]
        kind, names = "label", {row.get("label") or "" for row in table.rows}
    else:
        raise DatasetError(f"{path}: no such negatives; give a folder or a .csv table of clips")
    if not clips:
        raise DatasetError(f"{path}: holds no audio files to use as negatives")
    if beside is not None:
        _refuse_clips_of(beside, clips, path)
        plain = {_plain(name) for name in names}
        if wrong := [label for label in beside.classes if _plain(label) in plain]:
            raise DatasetError(
                f"--negatives {path}: has a {kind} named like class {wrong[0]!r} of the dataset; "
                f"leave its clips out, or rename the {kind} if they are of no class"
            )
    return tuple(clips)


def _refuse_clips_of(dataset: Dataset, negatives: Sequence[Clip], path: Path) -> None:
    """Refuse negatives that are clips of the dataset itself."""
    labels = {clip.path.absolute(): clip.label for clip in dataset.clips}
    for clip in negatives:
        if (file := clip.path.absolute()) in labels:
            kind = "no class" if labels[file] is None else f"class {labels[file]!r}"
            raise DatasetError(
                f"--negatives {path}: holds clips of {kind} of the dataset, {clip.path} for one; "
                "leave them out"
            )


def with_negatives(dataset: Dataset, paths: Iterable[Path]) -> Dataset:
    """Return a dataset with the clips of no class in some folders and tables added.

    Raises:
        DatasetError: see `read_negatives`; or a file is listed twice.
    """
    found = Found()
    more = [clip for path in paths for clip in read_negatives(path, found, beside=dataset)]
    if not more:
        return dataset
    left_out = "; ".join(filter(None, (dataset.left_out, found.summary())))
    together = dataclasses.replace(
        dataset,
        clips=(*dataset.clips, *more),
        remarks=(*dataset.remarks, *_remarks(found)),
        left_out=left_out,
    )
    _refuse_twice(Path(dataset.name), together)
    return together


def _read_numbered_folders(path: Path, esc10_only: bool) -> Dataset:
    """Read the original folders of ESC-10 and ESC-50, which have them alike."""
    clips, odd, found = [], [], _survey(path)
    for folder in _folders(path):
        name = _ESC10_FOLDER.fullmatch(folder.name)
        files = _audio_files(folder, found)
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
    labels = {_plain(clip.label) for clip in clips if clip.label is not None}
    dataset_name = "ESC-10" if labels <= _ESC10_LABELS else "ESC-50"
    leaks = _ESC50_LEAKS if dataset_name == "ESC-50" else frozenset()
    dataset = Dataset(
        dataset_name,
        tuple(clips),
        known_leaks=leaks,
        remarks=_remarks(found),
        left_out=found.summary(),
    )
    return _choose_esc10(dataset, esc10_only)


def _read_esc50(path: Path, esc10_only: bool) -> Dataset:
    table = read_table(
        path / "meta" / "esc50.csv",
        required=("filename", "fold", "category", "esc10", "src_file"),
        optional=("target", "take"),
    )
    clips = [
        Clip(path / "audio" / row["filename"], row["category"], row["src_file"], row["fold"])
        for row in table.rows
        if not esc10_only or row["esc10"].lower() == "true"
    ]
    name = "ESC-50 (esc10 rows)" if esc10_only else "ESC-50"
    return Dataset(name, tuple(clips), known_leaks=_ESC50_LEAKS)


def _read_esc50_table(path: Path, esc10_only: bool) -> Dataset:
    """Read ESC-50 from a table `path,label,fold,group` of that name."""
    dataset = _read_table(path, ignored=("licence",))
    labels = {_plain(label) for label in dataset.classes}
    if len(labels) != _ESC50_CLASSES or any(clip.fold is None for clip in dataset.clips):
        return dataset  # of that name only
    published = Dataset("ESC-50", dataset.clips, known_leaks=_ESC50_LEAKS, remarks=dataset.remarks)
    return _choose_esc10(published, esc10_only)


def _choose_esc10(dataset: Dataset, esc10_only: bool) -> Dataset:
    """Return ESC-50's clips of the classes of ESC-10, where only these are wanted."""
    if not esc10_only or dataset.name != "ESC-50":
        return dataset
    clips = tuple(
        clip
        for clip in dataset.clips
        if clip.label is not None and _plain(clip.label) in _ESC10_LABELS
    )
    return dataclasses.replace(dataset, name="ESC-50 (esc10 rows)", clips=clips)


def _read_urbansound(path: Path) -> Dataset:
    table = read_table(
        path / "metadata" / "UrbanSound8K.csv",
        required=("slice_file_name", "fsID", "fold", "class"),
        optional=("start", "end", "salience", "classID"),
    )
    clips = [
        Clip(
            path=path / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            label=row["class"],
            group=row["fsID"],
            fold=row["fold"],
        )
        for row in table.rows
    ]
    return Dataset("UrbanSound8K", tuple(clips), known_leaks=_URBANSOUND_LEAKS)


def _plain(label: str) -> str:
    """Return a label without case and with blanks alike."""
    return " ".join(label.casefold().replace("_", " ").split())


def _is_esc50(table: Path) -> bool:
    return table.name.casefold() == _ESC50_TABLE


def _refuse_parts(path: Path, folders: Sequence[Path]) -> None:
    """Refuse folders that are parts of a dataset, not its classes.

    Raises:
        DatasetError: two or more are called like parts, or hold folders of the same names.
    """
    named = [folder.name for folder in folders if _PARTS.fullmatch(folder.name)]
    inside = [{below.name for below in _folders(folder)} for folder in folders]
    shared = [
        folder.name
        for folder, names in zip(folders, inside, strict=True)
        if names and not any(file.is_file() for file in folder.iterdir())
        if sum(bool(names & others) for others in inside) > 1
    ]
    parts = named if len(named) > 1 else shared if len(shared) > 1 else []
    if parts:
        raise DatasetError(
            f"{path}: {parts[0]} and {parts[1]} look like parts of a dataset, not like classes; "
            "give one folder per class, CLASS/CLIP, or a table path,label,fold that says which "
            "clip is in which fold"
        )


def _read_class_folders(path: Path) -> Dataset:
    clips, odd, found = [], [], _survey(path)
    _refuse_parts(path, _folders(path))
    for folder in _folders(path):
        files = _audio_files(folder, found)
        if not files:
            odd.append(f"{folder.name}/ (no audio file)")
        label = _class_or_none(folder.name)
        clips += [Clip(file, label, str(file.relative_to(path))) for file in files]
    if clips:
        odd += [f.name for f in sorted(path.iterdir()) if f.is_file() and has_audio_suffix(f)]
        _refuse_odd(path, "one folder per class", odd)
    name = path.resolve().name
    return Dataset(
        name,
        tuple(clips),
        name.startswith(SYNTHETIC),
        remarks=_remarks(found),
        left_out=found.summary(),
    )


def _read_table(path: Path, *, ignored: Sequence[str] = ()) -> Dataset:
    """Read a table of clips; columns that are neither used nor `ignored` are remarked on."""
    optional = ("fold", "group", *ignored)
    table = read_table(path, required=("path", "label"), optional=optional)
    clips = [_table_clip(path, row, _class_or_none(row["label"])) for row in table.rows]
    # Negatives may do without a fold where the classes have one, but not the other way round.
    without = sum(clip.fold is None for clip in clips if clip.label is not None)
    if without and any(clip.fold is not None for clip in clips):
        raise DatasetError(f"{path}: {without} of {len(clips)} rows have no fold; fill all or none")
    remarks = []
    if table.unused:
        remarks.append(
            f"{path}: columns not used: {', '.join(table.unused)}; whole files are read, and only "
            "path, label, fold and group count"
        )
    several = {clip.label for clip in clips if clip.label and _SEVERAL.search(clip.label)}
    if several:
        remarks.append(
            f"{path}: {min(several)!r} is taken as one class; a clip has one label, so give a "
            "clip of several classes its main one"
        )
    synthetic = path.stem.startswith(SYNTHETIC)
    return Dataset(path.stem, tuple(clips), synthetic, remarks=tuple(remarks))


def _table_clip(table: Path, row: dict[str, str], label: str | None) -> Clip:
    file = find_file(table.parent, row["path"])
    return Clip(file, label, row.get("group") or str(file), row.get("fold") or None)


def _class_or_none(name: str) -> str | None:
    return None if means_no_class(name) else name


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder; hidden ones and those like `__MACOSX` are no data."""
    return sorted(
        f
        for f in path.iterdir()
        if f.is_dir() and (means_no_class(f.name) or not f.name.startswith((".", "__")))
    )


def _audio_files(folder: Path, found: Found) -> list[Path]:
    """Return the audio files in a folder and below, in a fixed order; see `earmark.io.paths`.

    What the search passed over is added to `found`.
    """
    below = walk(folder)
    for reason, paths in below.left_out.items():
        found.left_out.setdefault(reason, []).extend(paths)
    found.faults += below.faults
    found.twins += below.twins
    return sorted(below.files)


def _survey(path: Path) -> Found:
    """Note what stands in the top folder of a dataset and is not looked into."""
    found, folders = Found(), set(_folders(path))
    for entry in sorted(path.iterdir()):
        if entry in folders:
            continue
        if entry.name.startswith(".") or entry.is_dir():
            found.leave(HIDDEN, entry)
        elif entry.is_file():
            found.leave(_OUTSIDE if has_audio_suffix(entry) else NOT_AUDIO, entry)
        else:
            found.leave(DEAD_LINK if entry.is_symlink() else SPECIAL, entry)
    return found


def _remarks(found: Found) -> tuple[str, ...]:
    """Return lines about folders that cannot be searched, and about names that look alike."""
    return (*found.faults, *found.twins)


def _refuse_odd(path: Path, layout: str, odd: list[str], more_advice: str = "") -> None:
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise DatasetError(
            f"{path}: looks like {layout}, but does not fit it: {', '.join(odd[:3])}{more}; "
            f"complete or remove them{more_advice}"
        )


def _refuse_flat(path: Path) -> None:
    """Refuse a folder that holds clips themselves, not folders of them.

    Raises:
        DatasetError: it is one.
    """
    files = [f for f in path.iterdir() if has_audio_suffix(f)] if path.is_dir() else []
    if files:
        raise DatasetError(
            f"{path}: holds {len(files)} audio file{'s' * (len(files) != 1)} and no folder of a "
            f"class; if they are of one class, give the folder above, {path.resolve().parent}; "
            "else sort them into a folder for each class"
        )


def _check(path: Path, dataset: Dataset, for_training: bool) -> None:
    """Refuse a dataset that is empty, or names a file or a class twice.

    For training, also one with fewer than two classes.
    """
    if not dataset.clips:
        _refuse_flat(path)
        raise DatasetError(
            f"{path}: holds no labelled clips; expected ESC-10, ESC-50, UrbanSound8K, "
            "a folder of audio files per class, or a table path,label[,fold][,group]"
        )
    if for_training and len(dataset.classes) == 1:
        raise DatasetError(
            f"{path}: has one class, {dataset.classes[0]!r}; telling sounds apart needs two"
        )
    if for_training and not dataset.classes:
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
        key = unicodedata.normalize("NFKC", _plain(label))
        if other := spelling.get(key):
            raise DatasetError(
                f"{path}: classes {other!r} and {label!r} differ only in case or space, "
                "or in how an accent is written; give them one name"
            )
        spelling[key] = label


def _refuse_twice(path: Path, dataset: Dataset) -> None:
    twice = [str(p) for p, n in Counter(clip.path for clip in dataset.clips).items() if n > 1]
    if twice:
        raise DatasetError(f"{path}: lists {twice[0]} more than once; keep one row for each file")
