"""A request for a training: kept in its checkpoint, of whatever version, and loaded as a split."""

import json

import numpy as np
import pytest

from earmark.config import from_json, to_json
from earmark.data.prepare import DatasetRequest
from earmark.data.splits import write_split
from earmark.errors import DatasetError, SettingsError
from earmark.training.request import TrainingRequest, load_split
from tests.builders import FRONT_END, small_split

OF_A_DATASET = TrainingRequest(
    dataset=DatasetRequest("sounds", folds=3, negatives=("room",)),
    splits_dir="splits",
    split_index=1,
    front_end=FRONT_END,
    recipe="fast",
    teachers=("a", "b"),
    precision="no",
)


@pytest.mark.parametrize("request_", [OF_A_DATASET, TrainingRequest(None, "s", 0, FRONT_END)])
def test_a_request_comes_back_from_json(request_):
    assert from_json(TrainingRequest, json.loads(json.dumps(to_json(request_)))) == request_


def test_a_request_of_an_earlier_version_is_understood():
    before = {
        "dataset": "/data/sounds",
        "splits_dir": "/splits",
        "split_index": -1,
        "folds": None,
        "esc10": True,
        "allow_incomplete": False,
        "front_end": {
            "rate_hz": 8000,
            "window_samples": 256,
            "hop_samples": 160,
            "mels": 6,
            "low_hz": 50.0,
            "high_hz": 4000.0,
            "floor": 1e-6,
        },
        "recipe": "causal",
        "init": "bundled",
        "teachers": [],
        "precision": "no",
    }
    assert from_json(TrainingRequest, before) == TrainingRequest(
        dataset=DatasetRequest("/data/sounds", esc10=True),
        splits_dir="/splits",
        split_index=-1,
        front_end=FRONT_END,
        recipe="causal",
        init="esc10",
        precision="no",
    )


def test_a_split_file_or_a_dataset_is_loaded(tmp_path, tone):
    write_split(tmp_path, small_split())
    split = load_split(TrainingRequest(None, str(tmp_path), 0, FRONT_END))
    assert split.fingerprint == small_split().fingerprint
    for label in ("low", "high", "noise"):
        for number in range(4):
            seed = number + 10 * len(label)
            tone(f"sounds/{label}/{number}.wav", sample_rate=8_000, seed=seed)
    tone("room/a.wav", sample_rate=8_000, seed=99)
    dataset = DatasetRequest(str(tmp_path / "sounds"), folds=2, negatives=(str(tmp_path / "room"),))
    split = load_split(TrainingRequest(dataset, "", 0, FRONT_END))
    assert split.classes == ("high", "low")
    assert (len(split.train) + len(split.test)) == 13
    assert int(np.sum(split.train.labels < 0) + np.sum(split.test.labels < 0)) == 5
    with pytest.raises(SettingsError, match="has 2 folds; --split_index may be 0 to 1"):
        load_split(TrainingRequest(dataset, "", 2, FRONT_END))
    whole = load_split(TrainingRequest(dataset, "", -1, FRONT_END))
    assert (len(whole.train), len(whole.test)) == (13, 0)


def test_negatives_that_are_not_there_are_said(tmp_path, tone):
    for label in ("low", "high"):
        tone(f"sounds/{label}/a.wav")
    dataset = DatasetRequest(str(tmp_path / "sounds"), negatives=(str(tmp_path / "gone"),))
    with pytest.raises(DatasetError, match="gone: no such negatives"):
        load_split(TrainingRequest(dataset, "", 0, FRONT_END))


@pytest.mark.parametrize(("name", "value"), [("folds", 1), ("seed", -1)])
def test_a_value_out_of_range_is_said_with_its_flag(name, value):
    with pytest.raises(SettingsError, match=f"--{name} must be at least"):
        DatasetRequest("sounds", **{name: value})
