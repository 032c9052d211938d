"""Model directories: round trips, and every way they can be wrong."""

import dataclasses
import json
import os
import pickle
import re

import pytest
import torch

from earmark import model_directory
from earmark.config import Calibration, FrontEndSettings
from earmark.errors import ModelError
from earmark.io.files import sha256_of_json
from earmark.model_directory import TrainedModel, load_model, save_model
from earmark.nn.classifier import LSTMClassifier


def trained_model(**options):
    torch.manual_seed(3)
    model = LSTMClassifier(6, 8, 2, 3, **options)
    model.mean.uniform_(-1, 1)
    model.scale.uniform_(0.5, 2)
    if model.similarity is not None:  # it begins at zero
        for buffer in model.similarity.buffers():
            buffer.uniform_(-1, 1)
    front_end = FrontEndSettings(16_000, 400, 160, 6, 50.0, 7_000.0, 1e-5)
    return TrainedModel(
        model.eval(),
        ("dog", "rain", "Füße"),
        front_end,
        Calibration(1.5, (0.25, 0.5, 0.75), 0.02, 40, 240),
        training={"seed": 1},
        data={"dataset": "d", "synthetic": True},
        versions={"torch": "x"},
        created="2026-01-01",
    )


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "run", trained_model())
    return tmp_path / "run"


def rewrite(folder, change, *, sign=True):
    """Edit model.json; with `sign`, also make its own digest fit again."""
    path = folder / "model.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    if sign:
        manifest.pop("fingerprint", None)
        manifest["fingerprint"] = sha256_of_json(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": True, "dropout": 0.5},
        {"stack": 3, "delta": 2, "pooling": "meanmax"},
        {"pooling": "last"},
        {"convolutions": ((4, 3, 3, 2, 2), (5, 3, 3, 1, 2))},
        {"prototypes": (3, 5)},
        {"frequency_lstm": (4, 4, 2)},
    ],
    ids=str,
)
def test_a_round_trip_keeps_every_field_and_score(tmp_path, options):
    before = trained_model(**options)
    fingerprint = save_model(tmp_path, before)
    after = load_model(tmp_path)
    x = torch.randn(4, 12, 6)
    torch.testing.assert_close(before.model(x), after.model(x), atol=0, rtol=0)
    assert after.model.settings == before.model.settings
    assert after.fingerprint == fingerprint
    for field in dataclasses.fields(TrainedModel):
        if field.name not in ("model", "fingerprint", "identity"):
            assert getattr(after, field.name) == getattr(before, field.name), field.name


def test_a_new_model_replaces_the_old_one_and_leaves_no_other_file(folder):
    other = trained_model(stack=2)
    save_model(folder, other)
    assert load_model(folder).model.settings.network.stack == 2
    assert len(list(folder.iterdir())) == 2


def test_a_kill_between_weights_and_json_leaves_the_old_model(folder, monkeypatch):
    before = load_model(folder).fingerprint

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_directory, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        save_model(folder, trained_model(stack=2))
    assert load_model(folder).fingerprint == before


def test_the_weights_file_is_safetensors_with_no_pickle(folder):
    (weights,) = folder.glob("weights-*.safetensors")
    header_bytes = int.from_bytes(weights.read_bytes()[:8], "little")
    header = json.loads(weights.read_bytes()[8 : 8 + header_bytes])
    assert header["mean"]["shape"] == [6]


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def weights_of(folder):
    return next(folder.glob("weights-*"))


FAULTS = {
    "no json": (lambda f: (f / "model.json").unlink(), "model.json is missing"),
    "no weights": (lambda f: weights_of(f).unlink(), "is missing"),
    "cut json": (lambda f: cut(f / "model.json"), "not JSON"),
    "cut weights": (lambda f: cut(weights_of(f)), "cut or edited"),
    "one bit flipped": (lambda f: flip(weights_of(f)), "cut or edited"),
    "edited": (
        lambda f: rewrite(f, lambda m: m["classes"].reverse(), sign=False),
        "was edited",
    ),
    "newer schema": (lambda f: rewrite(f, lambda m: m.update(schema=5)), "upgrade"),
    "schema of no number": (lambda f: rewrite(f, lambda m: m.update(schema="x")), "schema"),
    "another kind": (lambda f: rewrite(f, lambda m: m.update(kind="x")), "does not describe"),
    "missing field": (lambda f: rewrite(f, lambda m: m.pop("classes")), "classes"),
    "unknown field": (lambda f: rewrite(f, lambda m: m.update(more=1)), "more"),
    "other thresholds": (
        lambda f: rewrite(f, lambda m: m["calibration"]["thresholds"].pop()),
        "2 thresholds for 3",
    ),
    "bad threshold": (
        lambda f: rewrite(f, lambda m: m["calibration"].update(thresholds=[0.1, 2.0, 0.3])),
        "thresholds must be",
    ),
    "no calibration": (lambda f: rewrite(f, lambda m: m.pop("calibration")), "calibration"),
    "fewer classes": (lambda f: rewrite(f, lambda m: m["classes"].pop()), "2 classes for 3"),
    "other shape": (
        lambda f: rewrite(f, lambda m: m["model"]["network"].update(hidden_size=9)),
        "shape",
    ),
    "bad setting": (
        lambda f: rewrite(f, lambda m: m["model"]["network"].update(dropout=2.0)),
        "dropout",
    ),
    "unknown setting": (lambda f: rewrite(f, lambda m: m["model"].update(x=1)), "unknown x"),
    "weights elsewhere": (
        lambda f: rewrite(f, lambda m: m["weights"].update(file="../secret")),
        "names '../secret'",
    ),
    "a pickle beside": (
        lambda f: (f / "extra.pt").write_bytes(pickle.dumps(1)),
        "carries extra.pt",
    ),
    "no object": (lambda f: (f / "model.json").write_text("[]"), "does not describe"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_directory_is_refused_in_one_line_that_names_it(folder, fault):
    damage, message = FAULTS[fault]
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_a_pickle_in_disguise_are_not_read(folder, tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    data = pickle.dumps(Evil())
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    (folder / name).write_bytes(data)
    rewrite(folder, lambda m: m.update(weights={"file": name, "sha256": digest}))
    with pytest.raises(ModelError, match="safetensors"):
        load_model(folder)
    assert not marker.exists()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no such model directory; give one that training wrote$"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", ["models/lstm-3", "models"])
def test_where_runs_are_near_the_newest_is_suggested(tmp_path, wrong):
    for number, name in enumerate(["lstm-2", "lstm-1"]):
        manifest = tmp_path / "models" / name / "model.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
        os.utime(manifest, (number, number))
    newest = re.escape(str(tmp_path / "models" / "lstm-1"))
    with pytest.raises(ModelError, match=rf"that training wrote, such as {newest}$"):
        load_model(tmp_path / wrong)


def test_a_file_is_no_model_directory(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"mine\.onnx: is a file; give the model directory"):
        load_model(tmp_path / "mine.onnx")


def flat(model, without):
    """What earlier versions wrote: the network's settings beside the others, some not yet."""
    values = {**model, **model["network"]}
    return {name: value for name, value in values.items() if name not in ("network", *without)}


def test_a_directory_of_schema_1_is_read_without_calibration(folder):
    def earlier(manifest):
        manifest["schema"] = 1
        del manifest["calibration"]
        manifest["model"] = flat(manifest["model"], without=("convolutions", "frequency_lstm"))

    rewrite(folder, earlier)
    trained = load_model(folder)
    assert trained.calibration == Calibration()
    assert trained.model.settings.network.convolutions == ()
    assert trained.model.settings.network.frequency_lstm == ()


def test_a_directory_of_schema_2_is_read_without_a_frequency_lstm(folder):
    def earlier(manifest):
        manifest["schema"] = 2
        manifest["model"] = flat(manifest["model"], without=("frequency_lstm",))

    rewrite(folder, earlier)
    assert load_model(folder).model.settings.network.frequency_lstm == ()
