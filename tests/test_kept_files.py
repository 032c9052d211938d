"""Files that earlier versions wrote go on loading; the samples in `kept/` are of 4585d98."""

import json
import shutil
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch

from earmark import Classifier, EventSettings
from earmark.config import from_json, to_json
from earmark.config.recipes import read_recipe
from earmark.data.splits import read_split
from earmark.errors import ModelError
from earmark.model_directory import load_model
from earmark.training.request import TrainingRequest
from earmark.training.run import read_resumable, train_model
from tests.builders import FRONT_END, small_recipe, small_split

KEPT = Path(__file__).parent / "kept"
RUNS = ("run-stacked", "run-convolutional", "run-frequency")


@pytest.mark.parametrize("run", RUNS)
def test_a_model_directory_loads_with_its_weights(run):
    trained = load_model(KEPT / run)
    before = np.load(KEPT / f"weights-{run.removeprefix('run-')}.npz")
    for name, tensor in trained.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    assert trained.front_end == FRONT_END
    assert trained.fingerprint


@pytest.mark.parametrize(("file", "run"), [("old.onnx", RUNS[1]), ("old-frequency.onnx", RUNS[2])])
def test_an_exported_file_gives_the_scores_of_its_model(file, run):
    samples = np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    exported, trained = Classifier.load(KEPT / file), Classifier.load(KEPT / run)
    ours = exported.predict_samples(samples, 8_000).scores
    theirs = trained.predict_samples(samples, 8_000).scores
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("file", ["old.onnx", "old-frequency.onnx"])
def test_an_exported_file_says_that_it_gives_no_embeddings(file):
    classifier = Classifier.load(KEPT / file)
    sound = (np.ones(8_000, np.float32) / 10, 8_000)
    for ask in (classifier.embed, lambda _: classifier.embedding_stream()):
        with pytest.raises(
            ModelError, match=rf"{file}: was exported by an earlier .* again"
        ) as said:
            ask(sound)
        assert "\n" not in str(said.value)


def test_a_split_file_is_read():
    split = read_split(KEPT / "splits", 0)
    assert split.front_end == FRONT_END
    assert (len(split.train), len(split.test)) == (36, 12)


def test_a_recipe_means_what_it_meant():
    old, new = read_recipe(str(KEPT / "recipes" / "causal.toml")), read_recipe("causal")
    assert (old.front_end, old.training) == (new.front_end, new.training)


def test_a_saved_stream_goes_on():
    settings = EventSettings(threshold=0.35, smoothing_seconds=0.1, min_duration_seconds=0.0)
    session = Classifier.load(KEPT / "old.onnx").stream(settings=settings, source="old")
    session.restore(KEPT / "old-stream.npz")
    samples = np.random.default_rng(1).normal(0, 0.1, 32_000).astype(np.float32)
    events = session.push(samples[16_000:]) + session.finish()
    golden = json.loads((KEPT / "old-stream.json").read_text())["rest"]
    assert [event.label for event in events] == [event["label"] for event in golden]
    for event, before in zip(events, golden, strict=True):
        assert event.onset == pytest.approx(before["onset"], abs=1e-3)
        assert event.score == pytest.approx(before["score"], abs=1e-3)


def test_an_interrupted_run_goes_on_to_the_weights_of_an_uninterrupted_one(tmp_path):
    shutil.copytree(KEPT / "run-interrupted", tmp_path / "run")
    settings, request = read_resumable(tmp_path / "run")
    assert settings == small_recipe()
    assert request == TrainingRequest(None, "splits", 0, FRONT_END, precision="no")
    accelerator = accelerate.Accelerator(cpu=True)
    trained = train_model(
        small_split(), settings, accelerator, tmp_path / "run", show_progress=False
    )
    before = np.load(KEPT / "weights-stacked.npz")
    for name, tensor in trained.model.state_dict().items():
        torch.testing.assert_close(tensor, torch.from_numpy(before[name]), atol=2e-3, rtol=0)


def test_a_run_that_began_with_the_bundled_model_finds_it_under_its_name_of_now():
    _, request = read_resumable(KEPT / "run-interrupted")
    before = {**to_json(request), "init": "box"}
    assert from_json(TrainingRequest, before).init == "esc10"
