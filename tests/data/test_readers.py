"""Every dataset layout is recognised, and every way it can be wrong is one clear line."""

import os
from collections import Counter
from pathlib import Path

import pytest

from earmark.data.dataset import describe_leaks
from earmark.data.readers import Clip, Dataset, read_dataset, read_negatives, with_negatives
from earmark.errors import DatasetError

ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take"
ESC50_ROWS = [
    "1-100032-A.wav,1,0,dog,True,100032,A",
    "1-100210-A.wav,1,36,vacuum_cleaner,False,100210,A",
    "2-17100-A.wav,2,10,rain,True,17100,A",
    "2-17100-B.wav,2,10,rain,True,17100,B",
    "5-9032-A.wav,5,0,dog,True,9032,A",
]
URBAN_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"


def fault_of(path, **options):
    """The one line about a dataset that cannot be used."""
    with pytest.raises(DatasetError) as caught:
        read_dataset(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}")
    assert "\n" not in message
    return message


@pytest.fixture
def table(tmp_path):
    """Write a CSV file and return its path."""

    def write(*lines, name="clips.csv", encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("\n".join([*lines, ""]).encode(encoding))
        return path

    return write


@pytest.fixture
def esc50(table):
    path = table(ESC50_HEADER, *ESC50_ROWS, name="ESC-50/meta/esc50.csv")
    return path.parents[1]


@pytest.fixture
def urbansound(table):
    rows = [
        f"{source}-3-0-{number}.wav,{source},0.0,4.0,1,{fold},{fold % 2},{label}"
        for fold, label in zip(range(1, 11), ["dog_bark", "siren"] * 5, strict=True)
        for number, source in enumerate((100 + fold, 100 + fold, 200 + fold))
    ]
    return table(URBAN_HEADER, *rows, name="US8K/metadata/UrbanSound8K.csv").parents[1]


# --- ESC-10 -------------------------------------------------------------------------------------


def test_the_real_esc10_is_read_with_its_folds_and_sources(esc10):
    dataset = read_dataset(esc10)
    assert dataset.name == "ESC-10"
    assert not dataset.synthetic
    assert len(dataset.clips) == 400
    assert dataset.classes == (
        *("Baby cry", "Chainsaw", "Clock tick", "Dog bark", "Fire crackling", "Helicopter"),
        *("Person sneeze", "Rain", "Rooster", "Sea waves"),
    )
    counts = Counter((clip.label, clip.fold) for clip in dataset.clips)
    assert set(counts.values()) == {8}
    assert {fold for _, fold in counts} == set("12345")
    first = dataset.clips[0]
    assert first == Clip(esc10 / "001 - Dog bark" / "1-100032-A.ogg", "Dog bark", "100032", "1")
    folds: dict[str, str | None] = {}
    for clip in dataset.clips:
        assert clip.path.is_file()
        assert folds.setdefault(clip.group, clip.fold) == clip.fold


def test_esc10_takes_upper_case_suffixes_other_formats_and_numbered_takes(touch):
    path = touch(
        *("E/001 - Dog bark/1-11-A.WAV", "E/001 - Dog bark/2-12-A2.flac", "E/README.txt"),
        *("E/002 - Rain/1-13-B.ogg", "E/002 - Rain/.1-99-A.ogg", "E/.git/x.ogg"),
        "E/__MACOSX/._x.ogg",
    )
    clips = read_dataset(path / "E").clips
    assert [(clip.path.name, clip.label, clip.group, clip.fold) for clip in clips] == [
        ("1-11-A.WAV", "Dog bark", "11", "1"),
        ("2-12-A2.flac", "Dog bark", "12", "2"),
        ("1-13-B.ogg", "Rain", "13", "1"),
    ]


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["E/extra/a.ogg"], "extra/ (1 audio files)"),
        (["E/003 - Empty/a.txt"], "003 - Empty/ (0 audio files)"),
        (["E/002 - Rain/rain.ogg"], "002 - Rain/rain.ogg"),
        (["E/002 - Rain/1-13.ogg", "E/002 - Rain/x-13-A.ogg"], "002 - Rain/1-13.ogg, 002 - Rain/x"),
    ],
)
def test_what_does_not_fit_esc10_is_named(touch, names, odd):
    path = touch("E/001 - Dog bark/1-11-A.ogg", "E/002 - Rain/1-13-B.ogg", *names)
    message = fault_of(path / "E")
    assert "looks like ESC-10, but does not fit it: " in message
    assert odd in message


def test_of_many_odd_files_three_are_named_and_the_rest_counted(touch):
    path = touch("001 - Dog bark/1-11-A.ogg", *(f"002 - Rain/{n}.ogg" for n in range(10)))
    message = fault_of(path)
    assert "002 - Rain/2.ogg and 7 more; complete or remove them" in message
    assert "3.ogg" not in message


# --- ESC-50 and UrbanSound8K --------------------------------------------------------------------


def test_esc50_is_read_with_its_folds_and_sources(esc50):
    dataset = read_dataset(esc50)
    assert dataset.name == "ESC-50"
    assert dataset.classes == ("dog", "rain", "vacuum_cleaner")
    assert len(dataset.clips) == 5
    assert dataset.clips[3] == Clip(esc50 / "audio" / "2-17100-B.wav", "rain", "17100", "2")


def test_of_esc50_the_esc10_rows_alone_can_be_taken(esc50):
    dataset = read_dataset(esc50, esc10_only=True)
    assert dataset.name == "ESC-50 (esc10 rows)"
    assert dataset.classes == ("dog", "rain")
    assert len(dataset.clips) == 4


def test_esc50_without_esc10_rows_has_no_clips(table):
    path = table(ESC50_HEADER, ESC50_ROWS[1], name="meta/esc50.csv").parents[1]
    assert "holds no labelled clips" in fault_of(path, esc10_only=True)


@pytest.mark.parametrize("kind", ["esc10", "urbansound", "folders", "table"])
def test_esc10_rows_can_only_be_taken_of_esc50(touch, urbansound, table, kind):
    path = {
        "esc10": touch("E/001 - Dog bark/1-11-A.ogg", "E/002 - Rain/1-13-B.ogg") / "E",
        "urbansound": urbansound,
        "folders": touch("F/dog/a.ogg", "F/rain/b.ogg") / "F",
        "table": table("path,label", "a.ogg,dog", "b.ogg,rain"),
    }[kind]
    assert "--esc10 chooses rows of ESC-50, but this is " in fault_of(path, esc10_only=True)


def test_urbansound_is_read_with_its_ten_folds_and_sources(urbansound):
    dataset = read_dataset(urbansound)
    assert dataset.name == "UrbanSound8K"
    assert dataset.classes == ("dog_bark", "siren")
    assert Counter(clip.fold for clip in dataset.clips) == {str(n): 3 for n in range(1, 11)}
    path = urbansound / "audio" / "fold10" / "110-3-0-0.wav"
    assert dataset.clips[27] == Clip(path, "siren", "110", "10")


@pytest.mark.parametrize(
    ("name", "header", "column"),
    [
        ("meta/esc50.csv", ESC50_HEADER, "src_file"),
        ("meta/esc50.csv", ESC50_HEADER, "esc10"),
        ("metadata/UrbanSound8K.csv", URBAN_HEADER, "fsID"),
        ("metadata/UrbanSound8K.csv", URBAN_HEADER, "class"),
    ],
)
def test_a_table_of_a_known_dataset_that_lacks_a_column_is_refused(table, name, header, column):
    cut = ",".join(name for name in header.split(",") if name != column)
    path = table(cut, name=name)
    message = fault_of(path.parents[1])
    assert message == (
        f"{path}: has no column {column}; begin it with a line that names the columns, with commas "
        f"between (its first line is {cut!r})"
    )


# --- a folder per class -------------------------------------------------------------------------


def test_a_folder_per_class_is_read_with_what_is_nested_in_it(touch):
    path = touch(
        *("My sounds/dog/b.wav", "My sounds/dog/a.WAV", "My sounds/dog/2024/may/c.Flac"),
        *("My sounds/sea waves/x.m4a", "My sounds/sea waves/notes.txt", "My sounds/README.md"),
        *("My sounds/dog/.hidden.wav", "My sounds/dog/._a.wav", "My sounds/.cache/z.wav"),
        "My sounds/__pycache__/z.wav",
    )
    dataset = read_dataset(path / "My sounds")
    assert dataset.name == "My sounds"
    assert dataset.classes == ("dog", "sea waves")
    names = [str(clip.path.relative_to(path / "My sounds").as_posix()) for clip in dataset.clips]
    assert names == ["dog/2024/may/c.Flac", "dog/a.WAV", "dog/b.wav", "sea waves/x.m4a"]
    assert {clip.fold for clip in dataset.clips} == {None}
    assert len({clip.group for clip in dataset.clips}) == 4


def test_hidden_folders_inside_a_class_are_left_out(touch):
    path = touch("S/dog/a.wav", "S/dog/.trash/deleted.wav", "S/rain/b.wav")
    assert [clip.path.name for clip in read_dataset(path / "S").clips] == ["a.wav", "b.wav"]


def test_files_of_one_name_in_two_classes_are_two_sources(touch):
    clips = read_dataset(touch("dog/1.wav", "rain/1.wav")).clips
    assert len({clip.group for clip in clips}) == 2


def test_the_name_of_the_folder_we_are_in_is_found(touch, monkeypatch):
    monkeypatch.chdir(touch("S/dog/a.wav", "S/rain/b.wav") / "S")
    assert read_dataset(Path()).name == "S"


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["S/empty/notes.txt"], "empty/ (no audio file)"),
        (["S/stray.wav"], "stray.wav"),
        (["S/.hidden/x.wav", "S/b/notes.txt", "S/stray.wav"], "b/ (no audio file), stray.wav"),
    ],
)
def test_what_does_not_fit_a_folder_per_class_is_named(touch, names, odd):
    message = fault_of(touch("S/dog/a.wav", "S/rain/b.wav", *names) / "S")
    assert f"looks like one folder per class, but does not fit it: {odd}; " in message


@pytest.mark.parametrize("names", [[], ["S/dog/notes.txt", "S/x/y/z.txt"]])
def test_a_folder_without_classes_says_what_is_expected(touch, names):
    path = touch("S/README.txt", *names) / "S"
    message = fault_of(path)
    assert "holds no labelled clips; expected ESC-10, ESC-50, UrbanSound8K, a folder" in message


def test_the_clips_of_one_class_hint_at_the_folder_above(touch, monkeypatch):
    path = touch("S/dog/a.wav", "S/dog/b.flac", "S/rain/c.wav") / "S"
    hint = f"if they are of one class, give the folder above, {path}; else"
    assert f"holds 2 audio files and no folder of a class; {hint}" in fault_of(path / "dog")
    monkeypatch.chdir(path / "rain")
    assert f"holds 1 audio file and no folder of a class; {hint}" in fault_of(Path())


@pytest.fixture
def real_esc50():
    """The folder of the real ESC-50."""
    folder = os.environ.get("EARMARK_ESC50")
    if not folder:
        pytest.skip("EARMARK_ESC50 does not name the folder of ESC-50")
    return Path(folder)


def published(dataset):
    """What a published dataset says of each clip, whatever its layout."""
    return sorted((clip.path.stem, clip.group, clip.fold) for clip in dataset.clips)


def test_the_real_esc50_is_read_alike_in_its_three_layouts(real_esc50, tmp_path):
    by_table = read_dataset(real_esc50)
    assert (by_table.name, len(by_table.known_leaks), by_table.remarks) == ("ESC-50", 4, ())
    assert (len(by_table.clips), len(by_table.classes)) == (2000, 50)
    assert read_dataset(real_esc50 / "esc50.csv") == by_table
    # as people download it: meta/esc50.csv and audio/
    audio, rows = tmp_path / "downloaded" / "audio", [ESC50_HEADER]
    (tmp_path / "downloaded" / "meta").mkdir(parents=True)
    for clip in by_table.clips:
        esc10 = "esc10/" in str(clip.path)
        row = (clip.path.name, clip.fold, 0, clip.label, esc10, clip.group, "A")
        rows.append(",".join(map(str, row)))
    (tmp_path / "downloaded" / "meta" / "esc50.csv").write_text("\n".join(rows))
    downloaded = read_dataset(tmp_path / "downloaded")
    assert published(downloaded) == published(by_table)
    assert downloaded.clips[0].path.parent == audio
    # its original folders, those of ESC-10 among them
    folders = tmp_path / "folders"
    folders.mkdir()
    for folder in (*real_esc50.iterdir(), *(real_esc50.parent / "esc10").iterdir()):
        if folder.is_dir():
            (folders / folder.name).symlink_to(folder)
    original = read_dataset(folders)
    assert original.name == "ESC-50"
    assert published(original) == published(by_table)
    for esc50 in (by_table, downloaded, original):
        assert len(esc50.classes) == 50
    assert len(read_dataset(real_esc50, esc10_only=True).clips) == 400
    assert len(read_dataset(folders, esc10_only=True).clips) == 400


def test_the_real_esc50_leaks_by_four_sources_which_are_named(real_esc50):
    (remark,) = describe_leaks(read_dataset(real_esc50))
    assert "4 source recordings stand in two folds" in remark
    for source in ("134049", "234879", "131943", "209698"):
        assert source in remark


# --- a table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_with_folds_and_groups_is_read(table, tmp_path, encoding):
    path = table(
        *("path,label,fold,group,remark", "wavs/a.wav,Hund,1,s1,", " b.wav , Regen , 2 , s2 ,x"),
        *('"c, d.wav",Füße,10,s1,"a, b"', ""),
        name="my table.CSV",
        encoding=encoding,
    )
    assert read_dataset(path) == Dataset(
        "my table",
        (
            Clip(tmp_path / "wavs/a.wav", "Hund", "s1", "1"),
            Clip(tmp_path / "b.wav", "Regen", "s2", "2"),
            Clip(tmp_path / "c, d.wav", "Füße", "s1", "10"),
        ),
        remarks=(
            f"{path}: columns not used: remark; whole files are read, and only path, label, fold "
            "and group count",
        ),
    )


def test_columns_are_known_in_capitals_too(table):
    rows = ("clips/a.wav,dog,s1,1", "clips/b.wav,rain,s2,2")
    capitals = read_dataset(table("Path,LABEL,Group,Fold", *rows))
    assert capitals == read_dataset(table("path,label,group,fold", *rows))
    assert [(clip.group, clip.fold) for clip in capitals.clips] == [("s1", "1"), ("s2", "2")]


def test_blanks_before_a_quoted_value_are_skipped(table):
    dataset = read_dataset(table("path, label", 'a.wav, "dog loud"', 'b.wav, "rain"'))
    assert dataset.classes == ("dog loud", "rain")


def test_paths_written_with_backslashes_are_found_where_no_file_is_called_so(table, touch):
    folder = touch("clips/a.wav", "clips/b.wav")
    dataset = read_dataset(table("path,label", "clips\\a.wav,dog", "clips\\b.wav,rain"))
    assert [clip.path for clip in dataset.clips] == [
        folder / "clips" / "a.wav",
        folder / "clips" / "b.wav",
    ]


def test_labels_that_look_like_several_are_remarked_on(table):
    (remark,) = read_dataset(table("path,label", 'a.wav,"dog,outdoor"', "b.wav,rain")).remarks
    assert "'dog,outdoor' is taken as one class" in remark


@pytest.mark.parametrize(
    "names",
    [
        ["train/Dog/a.wav", "test/Dog/b.wav", "train/Rain/c.wav", "test/Rain/d.wav"],
        ["Training/a.wav", "Testing/b.wav"],
        ["fold1/a.wav", "fold2/b.wav", "fold3/c.wav"],
        ["mine/Dog/a.wav", "yours/Dog/b.wav", "mine/Rain/c.wav"],
    ],
)
def test_parts_of_a_dataset_are_not_taken_for_classes(touch, names):
    message = fault_of(touch(*names))
    assert "look like parts of a dataset, not like classes" in message
    assert "CLASS/CLIP" in message


def test_linked_folders_and_links_to_nothing_are_clips_too(touch, tmp_path):
    folder = touch("S/dog/a.wav", "S/rain/b.wav", "elsewhere/c.wav")
    (folder / "S" / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "S" / "rain" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    names = [clip.path.name for clip in read_dataset(folder / "S").clips]
    assert names == ["a.wav", "c.wav", "b.wav", "gone.wav"]


def test_one_class_may_be_called_like_a_part(touch):
    assert read_dataset(touch("test/a.wav", "dog/b.wav")).classes == ("dog", "test")


def test_names_that_differ_only_in_how_an_accent_is_written_are_refused(table):
    path = table("path,label", "a.wav,caf\u00e9", "b.wav,cafe\u0301")
    assert "differ only in case or space, or in how an accent is written" in fault_of(path)


def test_a_table_of_paths_and_labels_alone_makes_each_file_its_own_source(table, tmp_path):
    elsewhere = tmp_path.parent / "elsewhere.wav"
    clips = read_dataset(table("label,path", "dog,a.wav", f"rain,{elsewhere}")).clips
    assert [clip.path for clip in clips] == [tmp_path / "a.wav", elsewhere]
    assert [clip.fold for clip in clips] == [None, None]
    assert [clip.group for clip in clips] == [str(clip.path) for clip in clips]


def test_an_empty_group_is_a_source_of_its_own(table, tmp_path):
    lines = ("path,label,group", "a.wav,dog,s", "b.wav,dog,", "c.wav,rain,")
    groups = [clip.group for clip in read_dataset(table(*lines)).clips]
    assert groups == ["s", str(tmp_path / "b.wav"), str(tmp_path / "c.wav")]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["path,fold", "a.wav,1"], "(its first line is 'path,fold')"),
        (["a.wav,dog", "b.wav,rain"], "has no column path, label; begin it with a line that"),
        ([], "has no column path, label; begin it with a line that names the columns"),
        (["path;label", "a.wav;dog"], "with commas between (its first line is 'path;label')"),
        (["path,label,label", "a.wav,dog,rain"], "has two columns 'label'; keep one"),
        (["path,label", "a.wav,'dog\x07'"], "line 2 has a line break or another control character"),
        (["path,label", 'a.wav,"dog', 'bark"'], "control character in its label; remove it"),
        (["path,label", "a\0.wav,dog"], "control character in its path; remove it"),
        (["path,label", "a.wav,None of  these", "b.wav,noise"], "has clips of no class only"),
        (["path,label", "a.wav,noise", "b.wav,dog"], "has one class, 'dog'"),
        (["path,label,fold", "a.wav,dog,", "b.wav,rain,", "c.wav,noise,1"], "2 of 3 rows have no"),
        (["path,label,fold", "a.wav,dog,../x", "b.wav,rain,2"], "fold '../x' is to name a folder"),
        (["path,label,fold", f"a.wav,dog,{'1' * 70}", "b.wav,rain,2"], "use a short name"),
        (["path,label", "a.wav,dog", "b.wav"], "line 3 has not 2 values"),
        (["path,label", "a,b.wav,dog"], "line 2 has not 2 values; quote values that hold commas"),
        (["path,label", "a.wav,dog", "b.wav,  "], "line 3 has no label"),
        (["path,label", ",dog"], "line 2 has no path"),
        (["path,label,fold", "a.wav,dog,1", "b.wav,rain,"], "1 of 2 rows have no fold; fill all"),
        (["path,label"], "holds no labelled clips"),
        (["path,label", "a.wav,dog", "b.wav,dog"], "has one class, 'dog'"),
        (["path,label", "a.wav,dog", "./a.wav,rain"], "a.wav more than once; keep one row"),
        (["path,label", "a.wav,Dog Bark", "b.wav,dog_bark"], "'Dog Bark' and 'dog_bark' differ"),
        (["path,label", "a.wav,dog", "b.wav,DOG"], "'DOG' and 'dog' differ only in case or space"),
        (["path,label", f"a.wav,{'x' * 200_000}"], "is not a CSV table (field larger than"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_table_that_cannot_be_used_says_where_it_is_wrong(table, lines, fault):
    assert fault in fault_of(table(*lines))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_that_is_not_utf8_is_refused(table, encoding):
    path = table("path,label", "ä.wav,dog", "b.wav,rain", encoding=encoding)
    assert fault_of(path) == f"{path}: is not UTF-8 text; save it as CSV in UTF-8"


# --- no dataset at all --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [("missing", "no such dataset"), ("missing.csv", "no such dataset"), ("a.wav", "is neither a")],
)
def test_what_is_no_dataset_is_refused(touch, name, fault):
    assert fault in fault_of(touch("a.wav") / name)


def test_folders_that_differ_in_case_or_space_only_are_refused(touch):
    message = fault_of(touch("sea waves/a.wav", "Sea_Waves/b.wav", "dog/c.wav"))
    assert "classes 'Sea_Waves' and 'sea waves' differ only in case or space" in message


def test_one_folder_is_one_class_and_refused(touch):
    assert "has one class, 'dog'; telling sounds apart needs two" in fault_of(touch("dog/a.wav"))


# --- clips of no class --------------------------------------------------------------------------


def labels_of(dataset):
    return [(clip.path.name, clip.label) for clip in dataset.clips]


def test_folders_that_mean_no_class_hold_clips_without_one(touch):
    names = ("__noise__/n.wav", "_background_noise_/room/m.wav", "None of these/o.wav")
    dataset = read_dataset(touch("S/dog/a.wav", "S/rain/b.wav", *(f"S/{n}" for n in names)) / "S")
    assert dataset.classes == ("dog", "rain")
    assert dataset.negatives == 3
    assert sorted(name for name, label in labels_of(dataset) if label is None) == [
        *("m.wav", "n.wav", "o.wav")
    ]


def test_a_table_may_leave_the_folds_of_negatives_out(table):
    rows = ("a.wav,dog,1", "b.wav,rain,2", "c.wav,Background,", "d.wav,none,2")
    dataset = read_dataset(table("path,label,fold", *rows))
    assert dataset.classes == ("dog", "rain")
    assert [clip.fold for clip in dataset.clips if clip.label is None] == [None, "2"]


def test_a_folder_of_negatives_beside_the_folders_of_esc10_is_read(touch):
    names = ("001 - Dog bark/1-1-A.ogg", "002 - Rain/2-2-A.ogg", "background/room.wav")
    dataset = read_dataset(touch(*(f"E/{name}" for name in names)) / "E")
    assert dataset.name == "ESC-10"
    assert labels_of(dataset)[-1] == ("room.wav", None)


def test_negatives_come_from_a_folder_at_any_depth_or_a_table(touch, table, tmp_path):
    touch("room/a.wav", "room/deep/b.ogg", "room/notes.txt", "room/.hidden/c.wav")
    assert [clip.path.name for clip in read_negatives(tmp_path / "room")] == ["a.wav", "b.ogg"]
    clips = read_negatives(table("path,label,group", "a.wav,dog,x", "b.wav,rain,x"))
    assert [(clip.label, clip.group) for clip in clips] == [(None, "x"), (None, "x")]


def test_negatives_join_a_dataset_once(touch, tmp_path):
    dataset = read_dataset(touch("S/dog/a.wav", "S/rain/b.wav", "room/c.wav") / "S")
    both = with_negatives(dataset, [tmp_path / "room"])
    assert (len(both.clips), both.negatives, both.classes) == (3, 1, dataset.classes)
    with pytest.raises(DatasetError, match=r"c\.wav more than once"):
        with_negatives(dataset, [tmp_path / "room", tmp_path / "room"])


def test_clips_of_the_dataset_are_no_negatives_of_it(touch, tmp_path):
    dataset = read_dataset(touch("S/dog/a.wav", "S/rain/b.wav", "S/noise/c.wav") / "S")
    with pytest.raises(DatasetError, match=r"S: holds clips of class 'dog' of .*a\.wav for one"):
        with_negatives(dataset, [tmp_path / "S"])
    with pytest.raises(DatasetError, match="holds clips of no class of the dataset"):
        with_negatives(dataset, [tmp_path / "S" / "noise"])


def test_negatives_named_like_a_class_are_refused_with_the_class(touch, table, tmp_path):
    dataset = read_dataset(touch("S/dog/a.wav", "S/sea waves/b.wav", "o/x/Sea_Waves/c.wav") / "S")
    for folder in ("o", "o/x/Sea_Waves"):
        with pytest.raises(DatasetError, match=r"has a folder named like class 'sea waves'"):
            with_negatives(dataset, [tmp_path / folder])
    with pytest.raises(DatasetError, match=r"has a label named like class 'dog' of the dataset"):
        with_negatives(dataset, [table("path,label", "c.wav,cat", "d.wav,Dog")])
    assert with_negatives(dataset, [table("path,label", "c.wav,cat", "d.wav,")]).negatives == 2


@pytest.mark.parametrize(
    ("name", "fault"), [("missing", "no such negatives"), ("empty", "holds no audio files")]
)
def test_negatives_that_are_not_there_are_said(touch, name, fault):
    folder = touch("empty/notes.txt")
    with pytest.raises(DatasetError, match=fault):
        read_negatives(folder / name)
