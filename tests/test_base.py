"""The model `base`: there without training, strictly causal, small, and open about its sources."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import earmark
from earmark import bundled
from earmark.io import decode
from earmark.model_directory import load_model, model_folder
from earmark.nn.features import LogMel
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.torch_engine import TorchEngine
from tests.processes import call_here

FOLDER = bundled.FOLDERS["base"]


@pytest.fixture(scope="module")
def trained():
    return load_model(model_folder("base"))


@pytest.fixture(scope="module")
def classifier():
    return earmark.load("base")


@pytest.fixture(scope="module")
def esc50():
    folder = os.environ.get("EARMARK_ESC50")
    if not folder:
        pytest.skip("EARMARK_ESC50 does not name the folder of ESC-50")
    return Path(folder)


def test_it_is_there_by_its_name_and_by_none(classifier, trained):
    assert len(classifier.classes) == 50
    assert classifier.info.fingerprint == trained.fingerprint
    assert classifier.info.fingerprint == earmark.load().info.fingerprint
    assert classifier.info.fingerprint != earmark.load("esc10").info.fingerprint
    assert model_folder("base") == FOLDER
    assert model_folder("./base") == Path("base")
    assert len(trained.calibration.thresholds) == 50


def test_its_events_are_moved_back_by_lags_of_its_own(classifier, trained):
    session = classifier.stream(settings=earmark.EventSettings(threshold=0.5))
    lags = (session.settings.onset_lag_seconds, session.settings.offset_lag_seconds)
    assert lags == trained.model.settings.lags_seconds == (0.9, 0.5)
    assert earmark.load("esc10").stream().settings.onset_lag_seconds == 0.45


def test_it_is_as_small_as_was_asked(trained):
    parameters = {name: p.numel() for name, p in trained.model.named_parameters()}
    heads = sum(count for name, count in parameters.items() if name.startswith("head."))
    assert sum(parameters.values()) - heads <= 850_000
    assert heads == 385 * 50
    assert (FOLDER / "model.onnx").stat().st_size <= 4_000_000


def test_any_chunks_give_the_scores_of_one_pass(trained):
    torch.manual_seed(0)
    frames = torch.randn(1, 700, 128) * 2 - 6
    with torch.inference_mode():
        whole = trained.model(frames)
        for sizes in ([1] * 40 + [660], [7] * 100, [320, 0, 33, 347]):
            state = trained.model.initial_state(1)
            for part in frames.split(sizes, dim=1):
                _, state = trained.model.step(part, state)
            scores = trained.model.probabilities(trained.model.embed_so_far(state))
            assert (scores - whole).abs().max() < 1e-5


def test_what_comes_later_changes_nothing_before(trained):
    torch.manual_seed(1)
    frames = torch.randn(1, 640, 128) * 2 - 6
    other = frames.clone()
    other[:, 320:] = 0.0
    with torch.inference_mode():
        steps, changed = (trained.model.encoder(x) for x in (frames, other))
    assert torch.equal(steps[:, :10], changed[:, :10])
    assert not torch.equal(steps[:, 10:], changed[:, 10:])


def test_its_file_gives_torch_s_scores(trained):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.3, 0.3, (1, 6 * 10_240)).astype(np.float32)
    found = []
    for engine in (TorchEngine(trained), OnnxEngine(FOLDER / "model.onnx")):
        _, first, state = engine.advance(samples[:, : 2 * 10_240], engine.initial_state(1))
        _, last, _ = engine.advance(samples[:, 2 * 10_240 :], state)
        found.append(np.concatenate([first, last]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_clips_that_trained_it_come_out_right(classifier, esc50):
    """No measure of accuracy; it would find labels or a front end that were mixed up."""
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["licence"] == "CC0"][::40]
    right = [classifier.predict(esc50 / row["path"]).most_likely == row["label"] for row in rows]
    assert len(right) >= 20
    assert sum(right) >= 0.9 * len(right)


def test_real_sounds_of_less_than_a_second_are_named(classifier, trained, esc50):
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        of_class = {row["label"]: row["path"] for row in csv.DictReader(table)}
    right = 0
    for label in ("Dog", "Sneezing", "Rooster", "Crow", "Cat", "Coughing", "Glass breaking"):
        samples = decode.read(esc50 / of_class[label], classifier.sample_rate)
        energy = np.cumsum(np.square(samples, dtype=np.float64))
        loudest = int(np.argmax(energy[25_600:] - energy[:-25_600])) + 1
        cut = samples[loudest : loudest + 25_600]
        right += classifier.predict((cut, classifier.sample_rate)).label == label
        with torch.inference_mode():
            frames = LogMel(trained.front_end)(torch.from_numpy(cut)[None])
            scores = trained.model.probabilities(
                trained.model.embed(frames), trained.calibration.temperature
            )
        mine = classifier.predict_proba((cut, classifier.sample_rate))
        np.testing.assert_allclose(mine, scores[0].numpy(), atol=1e-4)
    assert right >= 5  # of 7; none before they were filled up with silence


@pytest.mark.filterwarnings("ignore::earmark.errors.AudioWarning")
@pytest.mark.parametrize("what", ["silence", "a tone", "faint noise", "loud noise"])
def test_what_is_no_sound_of_its_classes_is_none_of_these(classifier, what):
    time_s = np.arange(80_000) / 16_000
    noise = np.random.default_rng(1).standard_normal(len(time_s))
    samples = {
        "silence": np.zeros(len(time_s)),
        "a tone": 0.1 * np.sin(2 * np.pi * 440 * time_s),
        "faint noise": 0.003 * noise,
        "loud noise": 0.1 * noise,
    }[what]
    prediction = classifier.predict((samples.astype(np.float32), 16_000))
    assert prediction.label == "none of these", prediction.scores


def test_commands_take_its_name(tmp_path, tone):
    clip = tone("a.wav", seconds=1.0)
    done = call_here(
        "earmark", "predict", "--model_dir", "base", "--format", "json", clip, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"][0]["scores"]) == 50


def test_a_training_starts_from_it_with_a_new_last_layer(tmp_path, own, trained):
    words = ("train", own / "sounds", "--recipe", "fast", "--init", "base", "--all_clips")
    sizes = ("--num_epochs", 1, "--clip_seconds", 1.0, "--crops_per_clip", 1, "--batch_size", 2)
    more = ("--negatives_probability", 0, "--output_dir", tmp_path / "runs")
    done = call_here("earmark", *words, *sizes, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mine = load_model(next((tmp_path / "runs").iterdir()))
    assert mine.front_end == trained.front_end
    assert mine.model.settings.network.linear_head
    assert mine.model.settings.num_classes < 50
    assert mine.data["started_from"]["dataset"] == trained.data["dataset"]


def test_its_card_and_its_credits_are_of_this_model(trained):
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert trained.fingerprint in card
    results = Path(__file__).parents[1] / "docs" / "results" / "base.json"
    figures = json.loads(results.read_text(encoding="utf-8"))
    assert f"**{100 * figures['accuracy']:.2f} %**" in card
    assert f"accept {100 * figures['coverage']:.1f} %" in card
    assert list(figures["per_class"]) == list(trained.classes)
    for words in ("MIT", "2022 Florian Schmid", "AudioSet", "2211.04772"):
        assert words in card
    credits = (FOLDER / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    clips = re.findall(r"^(\d-\d+-\w\.ogg): .+, by .+, (CC0|CC-BY), http", credits, re.MULTILINE)
    assert len(clips) == len({name for name, _ in clips}) == 1770
    assert trained.data["training_clips"] == 1770
    assert "Copyright (c) 2022 Florian Schmid" in credits
    assert "NC" not in {licence for _, licence in clips}
    assert "sonic-pi-samples" in credits
    assert credits.count("soundbible.com") == 3


def test_its_credits_are_those_of_the_free_clips(esc50):
    with (esc50 / "esc50.csv").open(encoding="utf-8") as table:
        free = {
            Path(row["path"]).name
            for row in csv.DictReader(table)
            if row["licence"] in ("CC0", "CC-BY")
        }
    credits = (FOLDER / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\d-\d+-\w\.ogg): ", credits, re.MULTILINE)) == free
