"""Split files: what is written is inert, what is read is checked, and nothing in one runs."""

import collections
import contextlib
import dataclasses
import importlib
import io
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from earmark.data.pickles.inert import read_inert
from earmark.data.splits import (
    ClipSet,
    Split,
    read_split,
    split_path,
    write_split,
)
from earmark.errors import SplitError
from tests.builders import small_split

# where NumPy 2 keeps the names that its pickles mention; its stubs leave it out
multiarray = importlib.import_module("numpy._core.multiarray")
RNG = np.random.default_rng(0)
CLIPS = [RNG.standard_normal((7, 3)).astype(np.float32) for _ in range(4)]
UNEVEN = [RNG.standard_normal((frames, 3)).astype(np.float32) for frames in (1, 9, 4, 2)]
LABELS = [0, 1, 2, 1]
NAMES = ["dog", "rain", "sea", "rain"]


def save(folder, content, index=0, protocol=pickle.DEFAULT_PROTOCOL):
    """Write anything as a split file with a bare pickle, as other programs do."""
    path = split_path(folder, index)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def fault_of(folder, index=0):
    """The one line about a split that cannot be used."""
    with pytest.raises(SplitError) as caught:
        read_split(folder, index)
    message = str(caught.value)
    assert message.startswith(f"{folder}")
    assert "\n" not in message
    return message


def assert_same(given, expected):
    for field in dataclasses.fields(Split):
        if field.name not in ("train", "test"):
            assert getattr(given, field.name) == getattr(expected, field.name)
    for part in ("train", "test"):
        one, other = getattr(given, part), getattr(expected, part)
        for name in ("features", "frames", "labels"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert list(one.paths) == list(other.paths)
        assert list(one.groups) == list(other.groups)


# --- Earmark's own files ------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 3, 12])
@pytest.mark.parametrize("changes", [{}, {"front_end": None, "synthetic": True}], ids=str)
def test_a_split_comes_back_as_it_was_written(tmp_path, index, changes):
    split = small_split(index=index, test_fold="fold 3", **changes)
    path = write_split(tmp_path / "new", split)
    assert path == tmp_path / "new" / f"split_{index}.pkl"
    given = read_split(tmp_path / "new", index)
    assert_same(given, split)
    assert given.train.together().dtype == np.float32
    assert given.train.labels.dtype == given.train.frames.dtype == np.int64


def test_names_beyond_ascii_come_back(tmp_path):
    names = [f"Füße/{number} — π.ogg" for number in range(len(small_split().test))]
    test = dataclasses.replace(small_split().test, paths=names, groups=names)
    split = small_split(classes=("Füße", "雨", "b c"), test=test)
    write_split(tmp_path, split)
    assert_same(read_split(tmp_path, 0), split)


def test_the_same_split_is_written_as_the_same_bytes(tmp_path):
    paths = [write_split(tmp_path / name, small_split()) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_bare_unpickler_finds_arrays_and_plain_values_only(tmp_path):
    path = write_split(tmp_path, small_split())
    with path.open("rb") as file:
        content = pickle.load(file)

    def walk(value):
        if type(value) is dict:
            for key, inner in value.items():
                assert type(key) is str
                walk(inner)
        elif type(value) is np.ndarray:
            assert value.dtype.kind in "fiU"
        else:
            assert type(value) in (str, int, float, bool), value

    walk(content)
    assert content["format"] == "earmark-split"
    assert content["train"]["features"].shape == small_split().train.features.shape


def test_the_names_a_written_file_asks_for_come_from_numpy(tmp_path):
    class Recorder(pickle.Unpickler):
        asked: set[str] = set()  # noqa: RUF012 - one use

        def find_class(self, module, name):
            self.asked.add(module.partition(".")[0])
            return super().find_class(module, name)

    with write_split(tmp_path, small_split()).open("rb") as file:
        Recorder(file).load()
    assert Recorder.asked == {"numpy"}


def test_clips_are_found_by_number_and_by_mask():
    part = small_split().train
    starts = np.concatenate([[0], np.cumsum(part.frames)[:-1]])
    assert np.array_equal(part.starts, starts)
    chosen = part.select(part.labels == 1)
    numbers = np.flatnonzero(part.labels == 1)
    assert len(chosen) == len(numbers) == 12
    for place, number in enumerate(numbers):
        end = starts[number] + part.frames[number]
        assert np.array_equal(part.clip(number), part.features[starts[number] : end])
        assert np.array_equal(chosen.clip(place), part.clip(number))
        assert chosen.paths[place] == part.paths[number]
        assert chosen.groups[place] == part.groups[number]


def test_a_mask_that_chooses_nothing_gives_an_empty_part():
    part = small_split().train
    none = part.select(np.zeros(len(part), bool))
    assert len(none) == 0
    assert none.features.shape == (0, part.features.shape[1])


def own_content(tmp_path):
    with write_split(tmp_path, small_split()).open("rb") as file:
        return pickle.load(file)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda p: {"labels": p["labels"][:-1]}, "counts and frames do not add up"),
        (lambda p: {"frames": p["frames"][:-1]}, "counts and frames do not add up"),
        (lambda p: {"paths": p["paths"][1:]}, "counts and frames do not add up"),
        (lambda p: {"groups": p["groups"][1:]}, "counts and frames do not add up"),
        (lambda p: {"features": p["features"][:-1]}, "counts and frames do not add up"),
        (lambda p: {"features": p["features"].ravel()}, "counts and frames do not add up"),
        (lambda p: {"features": p["features"] * np.nan}, "has NaN or infinite features"),
        (lambda p: {"features": p["features"] + np.inf}, "has NaN or infinite features"),
        (lambda p: {"labels": p["labels"] + 1}, "has labels outside its 3 classes"),
        (lambda p: {"labels": p["labels"] - 2}, "has labels outside its 3 classes"),
        (lambda p: {"features": p["features"][:, 1:]}, "features a frame, but test has"),
        (lambda p: {"features": "none"}, "is not a usable split (ValueError"),
        (lambda p: {"labels": None}, "is not a usable split (TypeError"),
        (
            lambda p: {"frames": np.r_[0, p["frames"][0] + p["frames"][1], p["frames"][2:]]},
            "has a clip without frames",
        ),
        (
            lambda p: {key: value[:0] for key, value in p.items()},
            "has no clips",
        ),
    ],
)
def test_an_inconsistent_part_is_refused(tmp_path, part, change, fault):
    content = own_content(tmp_path)
    content[part] = {**content[part], **change(content[part])}
    save(tmp_path, content)
    assert fault in fault_of(tmp_path)


@pytest.mark.parametrize(
    "key", ["version", "classes", "front_end", "fingerprint", "train", "split_index", "dataset"]
)
def test_a_split_that_lacks_an_entry_is_refused_by_name(tmp_path, key):
    content = own_content(tmp_path)
    del content[key]
    save(tmp_path, content)
    assert f"is not a usable split (KeyError: '{key}')" in fault_of(tmp_path)


def test_a_later_version_is_refused_with_the_command_that_makes_this_one(tmp_path):
    save(tmp_path, {**own_content(tmp_path), "version": 3})
    message = fault_of(tmp_path)
    assert "is split format 3, this Earmark reads 1 and 2" in message
    assert message.endswith("write it again with: earmark prepare DATASET")


def test_a_wrong_front_end_is_refused_by_its_setting(tmp_path):
    content = own_content(tmp_path)
    content["front_end"]["n_mels"] = 0
    save(tmp_path, content)
    assert "n_mels must be at least 1, got 0" in fault_of(tmp_path)


# --- missing and damaged files ------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_missing_splits_say_which_command_makes_them(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    message = fault_of(tmp_path / folder)
    assert "has no split files; make them with: earmark prepare DATASET" in message


def test_a_missing_number_lists_those_that_are_there_in_order(tmp_path):
    for index in (10, 2, 0):
        write_split(tmp_path, small_split(index=index))
    (tmp_path / "split_old.pkl").touch()
    assert "has no split 1; --split_index may be 0, 2, 10" in fault_of(tmp_path, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = write_split(tmp_path, small_split())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    message = fault_of(tmp_path)
    assert "is not a readable pickle" in message
    assert "may be truncated; write it again with: earmark prepare DATASET" in message


@pytest.mark.parametrize(
    "data",
    [
        *(b"garbage", b"PK\x03\x04" + bytes(99), bytes(999), b"\x80\x04", b"\x80\xff.", b"."),
        *(b"(" * 9_999, b"\x80\x04" + b"]" * 99_999 + b"a" * 99_999, b"Pid\n."),
        *(np.random.default_rng(seed).bytes(999) for seed in range(20)),
    ],
    ids=lambda data: repr(data[:6]),
)
def test_a_file_that_is_no_pickle_is_refused(tmp_path, data):
    split_path(tmp_path, 0).write_bytes(data)
    fault_of(tmp_path)


def test_flipped_bytes_are_read_or_refused_but_raise_nothing_else(tmp_path):
    path = write_split(tmp_path, small_split())
    data, rng, refused = path.read_bytes(), np.random.default_rng(1), 0
    ends = np.r_[np.arange(700), np.arange(len(data) - 700, len(data))]  # around the arrays
    for _ in range(300):
        flipped = bytearray(data)
        flipped[rng.choice(ends)] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            assert isinstance(read_split(tmp_path, 0), Split)
        except SplitError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


# --- other programs' files ----------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "arrays": (np.stack(CLIPS), np.array(LABELS)),
    "list of two arrays": [np.stack(CLIPS), np.array(LABELS)],
    "doubles, labels as floats": (np.stack(CLIPS).astype(np.float64), np.array(LABELS, "f8")),
    "array, list of labels": (np.stack(CLIPS), LABELS),
    "nested lists": (np.stack(CLIPS).tolist(), LABELS),
    "lists of clips and labels": (CLIPS, LABELS),
    "dict of arrays": {"features": np.stack(CLIPS), "labels": np.array(LABELS)},
    "pairs": list(zip(CLIPS, LABELS, strict=True)),
    "pairs with array labels": [(c, np.int64(n)) for c, n in zip(CLIPS, LABELS, strict=True)],
    "lists as pairs": [[clip, label] for clip, label in zip(CLIPS, LABELS, strict=True)],
    "tensors": (torch.tensor(np.stack(CLIPS)), torch.tensor(LABELS)),
    "tensors as pairs": [
        (torch.tensor(clip), torch.tensor(label)) for clip, label in zip(CLIPS, LABELS, strict=True)
    ],
    "TensorDataset": TensorDataset(torch.tensor(np.stack(CLIPS)), torch.tensor(LABELS)),
    "two pairs": list(zip(CLIPS, LABELS, strict=True))[:2],
    "two tensors as pairs": [
        (torch.tensor(clip), torch.tensor(label)) for clip, label in zip(CLIPS, LABELS, strict=True)
    ][:2],
    "one pair": [(CLIPS[0], LABELS[0])],
    "two clips as arrays": (np.stack(CLIPS[:2]), np.array(LABELS[:2])),
    "one clip as arrays": (np.stack(CLIPS[:1]), np.array(LABELS[:1])),
}
UNEVEN_FORMS: dict[str, Any] = {
    "pairs": list(zip(UNEVEN, LABELS, strict=True)),
    "tensors as pairs": [
        (torch.tensor(c), torch.tensor(n)) for c, n in zip(UNEVEN, LABELS, strict=True)
    ],
    "lists": (UNEVEN, LABELS),
    "list and array": (UNEVEN, np.array(LABELS)),
    "dict of lists": {"features": UNEVEN, "labels": LABELS},
    "two pairs": list(zip(UNEVEN, LABELS, strict=True))[:2],
}
CONTAINERS = {
    "dict": lambda train, test: {"train": train, "test": test, "note": "x"},
    "tuple": lambda train, test: (train, test),
    "list": lambda train, test: [train, test],
    "OrderedDict": lambda train, test: collections.OrderedDict(test=test, train=train),
}


def assert_clips(part, name, clips):
    assert len(part) > 0
    for number in range(len(part)):
        assert np.array_equal(part.clip(number), clips[number])
    assert part.features.dtype == np.float32
    assert part.labels.tolist() == LABELS[: len(part)]
    assert list(part.paths) == [f"{name}/{number}" for number in range(len(part))]
    assert list(part.groups) == list(part.paths)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_documented_form_is_read(tmp_path, form, container):
    save(tmp_path, CONTAINERS[container](FORMS["arrays"], FORMS[form]), index=2)
    split = read_split(tmp_path, 2)
    assert_clips(split.train, "train", CLIPS)
    assert_clips(split.test, "test", CLIPS)
    assert (split.classes, split.index, split.front_end) == (("0", "1", "2"), 2, None)
    assert (split.dataset, len(split.fingerprint), split.synthetic) == ("split_2", 64, False)


@pytest.mark.parametrize("form", UNEVEN_FORMS)
def test_clips_of_uneven_length_are_read_unpadded(tmp_path, form):
    save(tmp_path, {"train": UNEVEN_FORMS[form], "test": FORMS["arrays"]})
    split = read_split(tmp_path, 0)
    assert_clips(split.train, "train", UNEVEN)
    assert_clips(split.test, "test", CLIPS)


@pytest.mark.parametrize(
    ("form", "protocol"),
    [
        (form, protocol)
        for form in ("arrays", "tensors", "pairs", "TensorDataset")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        # Protocols 0 and 1 make objects by a call that may make any object; it is not allowed.
        if form != "TensorDataset" or protocol >= 2
    ],
)
def test_every_pickle_protocol_is_read(tmp_path, form, protocol):
    save(tmp_path, (FORMS[form], FORMS[form]), protocol=protocol)
    assert_clips(read_split(tmp_path, 0).train, "train", CLIPS)


def test_arrays_named_as_in_numpy_1_are_read(tmp_path):
    path = save(tmp_path, (FORMS["arrays"], FORMS["pairs"]), protocol=2)
    data = path.read_bytes()
    assert b"numpy._core" in data
    path.write_bytes(data.replace(b"numpy._core", b"numpy.core"))  # text names carry no length
    assert_clips(read_split(tmp_path, 0).train, "train", CLIPS)


@pytest.mark.parametrize(
    "labels", [NAMES, tuple(NAMES), np.array(NAMES), np.array(NAMES, dtype=object)], ids=repr
)
def test_names_as_labels_become_classes_in_alphabetical_order(tmp_path, labels):
    save(tmp_path, {"train": (np.stack(CLIPS), labels), "test": (np.stack(CLIPS), labels)})
    split = read_split(tmp_path, 0)
    assert split.classes == ("dog", "rain", "sea")
    assert split.train.labels.tolist() == LABELS


@pytest.mark.parametrize("key", ["classes", "class_names"])
@pytest.mark.parametrize("names", [["w", "z", "a", "unused"], np.array(["w", "z", "a", "b"])])
def test_numbers_as_labels_take_the_names_the_file_gives(tmp_path, key, names):
    save(tmp_path, {"train": FORMS["arrays"], "test": FORMS["pairs"], key: names})
    assert read_split(tmp_path, 0).classes == tuple(names)


def test_names_as_labels_keep_the_order_the_file_gives(tmp_path):
    part = list(zip(CLIPS, NAMES, strict=True))
    save(tmp_path, {"train": part, "test": part, "classes": ["sea", "rain", "fire", "dog"]})
    split = read_split(tmp_path, 0)
    assert split.classes == ("sea", "rain", "fire", "dog")
    assert split.train.labels.tolist() == [3, 1, 0, 1]


def test_a_class_that_only_the_test_part_has_is_kept(tmp_path):
    save(tmp_path, (FORMS["two pairs"] + [(CLIPS[0], 1)], [(CLIPS[0], 4)]))
    assert read_split(tmp_path, 0).classes == ("0", "1", "2", "3", "4")


GOOD = FORMS["arrays"]
WRONG_CONTENT: dict[str, Any] = {
    "nothing": (None, "holds a NoneType"),
    "text": ("train", "holds a str of 5"),
    "array": (np.zeros(4), "holds a ndarray of 4"),
    "three parts": ((GOOD, GOOD, GOOD), "holds a tuple of 3"),
    "dict without test": ({"train": GOOD, "valid": GOOD}, "is a dict with ['train', 'valid']"),
    "part of text": ({"train": GOOD, "test": "x"}, "test is a str of 1"),
    "part without labels": ({"train": GOOD, "test": {"features": 1}}, "without 'features' and"),
    "fewer labels": ((GOOD, (GOOD[0], GOOD[1][:3])), "test has 4 features but 3 labels"),
    "empty part": ((GOOD, []), "its test part has no clips"),
    "both empty": (([], []), "has no clips"),
    "flat clips": ((GOOD, [(CLIPS[0][0], 0)]), "test clip 0 has shape (3,)"),
    "empty clip": ((GOOD, [(CLIPS[0], 0), (CLIPS[0][:0], 0), (CLIPS[0], 0)]), "has shape (0, 3)"),
    "text for features": ((GOOD, [("loud", 0)]), "test has features that are not numbers"),
    "triples": ((GOOD, [(CLIPS[0], 0, 1)] * 3), "items are not (feature, label) pairs"),
    "negative label": ((GOOD, [(CLIPS[0], -1)]), "has label -1; labels count from 0"),
    "half label": ((GOOD, [(CLIPS[0], 0.5)]), "has label 0.5; a whole number or a class name"),
    "NaN label": ((GOOD, [(CLIPS[0], float("nan"))]), "has label nan; a whole number"),
    "truth as label": ((GOOD, [(CLIPS[0], True)]), "has label True; a whole number"),
    "no label": ((GOOD, [(CLIPS[0], None)]), "has label None; a whole number"),
    "names and numbers": ((GOOD, [(CLIPS[0], "dog")]), "has both numbers and names as labels"),
    "too few names": (
        {"train": GOOD, "test": GOOD, "classes": ["a", "b"]},
        "has label 2, but names only 2 classes",
    ),
    "unknown name": (
        {"train": [(CLIPS[0], "dog")], "test": [(CLIPS[0], "cat")], "classes": ["dog"]},
        "has label 'cat', which is not among its classes",
    ),
    "two sizes": ((GOOD, [(CLIPS[0][:, 1:], 0)]), "train has 3 features a frame, but test has 2"),
    "two sizes in a part": (
        (GOOD, [(CLIPS[0], 0), (CLIPS[1][:, 1:], 0), (CLIPS[0], 0)]),
        "test has clips with different numbers of features a frame",
    ),
    "NaN": ((GOOD, (GOOD[0] * np.nan, GOOD[1])), "its test part has NaN or infinite features"),
    "infinity": ((GOOD, (GOOD[0] + np.inf, GOOD[1])), "its test part has NaN or infinite"),
    "too large": ((GOOD, (GOOD[0].astype("f8") * 1e300, GOOD[1])), "test part has NaN or infinite"),
}


@pytest.mark.parametrize("case", WRONG_CONTENT)
def test_content_that_is_no_split_is_refused_with_its_fault(tmp_path, case):
    content, fault = WRONG_CONTENT[case]
    save(tmp_path, content)
    assert fault in fault_of(tmp_path)


# --- hostile files ------------------------------------------------------------------------------


class Call:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def by_name(module, name, *arguments):
    """A pickle that calls `module.name(*arguments)`; pickle itself walks dots in `name`."""

    def text(value):
        data = value.encode()
        return b"X" + len(data).to_bytes(4, "little") + data

    called = text(module) + text(name) + b"\x93"
    return b"\x80\x04" + called + b"(" + b"".join(map(text, arguments)) + b"tR."


def object_array(value):
    array = np.empty(1, object)
    array[0] = value
    return array


def in_torch_file(value, **options):
    """A call of torch's own storage loader on a file of torch that holds `value`."""
    data = io.BytesIO()
    torch.save(value, data, **options)
    return Call(torch.storage._load_from_bytes, data.getvalue())


def shell(marker):
    return Call(os.system, f'echo > "{marker}"')


def opened(marker):
    return f"open({str(marker)!r}, 'w').close()"


HOSTILE = {
    "os.system": lambda m: pickle.dumps(shell(m)),
    "os.system, old protocol": lambda m: pickle.dumps(shell(m), protocol=0),
    "eval": lambda m: pickle.dumps(Call(eval, opened(m))),
    "exec": lambda m: pickle.dumps(Call(exec, opened(m))),
    "subprocess": lambda m: pickle.dumps(
        Call(subprocess.call, (sys.executable, "-S", "-c", opened(m)))
    ),
    "writing function of NumPy": lambda m: pickle.dumps(Call(np.savetxt, str(m), [1.0])),
    "dotted name": lambda m: by_name("pathlib", "os.system", f'echo > "{m}"'),
    "inside a good split": lambda m: pickle.dumps(
        {"train": FORMS["arrays"], "test": FORMS["arrays"], "note": [{"x": (shell(m),)}]}
    ),
    "inside features": lambda m: pickle.dumps(([(shell(m), 0)], FORMS["arrays"])),
    "inside an object array": lambda m: pickle.dumps(object_array(shell(m))),
    "inside a NumPy scalar": lambda m: pickle.dumps(
        Call(multiarray.scalar, np.dtype("O"), shell(m))
    ),
    "inside a TensorDataset": lambda m: pickle.dumps(
        Call(TensorDataset, state={"tensors": (shell(m),)})
    ),
    "inside an OrderedDict": lambda m: pickle.dumps(collections.OrderedDict(a=shell(m))),
    "pickle as torch storage": lambda m: pickle.dumps(
        Call(torch.storage._load_from_bytes, pickle.dumps(shell(m)))
    ),
    "torch zip file as torch storage": lambda m: pickle.dumps(in_torch_file(shell(m))),
    "old torch file as torch storage": lambda m: pickle.dumps(
        in_torch_file(shell(m), _use_new_zipfile_serialization=False)
    ),
    "builtin by a dotted name": lambda m: by_name("codecs", "builtins.eval", opened(m)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, case):
    marker = tmp_path / "ran"
    path = split_path(tmp_path, 0)
    path.write_bytes(HOSTILE[case](marker))
    fault_of(tmp_path)
    assert not marker.exists()
    with pytest.raises(SplitError):
        read_inert(path)
    assert not marker.exists()

    # The attack is real: the bare unpickler falls for it.
    with path.open("rb") as file, contextlib.suppress(Exception):
        pickle.load(file)
    assert marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(
            ("builtins", "getattr"),
            ("_codecs", "decode"),
            ("_codecs", "register"),
            ("codecs", "encode"),
        ),
        *(("numpy", "load"), ("numpy", "ndarray.tofile"), ("torch", "load"), ("os", "system")),
        *(("torch.storage", "torch.load"), ("earmark.data.pickles.inert", "read_inert")),
    ],
)
def test_a_name_that_is_not_needed_is_refused_by_name(tmp_path, module, name):
    split_path(tmp_path, 0).write_bytes(by_name(module, name, "x"))
    assert f"asks for {module}.{name}, which could run code" in fault_of(tmp_path)


@pytest.mark.parametrize("codec", ["rot13", "zlib", "base64", "utf-16", "unicode_escape", "idna"])
def test_of_codecs_only_latin1_may_be_asked_for(tmp_path, codec):
    import _codecs

    save(tmp_path, Call(_codecs.encode, "text", codec))
    assert f"asks for the codec '{codec}', which arrays do not need" in fault_of(tmp_path)


def setting(module, name, attribute):
    """A pickle that sets an attribute of the object of that name (BUILD with slot state)."""
    return (
        b"\x80\x02c"
        + f"{module}\n{name}\n".encode()
        + b"N}X"
        + len(attribute).to_bytes(4, "little")
        + attribute.encode()
        + b"X\x03\0\0\0bads\x86b."
    )


@pytest.mark.parametrize(
    ("module", "name"), [("torch.utils.data.dataset", "TensorDataset"), ("_codecs", "encode")]
)
def test_a_file_cannot_change_the_program_s_own_classes_and_functions(tmp_path, module, name):
    path = tmp_path / "split_0.pkl"
    path.write_bytes(setting(module, name, "planted"))
    code = (
        "import sys, pathlib, torch.utils.data as d, earmark.data.pickles.inert as s, contextlib\n"
        "with contextlib.suppress(s.SplitError): s.read_inert(pathlib.Path(sys.argv[1]))\n"
        "sys.exit(hasattr(d.TensorDataset, 'planted') or hasattr(s._latin1, 'planted'))"
    )
    assert subprocess.run([sys.executable, "-c", code, path], timeout=60).returncode == 0


@pytest.mark.parametrize(
    "kind", ["object field without its flags", "object without its flags", "field out of bounds"]
)
def test_a_forged_dtype_cannot_make_numpy_follow_a_pointer_of_the_file(tmp_path, kind):
    """NumPy trusts a pickled dtype's flags; raw bytes then pass for object pointers."""
    start, fields, flags = {
        "object field without its flags": ("V8", {"a": (np.dtype("O"), 0)}, 0),
        "object without its flags": ("O", None, 0),
        "field out of bounds": ("V8", {"a": (np.dtype("f8"), 1 << 30)}, 0),
    }[kind]
    forged = Call(
        *(np.dtype, start, False, True),
        state=(3, "|", None, tuple(fields) if fields else None, fields, 8, 1, flags),
    )
    array = Call(
        *(multiarray._reconstruct, np.ndarray, (0,), b"b"),
        state=(1, (1,), forged, False, b"A" * 8),
    )
    save(tmp_path, {"train": (array, [0]), "test": FORMS["arrays"]})
    code = (
        "import sys, pathlib, earmark.data.pickles.inert as s\n"
        "try: s.read_inert(pathlib.Path(sys.argv[1]) / 'split_0.pkl')\n"
        "except s.SplitError: sys.exit(7)"
    )
    # In a process of its own, because what must not happen is a crash.
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60, capture_output=True)
    assert done.returncode == 7, done.stderr.decode()


def test_parts_know_their_number_of_clips():
    part = ClipSet(np.zeros((3, 2), np.float32), np.array([1, 2]), np.array([0, 1]), "ab", "cd")
    assert len(part) == 2


def test_a_file_of_torch_save_is_named_for_what_it_is(tmp_path):
    torch.save({"train": torch.zeros(1)}, tmp_path / "split_0.pkl")
    with pytest.raises(SplitError, match=r"torch\.save"):
        read_split(tmp_path, 0)


def test_a_split_under_another_number_or_with_a_shared_source_is_refused(tmp_path):
    write_split(tmp_path, small_split())
    split_path(tmp_path, 0).rename(split_path(tmp_path, 3))
    with pytest.raises(SplitError, match="split 0 under another name"):
        read_split(tmp_path, 3)
    split = small_split()
    write_split(tmp_path, dataclasses.replace(split, test=split.train))
    with pytest.raises(SplitError, match="leaks"):
        read_split(tmp_path, 0)


def test_other_arrays_have_another_fingerprint(tmp_path):
    prints = []
    for value in (1.0, 1.0, 2.0):
        part = (np.full((2, 3, 4), value, np.float32), [0, 1])
        save(tmp_path, {"train": part, "test": part})
        prints.append(read_split(tmp_path, 0).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def with_negatives(part):
    labels = part.labels.copy()
    labels[::5] = -1
    return dataclasses.replace(part, labels=labels)


def test_clips_of_no_class_come_back_as_such(tmp_path):
    split = small_split()
    split = dataclasses.replace(
        split, train=with_negatives(split.train), test=with_negatives(split.test)
    )
    write_split(tmp_path, split)
    read = read_split(tmp_path, 0)
    assert_same(read, split)
    assert read.classes == split.classes
    assert read.train.of_class.sum() == (read.train.labels >= 0).sum() < len(read.train)


def test_a_part_of_negatives_only_is_refused(tmp_path):
    split = small_split()
    nothing = dataclasses.replace(split.test, labels=np.full_like(split.test.labels, -1))
    write_split(tmp_path, dataclasses.replace(split, test=nothing))
    assert "its test part has clips of no class only" in fault_of(tmp_path)
    below = dataclasses.replace(split.test, labels=split.test.labels - 2)
    write_split(tmp_path, dataclasses.replace(split, test=below))
    assert "labels outside its 3 classes" in fault_of(tmp_path)


def test_split_files_of_others_have_no_negatives(tmp_path):
    save(tmp_path, {"train": (CLIPS, [-1, 0, 1, 1]), "test": (CLIPS, LABELS)})
    assert "has label -1; labels count from 0" in fault_of(tmp_path)
