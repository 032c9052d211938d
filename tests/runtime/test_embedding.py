"""Embeddings: of both engines alike, of clips, and of each segment of a stream on its own."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch

from earmark import Classifier
from earmark.config import Calibration
from earmark.errors import AudioError, ModelError, SettingsError
from earmark.nn.features import LogMel
from earmark.runtime.engine import joined
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import FRONT_END
from tests.runtime.builders import KINDS, SHAPES, engine_of, moving_model, sound

POOLINGS = ("mean", "max", "meanmax", "last", "attention")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.parametrize("pooling", POOLINGS)
def test_both_engines_embed_alike_in_any_batch(pooling):
    trained = moving_model(stack=2, pooling=pooling)
    found = []
    for kind in KINDS:
        engine = engine_of(trained, kind)
        assert engine.embedding_size == trained.model.pooling.output_size
        size = 12 * engine.info.step_samples
        samples = np.stack([sound(1.0, seed=seed)[:size] for seed in range(3)])
        states = [engine.initial_state(4) for _ in range(3)]
        states[1] = engine.step(samples[1:2], [states[1]])[2][0]  # it has begun already
        found.append(engine.embed(samples, joined(states)))
        alone = engine.embed(samples[1:2], states[1])
        for batch, one in zip(found[-1][:2], alone[:2], strict=True):
            np.testing.assert_allclose(batch[1], one[0], atol=1e-5)
    for mine, its in zip(found[0][:2], found[1][:2], strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-5)
    for name, array in found[0][2].items():
        np.testing.assert_allclose(array, found[1][2][name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_the_head_makes_the_scores_of_the_embedding(kind, options):
    trained = dataclasses.replace(moving_model(**options), calibration=Calibration(1.7))
    engine = engine_of(trained, kind)
    samples = sound(1.0)[None, : 6 * engine.info.step_samples]
    state = engine.initial_state(3)
    scores, clip_scores, after = engine.advance(samples, state)
    windows, whole, its = engine.embed(samples, state)
    assert windows.shape == (1, 6, engine.embedding_size)
    with torch.inference_mode():
        for embedded, expected in ((windows, scores), (whole, clip_scores)):
            logits = trained.model.classify(torch.from_numpy(embedded)) / 1.7
            np.testing.assert_allclose(torch.softmax(logits, -1), expected, atol=1e-5)
    for name, array in after.items():
        np.testing.assert_array_equal(array, its[name])


def classifier_of(kind, **options):
    return Classifier(engine_of(moving_model(**options), kind))


def test_a_clip_is_embedded_in_one_pass_or_many(kind, tmp_path):
    trained = moving_model(stack=2, pooling="meanmax")
    classifier = Classifier(engine_of(trained, kind))
    long, short, silent = sound(11.0), sound(0.5)[:7], np.zeros(8_000, np.float32)
    soundfile.write(tmp_path / "long.wav", long, 8_000, subtype="FLOAT")
    found = classifier.embed(
        [tmp_path / "long.wav", (long, 8_000), (short, 8_000), (silent, 8_000)]
    )
    assert found.shape == (4, classifier.embedding_size)
    with torch.inference_mode():
        expected = trained.model.embed(LogMel(FRONT_END)(torch.from_numpy(long)[None]))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(classifier.embed((long, 8_000)), found[1])
    assert classifier.embed([]).shape == (0, classifier.embedding_size)


def test_a_bidirectional_model_embeds_clips_and_refuses_streams():
    trained = moving_model(bidirectional=True)
    classifier = Classifier(TorchEngine(trained))
    assert classifier.embed((sound(), 8_000)).shape == (16,)
    with pytest.raises(ModelError, match="bidirectional"):
        classifier.embedding_stream()


@pytest.mark.parametrize("pooling", ["attention", "max", "last"])
def test_segments_do_not_depend_on_the_cut_and_lie_end_to_end(kind, pooling):
    classifier = classifier_of(kind, stack=3, delta=2, pooling=pooling)  # 0.06 s a step
    samples = sound(4.5)[:34_400]
    whole = list(classifier.embed_segments((samples, 8_000)))
    assert [round(s.onset, 2) for s in whole] == [0.0, 1.02, 1.98, 3.0, 4.02]
    assert [s.offset for s in whole[:-1]] == [s.onset for s in whole[1:]]
    assert whole[-1].offset == pytest.approx(4.26)
    stream = classifier.embedding_stream(source="cut")
    parts = [p for n in range(0, len(samples), 777) for p in stream.push(samples[n : n + 777])]
    parts += stream.finish()
    assert stream.finish() == []
    for mine, its in zip(whole, parts, strict=True):
        assert mine[:2] == its[:2]
        np.testing.assert_array_equal(mine.vector, its.vector)
    with pytest.raises(AudioError, match="cut: has ended"):
        stream.push(samples)


def test_a_segment_pools_its_own_steps_and_the_lstm_goes_on():
    trained = moving_model(stack=2)
    classifier = Classifier(TorchEngine(trained))
    samples = sound(3.0)
    vectors = [segment.vector for segment in classifier.embed_segments((samples, 8_000))]
    model = trained.model
    with torch.inference_mode():
        steps = model.encoder(LogMel(FRONT_END)(torch.from_numpy(samples)[None]))
        outputs, _ = model.lstm(steps)
        for number, vector in enumerate(vectors):
            own = outputs[:, 25 * number : 25 * (number + 1)]
            np.testing.assert_allclose(vector, model.pooling(own)[0], atol=1e-5)
    mean = classifier.embed((samples, 8_000))  # of equal parts, the mean of all is that of them
    np.testing.assert_allclose(np.mean(vectors, axis=0), mean, atol=1e-5)


def test_each_step_another_rate_and_a_sound_shorter_than_a_step(kind):
    classifier = classifier_of(kind, stack=2)
    each = list(classifier.embed_segments((sound(1.0), 8_000), every_seconds=0))
    assert len(each) == 25
    assert each[1].onset == pytest.approx(0.04)
    stereo = np.stack([sound(2.0, 16_000)] * 2, axis=1)
    assert len(list(classifier.embed_segments((stereo, 16_000)))) == 2
    (short,) = classifier.embed_segments((sound()[:50], 8_000))
    np.testing.assert_array_equal(short.vector, classifier.embed((sound()[:50], 8_000)))
    assert list(classifier.embedding_stream().finish()) == []


def test_of_a_file_with_a_fault_the_segments_before_it_are_given(tmp_path):
    classifier = classifier_of("torch")
    path = tmp_path / "cut.wav"
    soundfile.write(path, sound(6.0), 8_000, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    segments, found = classifier.embed_segments(path), []
    with pytest.raises(AudioError, match=r"cut\.wav"):
        found += [next(segments)]
        while True:
            found.append(next(segments))
    assert 2 <= len(found) < 6


@pytest.mark.parametrize("every", [-1.0, 61.0, float("nan")])
def test_a_length_out_of_range_is_refused(every):
    with pytest.raises(SettingsError, match="every_seconds must be from 0"):
        classifier_of("torch").embedding_stream(every_seconds=every)


def test_an_unsupported_rate_is_refused():
    with pytest.raises(AudioError, match="unsupported sample rate of 100 Hz"):
        classifier_of("torch").embedding_stream(100)


@pytest.mark.parametrize("model", ["esc10", "base"])
def test_the_models_of_the_package_embed_alike_with_both_engines(model, esc10):
    from earmark import bundled

    clip = sorted(esc10.glob("*Dog*/*.ogg"))[0]
    one, other = (Classifier.load(place) for place in (model, bundled.FOLDERS[model]))
    np.testing.assert_allclose(one.embed(clip), other.embed(clip), atol=2e-5)
    for mine, its in zip(one.embed_segments(clip), other.embed_segments(clip), strict=True):
        assert mine[:2] == its[:2]
        np.testing.assert_allclose(mine.vector, its.vector, atol=2e-5)
