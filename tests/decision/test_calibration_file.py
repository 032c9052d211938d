"""A calibration as a file: whole, of the right weights, or refused in one line."""

import json

import pytest

from earmark.config import Calibration
from earmark.decision.calibration_file import read_calibration, write_calibration
from earmark.errors import ModelError

CALIBRATION = Calibration(0.7, (0.3, 0.4), 0.03, 20, 30)


@pytest.fixture
def path(tmp_path):
    write_calibration(tmp_path / "room.json", CALIBRATION, "a" * 64)
    return tmp_path / "room.json"


@pytest.mark.parametrize("identity", ["", "a" * 64])
def test_a_calibration_is_read_as_it_was_written(path, identity):
    assert read_calibration(path, identity) == CALIBRATION


def test_one_for_other_weights_is_refused(path):
    with pytest.raises(
        ModelError, match=r"room\.json: was fitted for other weights; give the model"
    ):
        read_calibration(path, "b" * 64)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "has schema 2, this Earmark reads 1"),
        ({"kind": "earmark-model"}, "is no calibration"),
        ({"calibration": {"temperature": 1.0}}, "is not valid"),
        ({"calibration": None}, "is not valid"),
    ],
)
def test_what_is_no_calibration_is_refused(path, changes, reason):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ModelError, match=f"room.json: {reason}"):
        read_calibration(path)


def test_files_that_are_cut_or_missing_are_refused(path, tmp_path):
    path.write_text(path.read_text()[:50])
    with pytest.raises(ModelError, match="is not JSON"):
        read_calibration(path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_calibration(tmp_path / "gone.json")
