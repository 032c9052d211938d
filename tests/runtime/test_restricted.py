"""Restricted models: the scores, thresholds, events and states of the classes that are left."""

import dataclasses
import pickle

import numpy as np
import pytest

import earmark
from earmark import Classifier
from earmark.config import Calibration
from earmark.decision.calibration_file import read_calibration, write_calibration
from earmark.errors import ModelError, SettingsError
from earmark.export.build import build
from earmark.runtime.restricted import RestrictedEngine
from tests.builders import CLASSES
from tests.runtime.builders import KINDS, SETTINGS, classifier, engine_of, moving_model, sound

TWO = ("dog", "rooster")


@pytest.fixture
def stored(tmp_path):
    made = dataclasses.replace(moving_model(), calibration=Calibration(1.5, (0.2, 0.3, 0.4)))
    made = dataclasses.replace(made, identity="i" * 64)
    (tmp_path / "model.onnx").write_bytes(build(made).SerializeToString())
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_scores_states_and_embeddings_are_those_of_the_whole_model(kind):
    whole = engine_of(moving_model(stack=2), kind)
    some = RestrictedEngine(whole, ["rooster", "dog"])
    assert some.info.classes == TWO
    samples = np.stack([sound(1.0)[: 6 * whole.info.step_samples]] * 2)
    state = {name: np.repeat(a, 2, 0) for name, a in whole.initial_state(3).items()}
    (scores, so_far, after), (mine, my_so_far, my_after) = (
        engine.advance(samples, state) for engine in (whole, some)
    )
    np.testing.assert_array_equal(mine, scores[..., [0, 2]])
    np.testing.assert_array_equal(my_so_far, so_far[..., [0, 2]])
    for name, array in after.items():
        np.testing.assert_array_equal(array, my_after[name])
    np.testing.assert_array_equal(whole.embed_whole(samples[:1]), some.embed_whole(samples[:1]))
    np.testing.assert_array_equal(some.embed(samples, state)[0], whole.embed(samples, state)[0])
    assert some.embedding_size == whole.embedding_size
    closed = RestrictedEngine(whole, TWO, closed_set=True)
    np.testing.assert_allclose(closed.score_whole(samples[:1]).sum(-1), 1, rtol=1e-6)
    one, two = some.step(samples, [some.initial_state(3)] * 2)[2]
    np.testing.assert_array_equal(one["hidden"], two["hidden"])


@pytest.mark.parametrize("closed_set", [False, True])
def test_a_calibration_of_all_classes_or_of_these_is_laid_over(stored, closed_set):
    plain = Classifier.load(stored)
    for given in (Calibration(3.0, (0.1, 0.2, 0.3)), Calibration(3.0, (0.1, 0.3))):
        some = Classifier.load(stored, classes=TWO, closed_set=closed_set, calibration=given)
        assert some.info.calibration == Calibration(3.0, (0.1, 0.3))
    expected = plain.with_calibration(Calibration(3.0)).predict_proba((sound(1.0), 8_000))[[0, 2]]
    expected = expected / expected.sum() if closed_set else expected
    np.testing.assert_allclose(some.predict_proba((sound(1.0), 8_000)), expected, atol=1e-5)
    assert Classifier.load(stored, classes=TWO).info.calibration.thresholds == (0.2, 0.4)
    four = Calibration(1.0, (0.1,) * 4)
    with pytest.raises(ModelError, match="has 2 classes, the calibration thresholds for 4"):
        some.with_calibration(four)


def test_a_clip_of_a_class_left_out_is_none_of_these(stored):
    plain = Classifier.load(stored)
    for seed in range(20):
        clip = (sound(1.0, seed=seed), 8_000)
        label = plain.predict(clip).label
        others = [name for name in CLASSES if name != label]
        without = earmark.load(stored, classes=others).predict(clip)
        assert set(without.scores) == set(others)
        counting = [
            n
            for n in others
            if plain.predict(clip).scores[n] >= dict(zip(CLASSES, (0.2, 0.3, 0.4), strict=True))[n]
        ]
        assert without.accepted == bool(counting)
        if label in CLASSES:
            assert earmark.load(stored, classes=[label]).predict(clip).label == label


def test_events_are_those_of_the_classes_that_are_left():
    whole = classifier("onnx")
    some = Classifier(RestrictedEngine(whole.engine, TWO))
    events = [
        [(e.label, e.onset, e.offset, e.score) for e in one.detect((sound(), 8_000), SETTINGS)]
        for one in (whole, some)
    ]
    assert {label for label, *_ in events[0]} == set(CLASSES)
    assert events[1] == [event for event in events[0] if event[0] in TWO]


def test_it_can_be_sent_to_another_process(stored):
    some = Classifier.load(stored, classes=TWO, closed_set=True)
    landed = pickle.loads(pickle.dumps(some))
    assert landed.classes == TWO
    clip = (sound(1.0), 8_000)
    assert landed.predict(clip) == some.predict(clip)
    again = landed.with_calibration(Calibration(1.0, (0.9, 0.9)))
    assert pickle.loads(pickle.dumps(again)).predict(clip) == again.predict(clip)


def test_a_stream_s_state_is_of_its_classes(stored, tmp_path):
    session = Classifier.load(stored, classes=["dog"]).stream(settings=SETTINGS)
    session.push(sound(1.0))
    session.save(tmp_path / "state.npz")
    Classifier.load(stored, classes=["dog"]).stream(settings=SETTINGS).restore(
        tmp_path / "state.npz"
    )
    for others in (["rain"], TWO, None):
        other = Classifier.load(stored, classes=others).stream(settings=SETTINGS)
        with pytest.raises(ModelError, match="is the state of a stream with other classes"):
            other.restore(tmp_path / "state.npz")


def test_a_calibration_file_says_which_classes_it_is_for(stored, tmp_path):
    path, identity = tmp_path / "room.json", Classifier.load(stored).info.identity
    write_calibration(path, Calibration(1.0, (0.5, 0.6)), identity, classes=TWO)
    assert read_calibration(path, identity) == Calibration(1.0, (0.5, 0.6))
    assert read_calibration(path, classes=["rooster"]).thresholds == (0.6,)
    one = Classifier.load(stored, classes=["rooster"], calibration=path)
    assert one.info.calibration.thresholds == (0.6,)
    with pytest.raises(ModelError, match=r"room\.json: was fitted for dog, rooster .* for rain"):
        Classifier.load(stored, calibration=path)


def test_a_closed_set_needs_classes(stored):
    with pytest.raises(SettingsError, match="closed_set says what sounds beside the classes"):
        earmark.load(stored, closed_set=True)
