"""Streams: the same scores and events for any cut, rate, batch, thread, or stop and start."""

import dataclasses
import sys
import threading
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from earmark import Classifier
from earmark.errors import AudioError, ModelError
from earmark.model_directory import TrainedModel, load_model, model_folder
from earmark.nn.classifier import LSTMClassifier
from earmark.runtime.engine import Engine
from tests.builders import CLASSES, FRONT_END
from tests.runtime.builders import (
    KINDS,
    SETTINGS,
    SHAPES,
    engine_of,
    moving_model,
    scored,
    sound,
    times,
)
from tests.runtime.builders import classifier as moving_classifier

KIND = "torch"
CUTS = {  # each again and again
    "single samples": (1,) * 3_000 + (6_000,),  # a part: all of them singly would take long
    "uneven": (7, 13, 101),
    "even": (80,),
    "seconds": (8_000,),
    "empty ones between": (0, 500),
}


@pytest.fixture(autouse=True, params=KINDS)
def kind(request, monkeypatch):
    """Every test is run with both engines."""
    monkeypatch.setattr(sys.modules[__name__], "KIND", request.param)


def engine(trained) -> Engine:
    return engine_of(trained, KIND)


def classifier(**options):
    return moving_classifier(KIND, **options)


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("sample_rate", [8_000, 11_025])
@pytest.mark.parametrize("chunks", CUTS.values(), ids=CUTS)
def test_any_cut_gives_the_very_scores_and_events_of_one_push(options, sample_rate, chunks):
    made, samples = classifier(**options), sound(3.0, sample_rate)
    rows, events = scored(made.stream(sample_rate, settings=SETTINGS), samples, [len(samples)])
    again, same_events = scored(made.stream(sample_rate, settings=SETTINGS), samples, chunks)
    assert len(rows) == pytest.approx(3.0 / made.stream().scorer.step_seconds, abs=1)
    np.testing.assert_array_equal(again, rows)
    assert same_events == events
    assert len(events) > 1


@pytest.mark.parametrize("seconds", [0.3, 0.79, 0.8, 0.81, 3.0])
def test_short_streams_are_scored_as_if_silence_followed_them_and_others_as_ever(seconds):
    front_end = dataclasses.replace(FRONT_END, min_clip_seconds=0.8)
    trained = dataclasses.replace(moving_model(stack=4), front_end=front_end)
    filling, plain = Classifier(engine(trained)), Classifier(engine(moving_model(stack=4)))
    samples = sound()[: round(seconds * 8_000)]
    filled = np.pad(samples, (0, max(0, 6_400 - len(samples))))
    expected, _ = scored(plain.stream(settings=SETTINGS), filled, [len(filled)])
    assert len(expected) == len(filled) // 640
    for chunks in ((len(samples),), (7, 500)):
        session = filling.stream(settings=SETTINGS)
        rows, events = scored(session, samples, chunks)
        np.testing.assert_array_equal(rows, expected)
        assert session.seconds == pytest.approx(seconds, abs=0.001)
        assert events
        assert max(event.offset for event in events) <= seconds


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_longer_blocks_give_the_same_scores_later(options):
    made, samples = classifier(**options), sound()
    rows, events = scored(made.stream(settings=SETTINGS), samples, [4_000])
    for block_seconds in (0.0, 1.0):
        in_blocks = made.stream(settings=SETTINGS, block_seconds=block_seconds)
        again, same_events = scored(in_blocks, samples, [4_000])
        # float32 sums in another order; measured below 5e-6
        np.testing.assert_allclose(again, rows, atol=1e-5)
        assert times(same_events) == times(events)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025])
@pytest.mark.parametrize("seconds", [0.0, 0.011, 1.7, 3.3])
def test_a_stream_goes_on_from_a_file(tmp_path, sample_rate, seconds):
    made, samples = classifier(**SHAPES[2]), sound(5.0, sample_rate)
    rows, events = scored(made.stream(sample_rate, settings=SETTINGS), samples, [len(samples)])
    first, cut = made.stream(sample_rate, settings=SETTINGS), round(seconds * sample_rate)
    before = first.push(samples[:cut])
    first.save(tmp_path / "stream.state")
    second = made.stream(settings=SETTINGS)
    second.restore(tmp_path / "stream.state")
    assert second.sample_rate == sample_rate
    assert second.seconds == pytest.approx(first.seconds, abs=0.05)
    after = second.push(samples[cut:])
    again = np.concatenate([first.rows, second.rows])
    after += second.finish()
    again = np.concatenate([again, second.rows])
    np.testing.assert_allclose(again, rows, atol=1e-5)  # resampling again rounds differently
    assert times(before + after) == times(events)


def test_a_state_of_another_stream_is_refused(tmp_path):
    session = classifier(**SHAPES[2]).stream(settings=SETTINGS)
    session.push(sound(1.0))
    session.save(tmp_path / "good")
    (tmp_path / "bad").write_bytes(b"not a state")
    (tmp_path / "cut").write_bytes((tmp_path / "good").read_bytes()[:-100])
    with pytest.raises(ModelError, match="no state of a stream"):
        session.restore(tmp_path / "bad")
    with pytest.raises(ModelError, match="no state of a stream"):
        session.restore(tmp_path / "cut")
    for other in (
        classifier(**SHAPES[2]).stream(),  # other settings
        classifier(**SHAPES[1]).stream(settings=SETTINGS),
    ):
        with pytest.raises(ModelError, match="another model or with other settings"):
            other.restore(tmp_path / "good")


def test_a_state_is_a_value_that_later_samples_do_not_change():
    session = classifier(**SHAPES[2]).stream(settings=SETTINGS)
    session.push(sound(2.0))
    state = session.state
    session.push(sound(1.0, seed=1))
    rows = session.rows
    session.state = state
    session.push(sound(1.0, seed=1))
    np.testing.assert_array_equal(session.rows, rows)


def test_sessions_in_threads_do_not_disturb_each_other():
    made = classifier(**SHAPES[2])
    streams = [sound(4.0, seed=n) for n in range(4)]
    alone = [scored(made.stream(settings=SETTINGS), s, [800]) for s in streams]
    together: dict[int, Any] = {}

    def run(number):
        together[number] = scored(made.stream(settings=SETTINGS), streams[number], [800])

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (rows, events), (same_rows, same_events) in zip(
        alone, [together[n] for n in range(len(streams))], strict=True
    ):
        np.testing.assert_array_equal(same_rows, rows)
        assert same_events == events


def test_stereo_and_whole_numbers_are_scored_alike():
    made, samples = classifier(), (sound(2.0) * 32767).round() / 32768
    rows, _ = scored(made.stream(), samples.astype(np.float32), [1_000])
    whole = (samples * 32768).astype(np.int16)
    np.testing.assert_array_equal(scored(made.stream(), whole, [1_000])[0], rows)
    stereo = np.stack([samples, samples], axis=1).astype(np.float32)
    np.testing.assert_array_equal(scored(made.stream(), stereo, [1_000])[0], rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_and_leave_the_stream_as_it_was(bad):
    made, samples = classifier(), sound(2.0)
    session = made.stream(source="door")
    first = session.push(samples[:8_000])
    broken = samples[8_000:].copy()
    broken[100] = bad
    with pytest.raises(AudioError, match=r"door, after 1\.0 s: holds NaN or infinite"):
        session.push(broken)
    events = first + session.push(samples[8_000:]) + session.finish()
    _, whole_events = scored(made.stream(source="door"), samples, [16_000])
    assert events == whole_events


def test_the_rate_may_change_in_the_middle():
    made = classifier()
    session = made.stream(16_000)
    session.push(soxr.resample(sound(2.0), 8_000, 16_000))
    session.push(sound(2.0, 22_050, seed=1), sample_rate=22_050)
    session.push(sound(1.0, seed=2), sample_rate=8_000)
    session.finish()
    assert session.sample_rate == 8_000
    assert session.seconds == pytest.approx(5.0, abs=2 * session.scorer.step_seconds)
    with pytest.raises(AudioError, match="unsupported sample rate of 100 Hz"):
        made.stream().push(np.zeros(1, np.float32), sample_rate=100)
    with pytest.raises(AudioError, match="unsupported"):
        made.stream(500_000)


def test_a_stream_that_ended_takes_no_more():
    session = classifier().stream()
    assert session.scores == {}
    session.push(sound(1.0))
    assert list(session.scores.values()) == sorted(session.scores.values(), reverse=True)
    session.finish()
    assert session.finish() == []
    with pytest.raises(AudioError, match="has ended"):
        session.push(sound(1.0))


def test_the_classes_active_now_are_there_before_the_event_ends():
    session = classifier().stream(settings=SETTINGS)
    seen = set()
    events = []
    for start in range(0, 48_000, 400):
        events += session.push(sound()[start : start + 400])
        seen |= set(session.active_now)
    assert {event.label for event in events} <= seen


def test_digital_silence_and_clipping_give_finite_scores():
    session = classifier().stream()
    session.push(np.zeros(80_000, np.float32))
    assert np.isfinite(session.rows).all()
    session.push(np.clip(100 * sound(), -1, 1))
    assert np.isfinite(session.rows).all()


def test_what_looks_ahead_or_made_no_audio_is_refused():
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, bidirectional=True)
    with pytest.raises(ModelError, match="bidirectional"):
        Classifier(engine(TrainedModel(model, CLASSES, FRONT_END))).stream()
    features = TrainedModel(LSTMClassifier(FRONT_END.n_mels, 8, 2, 3), CLASSES, None)
    with pytest.raises(ModelError, match="audio"):
        engine(features)


@pytest.mark.parametrize(
    ("model", "sample_rate"),
    [("base", 44_100), ("base", 8_000), ("esc10", 16_000), ("esc10", 44_100), ("esc10", 48_000)],
)
def test_real_recordings_give_the_same_scores_and_events_for_any_cut(esc10, model, sample_rate):
    trained = load_model(model_folder(model))
    # So that there are events.
    low = dataclasses.replace(trained.calibration, thresholds=(0.2,) * len(trained.classes))
    made = Classifier(engine(dataclasses.replace(trained, calibration=low)))
    clips = [soundfile.read(sorted(f.glob("*.ogg"))[0])[0] for f in sorted(esc10.glob("0*"))[:2]]
    samples = soxr.resample(np.concatenate(clips), 44_100, sample_rate).astype(np.float32)
    rows, events = scored(made.stream(sample_rate), samples, [len(samples)])
    assert len(rows) > 25
    assert events
    for chunks in ([997], [sample_rate // 100], [sample_rate], [1] * 50 + [sample_rate // 2]):
        again, same = scored(made.stream(sample_rate), samples, chunks)
        np.testing.assert_array_equal(again, rows)
        assert same == events
    again, same = scored(made.stream(sample_rate, block_seconds=10), samples, [sample_rate])
    np.testing.assert_allclose(again, rows, atol=1e-5)
    assert times(same) == times(events)
