"""One ONNX file: torch's scores from every kind of model, and clear words about other files."""

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from earmark.config import POOLINGS, Calibration, FrontEndSettings, to_json
from earmark.errors import ModelError
from earmark.export.build import build, export
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.lstm import ResidualLSTM
from earmark.runtime.engine import joined
from earmark.runtime.onnx_engine import FIELDS, IDENTITY, OnnxEngine
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import CLASSES, FRONT_END

CONVOLUTIONS = ((4, 5, 3, 2, 2), (6, 3, 3, 2, 1), (5, 2, 1, 2, 1))
BLOCKS = (
    (3, 3, 3, 1, 0, 0, 1),
    (6, 4, 3, 2, 0, 0, 0),
    (8, 4, 5, 1, 2, 1, 2),
    (8, 4, 3, 1, 3, 0, 0),
)
SHAPES: list[dict[str, Any]] = [
    *({"pooling": pooling} for pooling in POOLINGS),
    *({"pooling": pooling, "convolutions": CONVOLUTIONS} for pooling in ("attention", "max")),
    {"stack": 3, "delta": 2},
    {"stack": 3, "delta": 2, "frequency_lstm": (4, 4, 2), "pooling": "attention"},
    {"stack": 1, "delta": 5, "num_layers": 1},
    {"blocks": BLOCKS, "block_features": 7, "block_memory": 40, "num_layers": 1, "residual": True},
    {"pooling": "meanmax", "linear_head": True},
    {"blocks": BLOCKS[:2], "block_features": 7, "pooling": "meanmax"},
    {"pooling": "mean", "prototypes": (4, 5)},
]


def trained(*, front_end=FRONT_END, num_layers=2, **options):
    torch.manual_seed(3)
    model = LSTMClassifier(front_end.n_mels, 8, num_layers, 3, **options)
    model.mean.fill_(-8.0)
    model.scale.uniform_(0.5, 2)
    with torch.no_grad():
        model.head[-1].weight.mul_(10)  # type: ignore[operator]
    if isinstance(model.lstm, ResidualLSTM):  # it begins at zero
        torch.nn.init.normal_(model.lstm.mend.weight)
    if model.similarity is not None:  # it begins at zero too
        for buffer in model.similarity.buffers():
            buffer.uniform_(-1.0, 1.0)
    for part in model.encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # after training they are not 0 and 1
            part.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    calibration = Calibration(1.7, (0.3, 0.4, 0.5))
    data = {"dataset": "three sounds", "synthetic": True}
    return TrainedModel(model.eval(), CLASSES, front_end, calibration, {}, data, fingerprint="f")


def sounds(count=3, seconds=1.3, sample_rate=8_000):
    rng = np.random.default_rng(0)
    size = round(seconds * sample_rate)
    levels = 10 ** rng.uniform(-3, -0.3, (count, 1))
    return list((levels * rng.standard_normal((count, size))).astype(np.float32))


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_scores_and_state_are_torch_s_for_every_kind_of_model(tmp_path, options):
    made = trained(**options)
    difference = export(made, tmp_path / "m.onnx", sounds())
    assert difference is not None
    assert 0 < difference < 2e-6  # measured below 1e-6
    torch_engine, onnx_engine = TorchEngine(made), OnnxEngine(tmp_path / "m.onnx")
    start = onnx_engine.initial_state(4)
    assert {k: v.shape for k, v in start.items()} == {
        k: v.shape for k, v in torch_engine.initial_state(4).items()
    }
    samples = sounds(1)[0][None, : 6 * onnx_engine.info.step_samples]
    _, _, (one,) = torch_engine.step(samples, [start])
    _, _, (other,) = onnx_engine.step(samples, [start])
    for name in start:  # so that either can go on from the other's
        np.testing.assert_allclose(other[name], one[name], atol=2e-5, rtol=1e-4, err_msg=name)


def test_streams_that_stand_differently_advance_in_one_call(tmp_path):
    path = tmp_path / "m.onnx"
    export(trained(convolutions=CONVOLUTIONS, pooling="meanmax"), path, sounds())
    engine = OnnxEngine(path)
    step = engine.info.step_samples
    streams = [sound[: 9 * step] for sound in sounds(4, 2.0)]
    alone = [engine.step(sound[None], [engine.initial_state(3)]) for sound in streams]
    states = [engine.initial_state(3) for _ in streams]
    for ahead, sound in enumerate(streams):
        if ahead:
            states[ahead] = engine.step(sound[None, : ahead * step], [states[ahead]])[2][0]
    batch = np.stack([s[n * step : (n + 5) * step] for n, s in enumerate(streams)])
    scores, so_far, after = engine.step(batch, states)
    for ahead, (whole, *_) in enumerate(alone):
        np.testing.assert_allclose(scores[ahead], whole[0, ahead : ahead + 5], atol=1e-6)
    assert joined(after)["steps"].tolist() == [5, 6, 7, 8]
    one = engine.step(streams[2][None, : 7 * step], [engine.initial_state(3)])
    np.testing.assert_allclose(so_far[2], one[1][0], atol=1e-6)


@pytest.mark.parametrize(("weights", "most"), [("float16", 2e-2), ("int8", 0.2)])
def test_fewer_bits_make_a_smaller_file_of_nearly_the_same_scores(tmp_path, weights, most):
    made = trained(convolutions=CONVOLUTIONS, pooling="attention")
    export(made, tmp_path / "plain.onnx", sounds())
    difference = export(made, tmp_path / "small.onnx", sounds(), weights)
    assert difference is not None
    assert 1e-6 < difference < most  # of weights that no training has smoothed
    assert (tmp_path / "small.onnx").stat().st_size < (tmp_path / "plain.onnx").stat().st_size


def test_a_window_as_long_as_its_hop_needs_no_samples_from_before(tmp_path):
    front_end = FrontEndSettings(8_000, 160, 160, 6, 50.0, 4_000.0)
    made = trained(front_end=front_end)
    assert export(made, tmp_path / "m.onnx", sounds())
    assert "front_end" not in OnnxEngine(tmp_path / "m.onnx").initial_state(2)


@pytest.mark.parametrize(
    "options",
    [
        {"win_length": 200},
        {"win_length": 160, "pre_emphasis": 0.9},
        {"win_length": 200, "symmetric_window": True, "pre_emphasis": 0.97, "mel_scale": "kaldi"},
    ],
    ids=str,
)
def test_windows_pre_emphasis_and_kaldi_s_bands_are_torch_s(tmp_path, options):
    front_end = dataclasses.replace(FRONT_END, **options)
    difference = export(trained(front_end=front_end), tmp_path / "m.onnx", sounds())
    assert difference is not None
    assert 0 < difference < 2e-6
    state = OnnxEngine(tmp_path / "m.onnx").initial_state(2)
    assert state["front_end"].shape == (1, front_end.context_samples)


def test_where_the_scores_differ_nothing_is_written(tmp_path, monkeypatch):
    made = trained()
    other = trained()
    with torch.no_grad():
        other.model.head[-1].bias.add_(torch.tensor([0.01, 0, 0]))
    monkeypatch.setattr("earmark.export.build.TorchEngine", lambda _: TorchEngine(other))
    with pytest.raises(ModelError, match="not written, its scores differ"):
        export(made, tmp_path / "m.onnx", sounds())
    assert list(tmp_path.iterdir()) == []


def test_the_file_says_what_it_is(tmp_path):
    export(trained(), tmp_path / "mine.onnx", None)
    info = OnnxEngine(tmp_path / "mine.onnx").info
    assert (info.name, info.classes, info.front_end) == ("mine", CLASSES, FRONT_END)
    assert info.calibration == Calibration(1.7, (0.3, 0.4, 0.5))
    assert info.data["synthetic"] is True
    model = onnx.load(tmp_path / "mine.onnx")
    assert {p.key for p in model.metadata_props} == {
        f"earmark.{name}" for name in (*FIELDS, IDENTITY)
    }
    names = [output.name for output in model.graph.output]
    assert names[:2] == ["scores", "clip_scores"]
    assert names[-2:] == ["embedding", "clip_embedding"]  # behind all that came earlier
    samples = model.graph.input[0].type.tensor_type.shape
    assert [length.dim_param for length in samples.dim] == ["batch", "samples"]


def changed(tmp_path, **metadata):
    """Write a file with other metadata; None takes a key away."""
    model = build(trained())
    values = {p.key: p.value for p in model.metadata_props}
    for name, value in metadata.items():
        values.pop(f"earmark.{name}", None)
        if value is not None:
            values[f"earmark.{name}"] = json.dumps(value)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, values)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"classes": None, "sample_rate": None}, "lacks the metadata classes, sample_rate;"),
        (dict.fromkeys((*FIELDS, IDENTITY)), "not one that earmark export wrote"),
        ({"schema": 99}, "has schema 99, this Earmark reads up to 4; upgrade earmark"),
        ({"classes": ["dog"]}, "names other classes"),
        (
            {"sample_rate": 16_000},
            "says sample_rate is 16000, its front end and model make it 8000",
        ),
        ({"step_samples": 80}, "says step_samples is 80"),
        ({"front_end": {"sample_rate": 1}}, "metadata that is not valid"),
        ({"classes": 3}, "metadata that is not valid"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, metadata, said):
    path = changed(tmp_path, **metadata)
    with pytest.raises(ModelError) as caught:
        OnnxEngine(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_file_of_schema_1_is_read_without_a_frequency_lstm(tmp_path):
    made = trained()
    settings = to_json(made.model.settings)
    before = {**settings, **settings["network"]}
    del before["network"], before["frequency_lstm"]
    engine = OnnxEngine(changed(tmp_path, schema=1, model=before))
    assert engine.info.model == made.model.settings


def test_what_another_opset_needs_is_said(tmp_path):
    newer = build(trained())
    newer.opset_import[0].version = 9_999
    (tmp_path / "newer.onnx").write_bytes(newer.SerializeToString())
    with pytest.raises(ModelError, match=r"newer\.onnx.*upgrade onnxruntime"):
        OnnxEngine(tmp_path / "newer.onnx")


def test_a_state_of_another_shape_is_refused(tmp_path):
    export(trained(), tmp_path / "m.onnx", None)
    engine = OnnxEngine(tmp_path / "m.onnx")
    state = engine.initial_state(3)
    samples = np.zeros((1, engine.info.step_samples), np.float32)
    for name, axis in itertools.product(("hidden", "front_end"), (1,)):
        wrong = {**state, name: np.repeat(state[name], 2, axis)}
        with pytest.raises(ModelError, match=f"{name} has the shape"):
            engine.step(samples, [wrong])
    with pytest.raises(ModelError, match="whole number of steps"):
        engine.step(samples[:, 1:], [state])
