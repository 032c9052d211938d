"""Nothing measurable moves: training, model of ESC-10, events give what they gave at 4585d98.

The numbers in `kept/golden.json` were written down by that commit. On another processor or torch
sums are made in another order; there the weights only have to be near.
"""

import dataclasses
import hashlib
import json
import platform
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch

from earmark import Classifier
from earmark.bundled import FOLDERS, ONNX_NAME
from earmark.config import to_json
from earmark.io import decode
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.training.run import train_model
from tests.builders import small_recipe, small_split

KEPT = Path(__file__).parent / "kept"
GOLDEN = json.loads((KEPT / "golden.json").read_text())
RECIPES = {
    "stacked": small_recipe(),
    "convolutional": small_recipe(
        stack=1,
        delta=0,
        convolutions=[[4, 3, 3, 2, 2], [6, 3, 3, 1, 1]],
        pooling="attention",
        clips_per_sequence=2,
        segment_loss_weight=0.5,
        segment_seconds=0.1,
        negatives_probability=0.2,
        mixup_probability=1.0,
        pitch=0.1,
        stretch=0.2,
        refit=True,
        num_epochs=4,
        time_mask=0.2,
        noise=1.0,
    ),
    "frequency": small_recipe(
        stack=2,
        delta=0,
        frequency_lstm=[3, 2, 2],
        pooling="meanmax",
        balance=0.5,
        label_smoothing=0.1,
        num_epochs=4,
    ),
}
FREE = "attention.bias"  # shifts all weights of a softmax alike, so rounding alone moves it
SAME_SUMS = (GOLDEN["torch"], GOLDEN["machine"], GOLDEN["cpu"]) == (
    torch.__version__,
    platform.machine(),
    torch.backends.cpu.get_cpu_capability(),
)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", RECIPES)
def test_training_gives_the_weights_it_gave(name, tmp_path, one_thread):
    accelerator = accelerate.Accelerator(cpu=True)
    split, recipe = small_split(), RECIPES[name]
    trained = train_model(split, recipe, accelerator, tmp_path, show_progress=False)
    weights = {key: tensor.numpy() for key, tensor in trained.model.state_dict().items()}
    before = np.load(KEPT / f"weights-{name}.npz")
    assert set(weights) == set(before)
    for key, array in weights.items():
        if key == FREE:
            continue
        np.testing.assert_allclose(array, before[key], rtol=0, atol=2e-3, err_msg=key)
    if SAME_SUMS:
        golden = GOLDEN["runs"][name]
        digests = {k: hashlib.sha256(w.tobytes()).hexdigest() for k, w in weights.items()}
        assert digests == golden["weights"]
        calibration = to_json(trained.calibration)
        calibration["backgrounds"] = calibration.pop("negatives")
        assert json.loads(json.dumps(calibration)) == golden["calibration"]


@pytest.mark.parametrize("engine", ["onnx", "onnx, frames given", "torch"])
def test_the_model_of_ten_classes_scores_ten_recordings_as_before(esc10, engine):
    if engine == "onnx":  # the file alone
        classifier = Classifier(OnnxEngine(FOLDERS["esc10"] / ONNX_NAME, own_front_end=True))
    else:
        classifier = Classifier.load(FOLDERS["esc10"] if engine == "torch" else "esc10")
    frames_given = engine == "onnx, frames given"
    assert len(GOLDEN["bundled"]) == 10
    for name, whole in GOLDEN["bundled"].items():
        scores, golden = classifier.predict(esc10 / name).scores, whole[engine.split(",")[0]]
        assert list(scores) == list(golden)
        most = 0 if SAME_SUMS and not frames_given else 1e-5
        for label, score in golden.items():
            assert scores[label] == pytest.approx(score, abs=most), name


def test_the_model_of_ten_classes_finds_the_events_it_found(esc10):
    classifier = Classifier.load("esc10")
    clips = [decode.read(esc10 / name, classifier.sample_rate) for name in GOLDEN["bundled"]]
    session = classifier.stream()
    events = session.push(np.concatenate(clips)) + session.finish()
    assert [dataclasses.asdict(event)["label"] for event in events] == [
        event["label"] for event in GOLDEN["events"]
    ]
    for event, golden in zip(events, GOLDEN["events"], strict=True):
        found = event.to_dict()
        for key in ("onset", "offset", "score"):
            assert found[key] == pytest.approx(golden[key], abs=1e-3)
