"""Predicting clips: any length, bounded memory, the scores of the split's evaluation."""

import dataclasses
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from earmark.classifier import Classifier
from earmark.config import Calibration
from earmark.data.extract import file_frames
from earmark.decision.calibration_file import write_calibration
from earmark.errors import AudioError, ModelError, SettingsError
from earmark.export.build import build
from earmark.model_directory import TrainedModel, save_model
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.features import LogMel
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import CLASSES, FRONT_END


def trained(**options):
    torch.manual_seed(1)
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, **options)
    model.mean.fill_(-8.0)
    return TrainedModel(model.eval(), CLASSES, FRONT_END)


def noise(seconds, sample_rate=8_000):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, round(seconds * sample_rate)).astype(np.float32)


@pytest.mark.parametrize(
    "options", [{}, {"stack": 3, "delta": 2}, {"bidirectional": True}], ids=str
)
@pytest.mark.parametrize("seconds", [0.0005, 0.02, 0.05, 1.0, 25.0])
def test_a_clip_of_any_length_gets_the_scores_of_one_pass(tmp_path, options, seconds):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(seconds), 8_000, subtype="FLOAT")
    made = trained(**options)
    prediction = Classifier(TorchEngine(made)).predict(path)
    frames, heard_seconds = file_frames(path, LogMel(FRONT_END))
    step = made.model.frames_per_step * FRONT_END.hop_length
    if not options.get("bidirectional") and seconds * 8_000 < step:  # filled up with zeros
        filled = np.pad(noise(seconds), (0, step - round(seconds * 8_000)))
        frames = LogMel(FRONT_END)(torch.from_numpy(filled)[None])[0].numpy()
    expected = made.model(torch.from_numpy(frames)[None])[0].tolist()
    assert prediction.seconds == pytest.approx(heard_seconds)
    for name, score in zip(CLASSES, expected, strict=True):
        assert prediction.scores[name] == pytest.approx(score, abs=1e-5)  # measured below 1e-6
    assert list(prediction.scores.values()) == sorted(prediction.scores.values(), reverse=True)


def test_samples_in_memory_are_heard_like_a_file(tmp_path):
    stereo = np.stack([noise(1.0, 22_050)] * 2, axis=1)
    soundfile.write(tmp_path / "clip.wav", stereo, 22_050, subtype="FLOAT")
    classifier = Classifier(TorchEngine(trained()))
    from_file = classifier.predict(tmp_path / "clip.wav")
    from_memory = classifier.predict_samples(stereo, 22_050)
    assert from_memory.scores == pytest.approx(from_file.scores, abs=1e-5)


def test_long_samples_in_memory_are_heard_a_few_seconds_at_a_time(monkeypatch):
    engine = TorchEngine(trained())
    expected = engine.score_whole(noise(12.0)[None])[0]
    lengths, advance = [], engine.advance

    def noted(samples, state):
        lengths.append(samples.shape[1])
        return advance(samples, state)

    monkeypatch.setattr(engine, "advance", noted)
    scores = Classifier(engine).predict_samples(noise(12.0), 8_000).scores
    assert max(lengths) <= 5.0 * 8_000 + engine.info.step_samples
    assert scores == pytest.approx(dict(zip(CLASSES, expected, strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "sample_rate"),
    [
        (np.zeros(0), 8_000),
        (np.full(100, np.nan), 8_000),
        (np.zeros((2, 3, 4)), 8_000),
        (np.zeros(100), 100),
    ],
)
def test_unusable_samples_are_refused(samples, sample_rate):
    with pytest.raises(AudioError):
        Classifier(TorchEngine(trained())).predict_samples(samples, sample_rate)


def test_a_model_of_ready_made_features_cannot_hear(tmp_path):
    save_model(tmp_path, dataclasses.replace(trained(), front_end=None))
    with pytest.raises(ModelError, match="ready-made features"):
        Classifier.load(tmp_path)


def test_real_recordings_get_the_scores_of_their_split(esc10):
    clip = sorted(esc10.glob("*Dog*/*.ogg"))[0]
    made = trained(stack=2, delta=3)
    frames, _ = file_frames(clip, LogMel(FRONT_END))
    expected = made.model(torch.from_numpy(frames)[None])[0].tolist()
    prediction = Classifier(TorchEngine(made)).predict(clip)
    for name, score in zip(CLASSES, expected, strict=True):
        assert prediction.scores[name] == pytest.approx(score, abs=1e-5)


def test_whole_numbers_are_scaled_and_silence_is_refused():
    classifier = Classifier(TorchEngine(trained()))
    floats = np.round(noise(1.0) * 32768) / 32768
    whole = classifier.predict_samples((floats * 32768).astype(np.int16), 8_000)
    assert whole.scores == pytest.approx(classifier.predict_samples(floats, 8_000).scores)
    with pytest.raises(AudioError, match="silent"):
        classifier.predict_samples(np.zeros(100), 8_000)


def test_a_temperature_softens_scores_and_thresholds_make_none_of_these(tmp_path):
    made = trained()
    plain = Classifier(TorchEngine(made)).predict_samples(noise(1.0), 8_000)
    soft = dataclasses.replace(made, calibration=Calibration(4.0))
    softer = Classifier(TorchEngine(soft)).predict_samples(noise(1.0), 8_000)
    assert softer.label == plain.label
    assert 1 / 3 < softer.scores[softer.label] < plain.scores[plain.label]
    strict = dataclasses.replace(made, calibration=Calibration(1.0, (0.99, 0.99, 0.99)))
    rejected = Classifier(TorchEngine(strict)).predict_samples(noise(1.0), 8_000)
    assert rejected.scores == pytest.approx(plain.scores)
    assert (rejected.label, rejected.most_likely) == ("none of these", plain.label)
    assert rejected.to_dict()["prediction"] == "none of these"
    assert rejected.to_dict()["most_likely"] == plain.label


def test_silence_is_none_of_these_to_a_model_with_thresholds(tmp_path):
    strict = dataclasses.replace(trained(), calibration=Calibration(1.0, (0.99, 0.99, 0.99)))
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)
    classifier = Classifier(TorchEngine(strict))
    assert classifier.predict(tmp_path / "silence.wav").label == "none of these"
    assert classifier.predict_samples(np.zeros(8_000), 8_000).label == "none of these"


def test_a_threshold_of_ones_own_takes_the_place_of_the_models(tmp_path):
    strict = dataclasses.replace(trained(), calibration=Calibration(1.0, (0.99, 0.99, 0.99)))
    soundfile.write(tmp_path / "clip.wav", noise(1.0), 8_000, subtype="FLOAT")
    loose = Classifier(TorchEngine(strict)).predict(tmp_path / "clip.wav", threshold=0.01)
    assert loose.label == loose.most_likely
    plain = Classifier(TorchEngine(trained()))  # a model without thresholds
    assert plain.predict(tmp_path / "clip.wav").accepted
    assert not plain.predict(tmp_path / "clip.wav", threshold=0.99).accepted
    assert not plain.predict_samples(noise(1.0), 8_000, threshold=0.99).accepted
    with pytest.raises(AudioError, match="silent"):  # which this model never met
        plain.predict_samples(np.zeros(100), 8_000, threshold=0.99)
    wrongs: list[Any] = [1.0, -0.1, float("nan"), "0.9", None]
    for wrong in wrongs:
        with pytest.raises(SettingsError, match="threshold must be"):
            plain.predict(tmp_path / "clip.wav", threshold=wrong)


def written(folder, *names):
    """Write clips of noise, each of its own length."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        soundfile.write(path, noise(0.5 + 0.25 * number), 8_000, subtype="FLOAT")
    return paths


def test_many_sounds_are_predicted_in_their_order(tmp_path):
    classifier = Classifier(TorchEngine(trained()))
    first, second = written(tmp_path, "a.wav", "b.wav")
    mixed = [first, str(second), (noise(1.0), 8_000)]
    predictions = classifier.predict(mixed)
    assert [one.path for one in predictions] == [str(first), str(second), "samples 2"]
    assert [one.seconds for one in predictions] == [0.5, 0.75, 1.0]
    assert predictions[0] == classifier.predict(first)
    assert predictions[2].scores == classifier.predict((noise(1.0), 8_000)).scores
    assert classifier.predict((first, second)) == predictions[:2]  # a tuple of two paths
    assert classifier.predict(iter(mixed)) == predictions
    assert classifier.predict([]) == []


def test_probabilities_are_an_array_in_the_order_of_the_classes(tmp_path):
    classifier = Classifier(TorchEngine(trained()))
    first, second = written(tmp_path, "a.wav", "b.wav")
    one, two = classifier.predict_proba(first), classifier.predict_proba([first, second])
    assert (one.shape, two.shape) == ((3,), (2, 3))
    np.testing.assert_array_equal(two[0], one)
    scores = classifier.predict(first).scores
    assert one.tolist() == pytest.approx([scores[name] for name in CLASSES])
    assert classifier.predict_proba([]).shape == (0, 3)


def test_channels_may_come_first_or_last():
    classifier = Classifier(TorchEngine(trained()))
    stereo = np.stack([noise(1.0), 0.5 * noise(1.0)], axis=1)
    expected = classifier.predict((stereo, 8_000))
    assert expected.seconds == 1.0
    for same in (stereo.T, np.asfortranarray(stereo), np.repeat(stereo, 4, axis=1).T):
        again = classifier.predict((same, 8_000))
        assert again.seconds == 1.0
        assert again.scores == pytest.approx(expected.scores, abs=1e-6)
    mono = classifier.predict((noise(1.0), 8_000))
    for same in (noise(1.0)[None], noise(1.0)[:, None]):
        assert classifier.predict((same, 8_000)).scores == mono.scores
    assert classifier.detect((stereo.T, 8_000)) == classifier.detect((stereo, 8_000))


@pytest.mark.parametrize("shape", [(2, 20), (20, 20), (40, 40), (8_000, 4_000)])
def test_arrays_that_may_be_either_way_round_are_refused(shape):
    classifier = Classifier(TorchEngine(trained()))
    with pytest.raises(AudioError, match="may be samples by channels or channels by samples"):
        classifier.predict((np.ones(shape, np.float32), 8_000))
    if shape[1] > 32:
        with pytest.raises(AudioError, match="has shape"):
            classifier.stream().push(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("sounds", "reason"),
    [
        (np.zeros(100), "samples need their sample rate"),
        (3, "a int is no sound"),
        ([np.zeros(100)], "sound 0 is a ndarray"),
        (["a.wav", 8_000], "gone|sound 1 is a int|a.wav"),
        ((np.zeros(100), 8_000.5), "sound 0 is a ndarray"),
    ],
)
def test_what_is_no_sound_is_refused(sounds, reason):
    with pytest.raises(AudioError, match=reason):
        Classifier(TorchEngine(trained())).predict(sounds)


def test_events_are_found_in_files_and_in_samples(tmp_path):
    low = dataclasses.replace(trained(), calibration=Calibration(1.0, (0.2, 0.2, 0.2)))
    classifier = Classifier(TorchEngine(low))
    (path,) = written(tmp_path, "a.wav")
    soundfile.write(path, noise(4.0), 8_000, subtype="FLOAT")
    events = classifier.detect(path)
    assert events
    assert list(classifier.events(path)) == events
    in_memory = classifier.detect((noise(4.0), 8_000))
    assert [(e.label, e.onset, e.offset) for e in in_memory] == [
        (e.label, e.onset, e.offset) for e in events
    ]
    assert events[0].to_dict()["source"] == str(path)


@pytest.fixture
def stored(tmp_path):
    """A model as a directory and as an exported file."""
    made = dataclasses.replace(trained(), calibration=Calibration(1.0, (0.2, 0.3, 0.4)))
    save_model(tmp_path / "model", made)
    (tmp_path / "model.onnx").write_bytes(build(made).SerializeToString())
    return tmp_path


@pytest.mark.parametrize("name", ["model", "model.onnx"])
def test_a_classifier_can_be_sent_to_another_process(stored, name):
    calibration = Calibration(2.0, (0.9, 0.9, 0.9))
    classifier = Classifier.load(stored / name, calibration=calibration)
    sent = pickle.dumps(classifier)
    assert len(sent) < 10_000  # the weights stay where they are
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        label, scores = pool.apply(predict_elsewhere, (classifier,))
    here = classifier.predict((noise(1.0), 8_000))
    assert (label, scores) == (here.label, pytest.approx(here.scores, abs=1e-6))


def predict_elsewhere(classifier):
    prediction = classifier.predict((noise(1.0), 8_000))
    return prediction.label, prediction.scores


def test_a_classifier_opens_its_model_when_it_is_first_used(stored):
    sent = pickle.dumps(Classifier.load(stored / "model.onnx"))
    (stored / "model.onnx").rename(stored / "away.onnx")
    landed = pickle.loads(sent)
    assert landed.classes == CLASSES
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read"):
        landed.predict((noise(1.0), 8_000))
    other = dataclasses.replace(trained(), fingerprint="another")
    (stored / "model.onnx").write_bytes(build(other).SerializeToString())
    with pytest.raises(ModelError, match="is another model than the one that was loaded"):
        landed.predict((noise(1.0), 8_000))
    (stored / "away.onnx").replace(stored / "model.onnx")
    assert landed.predict((noise(1.0), 8_000)).accepted


def test_the_bundled_model_is_sent_by_its_name_alone():
    landed = pickle.loads(pickle.dumps(Classifier.load()))
    assert landed.info == Classifier.load().info
    assert landed.predict((noise(1.0), 8_000)) == Classifier.load().predict((noise(1.0), 8_000))


def test_a_model_in_memory_alone_cannot_be_sent():
    with pytest.raises(ModelError, match="stands in memory alone"):
        pickle.dumps(Classifier(TorchEngine(trained())))


@pytest.mark.parametrize("name", ["model", "model.onnx"])
def test_another_calibration_is_laid_over_a_model(stored, name):
    plain = Classifier.load(stored / name)
    strict = Calibration(1.0, (0.99, 0.99, 0.99))
    write_calibration(stored / "room.json", strict, plain.info.identity)
    for other in (
        plain.with_calibration(strict),
        Classifier.load(stored / name, calibration=strict),
        Classifier.load(stored / name, calibration=stored / "room.json"),
    ):
        prediction = other.predict((noise(1.0), 8_000))
        assert prediction.label == "none of these"
        assert prediction.scores == pytest.approx(plain.predict((noise(1.0), 8_000)).scores)
        assert other.info.fingerprint == plain.info.fingerprint
        assert other.info.calibration_fingerprint != plain.info.calibration_fingerprint
    assert plain.predict((noise(1.0), 8_000)).accepted
