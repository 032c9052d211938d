"""The examples say what `earmark predict` says, each in its own language."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import soundfile

from earmark import Classifier
from earmark.bundled import FOLDERS, ONNX_NAME
from earmark.decision.policy import NONE, Policy
from tests.processes import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds, stereo, with a part of a step at the end."""
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((3 * 44_100 + 9_000, 2)) * 0.1
    samples[: 44_100 * 2] *= np.sin(np.arange(44_100 * 2) / 2_000)[:, None] ** 8
    path = tmp_path_factory.mktemp("sounds") / "clip.wav"
    soundfile.write(path, samples, 44_100, subtype="PCM_16")
    return path


def real(esc10, tmp_path):
    """Write a real recording as the examples take it."""
    samples, sample_rate = soundfile.read(min((esc10 / "001 - Dog bark").glob("*.ogg")))
    soundfile.write(tmp_path / "dog.wav", samples, sample_rate, subtype="PCM_16")
    return tmp_path / "dog.wav"


ONNX_FILE = FOLDERS["esc10"] / ONNX_NAME  # at the rate of its recordings
NODE = shutil.which("node")
COMMANDS = [
    pytest.param([sys.executable, str(EXAMPLES / "run_onnx.py")], id="python"),
    pytest.param(
        [NODE, str(EXAMPLES / "run_onnx.mjs")],
        id="node",
        marks=pytest.mark.skipif(
            not NODE or not (EXAMPLES / "node_modules").is_dir(),
            reason="no node, or no npm ci in examples/",
        ),
    ),
]


def said(command, *words):
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores = re.findall(r"^([^\d\n]+) (\d\.\d{4})$", done.stdout, re.MULTILINE)
    segments = re.findall(r"^ *(\d+) s  (.+?)(?: (\d\.\d{4}))?$", done.stdout, re.MULTILINE)
    (label,) = re.findall(r"^label: (.+)$", done.stdout, re.MULTILINE)
    return {name: float(score) for name, score in scores}, segments, label


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_gives_the_scores_of_predict(command, clip):
    scores, segments, label = said(command, ONNX_FILE, clip)
    classifier = Classifier.load("esc10")
    prediction = classifier.predict(clip)
    assert scores == pytest.approx(prediction.scores, abs=1e-4)
    assert label == prediction.label
    assert [int(second) for second, *_ in segments] == [0, 1, 2, 3]
    session = classifier.stream(block_seconds=0)
    samples, _ = soundfile.read(clip)
    session.push(samples)
    _, label, score = segments[-1]
    number = Policy(classifier.info.calibration.thresholds).decide(session.rows[-1])
    assert label == (*classifier.classes, NONE)[number]
    if label != NONE:
        assert float(score) == pytest.approx(session.scores[label], abs=1e-4)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_names_a_real_dog(command, esc10, tmp_path):
    clip = real(esc10, tmp_path)
    scores, _, label = said(command, ONNX_FILE, clip)
    assert scores == pytest.approx(Classifier.load("esc10").predict(clip).scores, abs=1e-4)
    assert label == "Dog bark"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_decides_by_the_thresholds_of_each_class(command, clip, tmp_path):
    """The most likely class does not reach its threshold, the second does."""
    ranked = list(Classifier.load("esc10").predict(clip).scores)
    thresholds = [0.999] + [0.0] * (len(ranked) - 1)
    place = {name: number for number, name in enumerate(ranked)}
    model = onnx.load(ONNX_FILE)
    for entry in model.metadata_props:
        if entry.key == "earmark.calibration":
            calibration = json.loads(entry.value)
            order = Classifier.load("esc10").classes
            calibration["thresholds"] = [thresholds[place[name]] for name in order]
            entry.value = json.dumps(calibration)
    onnx.save(model, tmp_path / "model.onnx")
    _, _, label = said(command, tmp_path / "model.onnx", clip)
    assert label == ranked[1]
    assert label == Classifier.load(tmp_path / "model.onnx").predict(clip).label


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_refuses_another_rate_in_one_line(command, tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros(8_000), 8_000)
    done = subprocess.run(
        [*command, str(ONNX_FILE), str(tmp_path / "slow.wav")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "needs 16 bits at 44100 Hz" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_python_example_uses_nothing_of_earmark():
    text = (EXAMPLES / "run_onnx.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) == {
        *("json", "sys", "wave", "numpy", "onnxruntime")
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_fills_up_a_short_clip_as_predict_does(command, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(13_000), 32_000, subtype="PCM_16")
    scores, _, label = said(command, FOLDERS["base"] / ONNX_NAME, tmp_path / "a.wav")
    prediction = Classifier.load("base").predict(tmp_path / "a.wav")
    assert prediction.seconds == pytest.approx(13_000 / 32_000)
    assert scores == pytest.approx(prediction.scores, abs=1e-4)
    assert label == prediction.label
