"""Saved streams: after another calibration, with another engine, and of other weights."""

import dataclasses

import numpy as np
import pytest

from earmark import Classifier
from earmark.config import Calibration
from earmark.errors import ModelError
from earmark.export.build import build
from earmark.model_directory import load_model, save_model
from tests.runtime.builders import SETTINGS, SHAPES, moving_model, sound


def saved(folder, trained):
    save_model(folder, trained)
    return load_model(folder)


@pytest.fixture
def trained(tmp_path):
    return saved(tmp_path / "model", moving_model(**SHAPES[2]))


def stream(path, calibration=None):
    return Classifier.load(path, calibration=calibration).stream(settings=SETTINGS)


def test_a_stream_goes_on_after_a_new_calibration(tmp_path, trained):
    session = stream(tmp_path / "model")
    session.push(sound(1.0))
    session.save(tmp_path / "state")
    session.push(sound(1.0, seed=1))
    low = Calibration(1.0, (0.1, 0.1, 0.1))
    refitted = saved(tmp_path / "refitted", dataclasses.replace(trained, calibration=low))
    assert refitted.fingerprint != trained.fingerprint
    assert refitted.identity == trained.identity
    for again in (stream(tmp_path / "refitted"), stream(tmp_path / "model", low)):
        again.restore(tmp_path / "state")
        again.push(sound(1.0, seed=1))
        np.testing.assert_allclose(again.rows, session.rows, atol=1e-6)
        assert again.finish()  # under thresholds of 0.1 there are events


def test_a_stream_goes_on_with_the_other_engine(tmp_path, trained):
    (tmp_path / "model.onnx").write_bytes(build(trained).SerializeToString())
    session = stream(tmp_path / "model")
    session.push(sound(1.0))
    session.save(tmp_path / "state")
    session.push(sound(1.0, seed=1))
    again = stream(tmp_path / "model.onnx")
    assert again.scorer.info.identity == trained.identity
    again.restore(tmp_path / "state")
    again.push(sound(1.0, seed=1))
    np.testing.assert_allclose(again.rows, session.rows, atol=1e-4)


def test_other_weights_are_refused(tmp_path, trained):
    session = stream(tmp_path / "model")
    session.push(sound(1.0))
    session.save(tmp_path / "state")
    trained.model.head[-1].bias.data += 1e-3
    assert saved(tmp_path / "other", trained).identity != load_model(tmp_path / "model").identity
    with pytest.raises(ModelError, match="another model or with other settings"):
        stream(tmp_path / "other").restore(tmp_path / "state")


def test_a_state_of_a_later_version_is_refused(tmp_path, trained):
    session = stream(tmp_path / "model")
    session.save(tmp_path / "state")
    with np.load(tmp_path / "state") as file:
        arrays = dict(file)
    arrays["record"] = np.array(str(arrays["record"]).replace('"schema": 4', '"schema": 5'))
    with (tmp_path / "later").open("wb") as later:
        np.savez(later, **arrays)
    with pytest.raises(ModelError, match="another version of Earmark"):
        session.restore(tmp_path / "later")
