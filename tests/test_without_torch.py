"""The base installation: what hears without torch, in an environment that has none."""

import importlib.metadata
import json
import os
import re
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark import Classifier, EventSettings
from earmark.bundled import FOLDERS
from tests.processes import ROOT

TRAINING = ("torch", "onnx", "safetensors", "sklearn", "scipy", "accelerate", "matplotlib", "tqdm")


def needed(name, found):
    """Collect the distributions that one needs, extras left out."""
    if name in found:
        return
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # needed on other systems only
    found[name] = distribution
    for requirement in distribution.requires or []:
        if "extra ==" not in requirement:
            match = re.match(r"[\w.-]+", requirement)
            assert match
            needed(match.group().lower(), found)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with the base installation: links, nothing is downloaded."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, symlinks=os.name != "nt")
    packages = next(folder.rglob("site-packages"))
    found: dict[str, importlib.metadata.Distribution] = {}
    needed("earmark", found)
    for name, distribution in found.items():
        if name == "earmark":
            continue
        home = Path(str(distribution.locate_file("")))
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(home / top)
    (packages / "earmark.pth").write_text(str(ROOT / "src"), encoding="utf-8")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(python, *words, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [python, *map(str, words)], capture_output=True, text=True, env=environment, **options
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds of silence, a noise that swells and falls, silence."""
    samples = np.random.default_rng(0).standard_normal(6 * 44_100) * 0.2
    samples *= np.interp(np.arange(len(samples)) / 44_100, [2, 2.1, 3.5, 4], [0, 1, 1, 0])
    path = tmp_path_factory.mktemp("sounds") / "clip.wav"
    soundfile.write(path, samples, 44_100)
    return path


def test_it_holds_nothing_of_training(python):
    assert run(python, "-c", "import onnxruntime, earmark.cli").returncode == 0
    for name in TRAINING:
        assert run(python, "-c", f"import {name}").returncode == 1


def test_predict_and_events_are_those_of_torch(python, clip):
    from_torch = Classifier.load(FOLDERS["base"])
    done = run(python, "-m", "earmark.cli", "predict", "--format", "json", clip)
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["predictions"]
    expected = from_torch.predict(clip)
    assert said["prediction"] == expected.label
    assert said["scores"] == pytest.approx(expected.scores, abs=1e-4)
    low = ("--threshold", 0.02)  # so low that a noise has events
    found = run(python, "-m", "earmark.cli", "predict", "--events", *low, clip)
    live = run(python, "-m", "earmark.cli", "stream", "--file", clip, "--jsonl", *low)
    assert found.returncode == live.returncode == 0, found.stderr + live.stderr
    settings = EventSettings(threshold=0.02)
    events = [event.to_dict() for event in from_torch.events(clip, settings)]
    assert events
    for given in (found.stdout, live.stdout):
        lines = [json.loads(line) for line in given.splitlines()]
        times = [(line["label"], line["onset"], line["offset"]) for line in lines]
        assert times == [(e["label"], e["onset"], e["offset"]) for e in events]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["train"], "is not installed"),
        (["export", "--out", "a.onnx"], "is not installed"),
        (
            ["predict", "--model_dir", FOLDERS["base"], "a.wav"],
            "needs torch",
        ),
    ],
    ids=str,
)
def test_what_needs_the_rest_says_how_to_get_it(python, words, missing, tmp_path):
    done = run(python, "-m", "earmark.cli", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert missing in done.stderr
    assert "pip install earmark[train]" in done.stderr
    assert done.stderr.count("\n") == 1
