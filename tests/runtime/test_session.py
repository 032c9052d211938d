"""Streams: the same scores and events for any cut, rate, batch, thread, or stop and start."""

import dataclasses
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from earmark import Classifier
from earmark.config import Calibration, EventSettings
from earmark.errors import AudioError, ModelError
from earmark.export.build import build
from earmark.model_directory import TrainedModel, load_model, model_folder
from earmark.nn.classifier import LSTMClassifier
from earmark.runtime.engine import Engine
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import CLASSES, FRONT_END

CONVOLUTIONS = ((4, 5, 3, 2, 2), (6, 3, 3, 2, 1))
SHAPES: list[dict[str, Any]] = [
    {},
    {"stack": 3, "delta": 2},
    {"convolutions": CONVOLUTIONS, "pooling": "attention"},
    {"stack": 2, "frequency_lstm": (4, 4, 2)},
]
SETTINGS = EventSettings(
    window_seconds=0.5,
    smoothing_seconds=0.15,
    off_ratio=0.8,
    min_duration_seconds=0.1,
    merge_gap_seconds=0.2,
)


KIND = "torch"


@pytest.fixture(autouse=True, params=["torch", "onnx"])
def kind(request, monkeypatch):
    """Every test is run with both engines."""
    monkeypatch.setattr(sys.modules[__name__], "KIND", request.param)


def engine(trained) -> Engine:
    if KIND == "torch":
        return TorchEngine(trained)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(build(trained).SerializeToString())
        return OnnxEngine(path)


def classifier(**options):
    """A model whose scores move with the sound, and thresholds in the middle of them."""
    torch.manual_seed(1)
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, **options)
    with torch.no_grad():
        model.mean.fill_(-8.0)
        model.head[-1].weight.mul_(30)  # type: ignore[operator]
    trained = TrainedModel(model.eval(), CLASSES, FRONT_END, fingerprint=str(options))
    scorer = StreamScorer(engine(trained), SETTINGS)
    rows, _ = scorer.step(sound(), scorer.initial_state())
    thresholds = tuple(np.quantile(rows, 0.7, axis=0).tolist())
    calibrated = dataclasses.replace(trained, calibration=Calibration(1.0, thresholds))
    return Classifier(engine(calibrated))


def sound(seconds=6.0, sample_rate=8_000, seed=0):
    """Noise whose level and colour change every half second."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(round(2 * seconds)):
        part = rng.normal(0, 1, sample_rate // 2)
        if rng.uniform() < 0.5:
            part = np.cumsum(part - part.mean()) / 30
        parts.append(part * 10 ** rng.uniform(-4, -0.5))
    return np.concatenate(parts).astype(np.float32)


def heard(session, samples, chunks):
    """Push samples in chunks of the given lengths, over and over; return scores and events."""
    rows, events, at, turn = [], [], 0, 0
    while at < len(samples):
        events += session.push(samples[at : at + chunks[turn % len(chunks)]])
        rows.append(session.rows)
        at, turn = at + chunks[turn % len(chunks)], turn + 1
    events += session.finish()
    return np.concatenate([*rows, session.rows]), events


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("sample_rate", [8_000, 11_025])
@pytest.mark.parametrize("chunks", [(1,), (7, 13, 101), (80,), (8_000,), (0, 500)], ids=str)
def test_any_cut_gives_the_very_scores_and_events_of_one_push(options, sample_rate, chunks):
    hears, samples = classifier(**options), sound(3.0, sample_rate)
    rows, events = heard(hears.stream(sample_rate, settings=SETTINGS), samples, [len(samples)])
    again, same_events = heard(hears.stream(sample_rate, settings=SETTINGS), samples, chunks)
    assert len(rows) == pytest.approx(3.0 / hears.stream().scorer.step_seconds, abs=1)
    np.testing.assert_array_equal(again, rows)
    assert same_events == events
    assert len(events) > 1


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_longer_blocks_give_the_same_scores_later(options):
    hears, samples = classifier(**options), sound()
    rows, events = heard(hears.stream(settings=SETTINGS), samples, [4_000])
    for block_seconds in (0.0, 1.0):
        in_blocks = hears.stream(settings=SETTINGS, block_seconds=block_seconds)
        again, same_events = heard(in_blocks, samples, [4_000])
        # float32 sums in another order; measured below 5e-6
        np.testing.assert_allclose(again, rows, atol=1e-5)
        assert times(same_events) == times(events)


def times(events):
    return [(event.label, event.onset, event.offset) for event in events]


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_64_streams_advance_together_with_the_scores_of_each_alone(options):
    hears = classifier(**options)
    scorer = StreamScorer(hears.engine, SETTINGS)
    streams = [sound(1.0 + 0.5 * (n % 3), seed=n) for n in range(64)]
    states = [scorer.initial_state() for _ in streams]
    rows: list[list[Any]] = [[] for _ in streams]
    for start in range(0, 16_000, 1_234):
        # Some begin later, so that streams that stand differently advance in one call.
        late = [300 * (n % 2) for n in range(64)]
        chunks = [
            s[max(0, start - d) : start + 1_234 - d] for s, d in zip(streams, late, strict=True)
        ]
        given, states = scorer.step_together(chunks, states)
        for stream_rows, new in zip(rows, given, strict=True):
            stream_rows.append(new)
    for stream, parts in zip(streams, rows, strict=True):
        together = np.concatenate(parts)
        alone, _ = scorer.step(stream, scorer.initial_state())
        assert len(together) > 5
        # batched sums in another order; measured below 5e-6
        np.testing.assert_allclose(together, alone[: len(together)], atol=1e-5)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025])
@pytest.mark.parametrize("seconds", [0.0, 0.011, 1.7, 3.3])
def test_a_stream_goes_on_from_a_file(tmp_path, sample_rate, seconds):
    hears, samples = classifier(**SHAPES[2]), sound(5.0, sample_rate)
    rows, events = heard(hears.stream(sample_rate, settings=SETTINGS), samples, [len(samples)])
    first, cut = hears.stream(sample_rate, settings=SETTINGS), round(seconds * sample_rate)
    before = first.push(samples[:cut])
    first.save(tmp_path / "stream.state")
    second = hears.stream(settings=SETTINGS)
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
    hears = classifier(**SHAPES[2])
    streams = [sound(4.0, seed=n) for n in range(4)]
    alone = [heard(hears.stream(settings=SETTINGS), s, [800]) for s in streams]
    together: dict[int, Any] = {}

    def hear(number):
        together[number] = heard(hears.stream(settings=SETTINGS), streams[number], [800])

    threads = [threading.Thread(target=hear, args=(n,)) for n in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (rows, events), (same_rows, same_events) in zip(
        alone, [together[n] for n in range(len(streams))], strict=True
    ):
        np.testing.assert_array_equal(same_rows, rows)
        assert same_events == events


def test_stereo_and_whole_numbers_are_heard_alike():
    hears, samples = classifier(), (sound(2.0) * 32767).round() / 32768
    rows, _ = heard(hears.stream(), samples.astype(np.float32), [1_000])
    whole = (samples * 32768).astype(np.int16)
    np.testing.assert_array_equal(heard(hears.stream(), whole, [1_000])[0], rows)
    stereo = np.stack([samples, samples], axis=1).astype(np.float32)
    np.testing.assert_array_equal(heard(hears.stream(), stereo, [1_000])[0], rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_and_leave_the_stream_as_it_was(bad):
    hears, samples = classifier(), sound(2.0)
    session = hears.stream(source="door")
    first = session.push(samples[:8_000])
    broken = samples[8_000:].copy()
    broken[100] = bad
    with pytest.raises(AudioError, match=r"door, after 1\.0 s: holds NaN or infinite"):
        session.push(broken)
    events = first + session.push(samples[8_000:]) + session.finish()
    _, whole_events = heard(hears.stream(source="door"), samples, [16_000])
    assert events == whole_events


def test_the_rate_may_change_in_the_middle():
    hears = classifier()
    session = hears.stream(16_000)
    session.push(soxr.resample(sound(2.0), 8_000, 16_000))
    session.push(sound(2.0, 22_050, seed=1), sample_rate=22_050)
    session.push(sound(1.0, seed=2), sample_rate=8_000)
    session.finish()
    assert session.sample_rate == 8_000
    assert session.seconds == pytest.approx(5.0, abs=2 * session.scorer.step_seconds)
    with pytest.raises(AudioError, match="unsupported sample rate of 100 Hz"):
        hears.stream().push(np.zeros(1, np.float32), sample_rate=100)
    with pytest.raises(AudioError, match="unsupported"):
        hears.stream(500_000)


def test_a_stream_that_ended_takes_no_more():
    session = classifier().stream()
    assert session.scores == {}
    session.push(sound(1.0))
    assert list(session.scores.values()) == sorted(session.scores.values(), reverse=True)
    session.finish()
    assert session.finish() == []
    with pytest.raises(AudioError, match="has ended"):
        session.push(sound(1.0))


def test_the_classes_heard_now_are_there_before_the_event_ends():
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


def test_what_looks_ahead_or_hears_no_audio_is_refused():
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, bidirectional=True)
    with pytest.raises(ModelError, match="bidirectional"):
        Classifier(engine(TrainedModel(model, CLASSES, FRONT_END))).stream()
    features = TrainedModel(LSTMClassifier(FRONT_END.n_mels, 8, 2, 3), CLASSES, None)
    with pytest.raises(ModelError, match="audio"):
        engine(features)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100, 48_000])
def test_real_recordings_give_the_same_scores_and_events_for_any_cut(esc10, sample_rate):
    trained = load_model(model_folder(None))
    low = Calibration(trained.calibration.temperature, (0.2,) * 10)  # so that there are events
    hears = Classifier(engine(dataclasses.replace(trained, calibration=low)))
    clips = [soundfile.read(sorted(f.glob("*.ogg"))[0])[0] for f in sorted(esc10.glob("0*"))[:2]]
    samples = soxr.resample(np.concatenate(clips), 44_100, sample_rate).astype(np.float32)
    rows, events = heard(hears.stream(sample_rate), samples, [len(samples)])
    assert len(rows) > 100
    assert events
    for chunks in ([997], [sample_rate // 100], [sample_rate], [1] * 50 + [sample_rate // 2]):
        again, same = heard(hears.stream(sample_rate), samples, chunks)
        np.testing.assert_array_equal(again, rows)
        assert same == events
    again, same = heard(hears.stream(sample_rate, block_seconds=10), samples, [sample_rate])
    np.testing.assert_allclose(again, rows, atol=1e-5)
    assert times(same) == times(events)
