"""The models of the package: there at once, honest about themselves, not sure of everything."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from earmark import Classifier
from earmark.config import TrainingSettings, from_json
from earmark.config.recipes import read_recipe
from earmark.model_directory import load_model, model_folder
from tests.processes import ROOT, call

NOTHING = {
    "faint white noise": lambda t: 0.003 * np.random.default_rng(1).standard_normal(len(t)),
    "a loud 440 Hz tone": lambda t: 0.8 * np.sin(2 * np.pi * 440 * t),
    "a 440 Hz tone": lambda t: 0.1 * np.sin(2 * np.pi * 440 * t),
    "a faint 1 kHz tone": lambda t: 0.01 * np.sin(2 * np.pi * 1000 * t),
    "silence": lambda t: np.zeros(len(t)),
}


@pytest.fixture(scope="module", params=["base", "esc10"])
def classifier(request):
    return Classifier.load(request.param)


@pytest.fixture(scope="module")
def ten():
    return Classifier.load("esc10")


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("what", NOTHING)
def test_what_is_no_sound_of_its_classes_is_none_of_these(classifier, what, sample_rate):
    time_s = np.arange(5 * sample_rate) / sample_rate
    samples = NOTHING[what](time_s).astype(np.float32)
    prediction = classifier.predict_samples(samples, sample_rate)
    assert prediction.label == "none of these", prediction.scores


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("level", [0.01, 0.1, 0.3])
def test_white_noise_of_any_level_and_rate_is_none_of_these(classifier, level, sample_rate):
    samples = level * np.random.default_rng(0).standard_normal(5 * sample_rate).astype(np.float32)
    prediction = classifier.predict_samples(samples, sample_rate)
    assert prediction.label == "none of these", prediction.scores


def test_predict_needs_no_training_and_no_flag(tmp_path):
    for name, sound in NOTHING.items():
        soundfile.write(tmp_path / f"{name}.wav", sound(np.arange(80_000) / 16_000), 16_000)
    done = call("earmark", "predict", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("none of these") == len(NOTHING)


def test_predict_takes_a_threshold_for_all_classes(tmp_path, esc10):
    clip = sorted((esc10 / "001 - Dog bark").glob("1-*.ogg"))[0]
    loose = call("earmark", "predict", "--threshold", "0.1", clip, cwd=tmp_path)
    strict = call("earmark", "predict", "--threshold", "0.9999", clip, cwd=tmp_path)
    assert (loose.returncode, strict.returncode) == (0, 0), loose.stderr + strict.stderr
    assert "none of these" not in loose.stdout
    assert "none of these" in strict.stdout


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
@pytest.mark.parametrize("voice", ["en", "en+f3", "de", "fr+f2"])
@pytest.mark.parametrize(
    "words",
    [
        "The quick brown fox jumps over the lazy dog, and then it goes home.",
        "She sells sea shells by the sea shore.",
        "How many kilometres is it from here to the station?",
    ],
)
def test_a_spoken_sentence_is_none_of_these(classifier, tmp_path, voice, words):
    command = ["espeak-ng", "-v", voice, "-w", str(tmp_path / "said.wav"), words]
    subprocess.run(command, check=True, capture_output=True)
    prediction = classifier.predict(tmp_path / "said.wav")
    assert prediction.label == "none of these", prediction.scores


def test_clips_that_trained_the_model_of_ten_come_out_right(ten, esc10):
    """No measure of accuracy; it would find labels or a front end that were mixed up."""
    clips = [sorted(folder.glob("*.ogg"))[3] for folder in sorted(esc10.glob("0*"))]
    right = [ten.predict(clip).most_likely == clip.parent.name[6:] for clip in clips]
    assert len(right) == 10
    assert sum(right) >= 9


def test_the_model_of_ten_is_what_its_recipe_makes_and_small(ten):
    folder = model_folder("esc10")
    trained = load_model(folder)
    assert from_json(TrainingSettings, trained.training["recipe"]) == read_recipe("causal").training
    assert trained.fingerprint == ten.info.fingerprint
    assert ten.info.front_end == read_recipe("causal").front_end
    assert all(file.stat().st_size < 3_000_000 for file in folder.iterdir())
    assert ten.info.data["training_clips"] == 400
    assert not ten.info.data["synthetic"]


def test_the_card_of_ten_has_its_fingerprint_and_the_figures_of_the_cross_validation(ten):
    card = (model_folder("esc10") / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert ten.info.fingerprint in card
    summary = json.loads((ROOT / "docs" / "results" / "causal.json").read_text(encoding="utf-8"))
    assert f"**{100 * summary['accuracy']:.2f} %**" in card
    named = np.mean([row["unknown_named"] for row in summary["left_out"]])
    assert f"named {100 * named:.0f} % of the clips of these" in card
    rejection = (ROOT / "docs" / "results" / "rejection.md").read_text(encoding="utf-8")
    assert ten.info.fingerprint in rejection
    credits = (model_folder("esc10") / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert credits.count("freesound.org/people/") == 400


def test_a_wheel_holds_the_models_and_the_recipes(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    shutil.copytree(ROOT / "src", tmp_path / "earmark" / "src")
    shutil.copytree(ROOT / "recipes", tmp_path / "earmark" / "recipes")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "earmark")
    done = subprocess.run(
        [*command, "-w", str(tmp_path), str(tmp_path / "earmark")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True
    ).stdout
    assert "earmark/recipes/causal.toml" in listed
    for model in ("base", "esc10"):
        for name in ("model.json", "model.onnx", "MODEL_CARD.md", "ATTRIBUTION.txt", "weights-"):
            assert f"earmark/bundled/{model}/{name}" in listed
