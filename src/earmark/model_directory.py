"""A model directory: everything needed to predict, complete and inert.

    model.json                 what the model is; checked strictly when it is read
    weights-DIGEST.safetensors its numbers, named after the first 16 digits of their SHA-256

The JSON names the weights file and carries its digest, and its own digest over everything else.
Replacing a model writes the new weights, then the JSON in one step, then removes the old weights,
so at any moment, a kill included, the directory holds one whole model. No pickle is ever read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from earmark import bundled
from earmark.config import Calibration, FrontEndSettings, ModelSettings, from_json, to_json
from earmark.errors import ModelError, SettingsError
from earmark.io.files import make_folder, read_json, sha256_of_json, write_bytes, write_json
from earmark.nn.classifier import LSTMClassifier
from earmark.provenance import installed_versions, now

SCHEMA = 4
MANIFEST = "model.json"
_WEIGHTS_NAME = re.compile(r"weights-[0-9a-f]{16}\.safetensors")
_PICKLE_SUFFIXES = frozenset([".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib"])
_KEYS = frozenset(
    [
        "schema",
        "kind",
        "classes",
        "front_end",
        "model",
        "calibration",
        "training",
        "data",
        "versions",
        "created",
        "weights",
        "fingerprint",
    ]
)
_TYPES = {
    **{"classes": list, "model": dict, "training": dict, "data": dict, "versions": dict},
    **{"created": str, "weights": dict, "calibration": dict},
}


@dataclass(frozen=True)
class TrainedModel:
    """A model with all it takes to use it.

    Attributes:
        model: the network, in evaluation mode.
        classes: class names in the order of the scores.
        front_end: how to make its input from audio; None when it was trained on other features.
        calibration: temperature and thresholds of its scores.
        training: recipe, seed, how the epoch was chosen, validation scores.
        data: dataset, split, fingerprint, whether it is synthetic.
        versions: of Earmark and the libraries that made it.
        created: time of writing, ISO 8601 in UTC.
        fingerprint: SHA-256 over everything above, weights included; set when saved or loaded.
        identity: SHA-256 over what scores follow from but for the calibration: classes, front end,
            network and weights. Another calibration makes no other identity. Set like
            `fingerprint`.
    """

    model: LSTMClassifier
    classes: tuple[str, ...]
    front_end: FrontEndSettings | None
    calibration: Calibration = field(default_factory=Calibration)
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    fingerprint: str = ""
    identity: str = ""


def model_folder(given: str | Path | None) -> Path:
    """Return the model directory given, or that of a model of the package.

    Args:
        given: a folder, or what `bundled.name_of` takes for a model of the package.

    Raises:
        ModelError: a model of the package was asked for, and this Earmark comes without.
    """
    name = bundled.name_of(given)
    if name is None:
        return Path(str(given))
    if not (bundled.FOLDERS[name] / MANIFEST).is_file():
        raise ModelError("no model comes with this Earmark; give one with --model_dir")
    return bundled.FOLDERS[name]


def save_model(folder: Path, trained: TrainedModel) -> str:
    """Write a model directory, or replace the model in it, and return the model's fingerprint.

    Raises:
        OSError: the folder cannot be written or the disk is full; the model before stays whole.
    """
    make_folder(folder)
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in trained.model.state_dict().items()
    }
    data = save_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    weights = folder / f"weights-{digest[:16]}.safetensors"
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "earmark-model",
        "classes": list(trained.classes),
        "front_end": to_json(trained.front_end) if trained.front_end else None,
        "model": to_json(trained.model.settings),
        "calibration": to_json(trained.calibration),
        "training": dict(trained.training),
        "data": dict(trained.data),
        "versions": dict(trained.versions) or installed_versions(),
        "created": trained.created or now(),
        "weights": {
            "file": weights.name,
            "sha256": digest,
            "identity": weights_identity(trained, digest),
        },
    }
    manifest["fingerprint"] = sha256_of_json(manifest)
    write_bytes(weights, data)
    write_json(folder / MANIFEST, manifest)
    for old in folder.glob("weights-*.safetensors"):
        if old != weights:
            old.unlink(missing_ok=True)
    return str(manifest["fingerprint"])


def load_model(folder: Path) -> TrainedModel:
    """Read a model directory strictly.

    Raises:
        ModelError: the directory is missing, incomplete, edited, of a newer schema, carries a
            pickle, or its weights do not fit its description.
    """
    manifest = _read_manifest(folder)
    carried = sorted(f.name for f in folder.rglob("*") if f.suffix.lower() in _PICKLE_SUFFIXES)
    if carried:
        raise ModelError(
            f"{folder}: carries {carried[0]}, a pickle, which could run code; "
            "remove it, Earmark's models have none"
        )
    for key, kind in _TYPES.items():
        if not isinstance(manifest[key], kind):
            raise ModelError(f"{folder / MANIFEST}: {key} is not a {kind.__name__}; train again")
    try:
        front_end = manifest["front_end"]
        settings = from_json(ModelSettings, manifest["model"])
        trained = TrainedModel(
            LSTMClassifier.from_settings(settings),
            tuple(map(str, manifest["classes"])),
            from_json(FrontEndSettings, front_end) if front_end is not None else None,
            from_json(Calibration, manifest["calibration"]),
            manifest["training"],
            manifest["data"],
            manifest["versions"],
            manifest["created"],
            manifest["fingerprint"],
        )
        weights, digest = manifest["weights"]["file"], manifest["weights"]["sha256"]
    except (SettingsError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / MANIFEST}: is not valid ({error}); train again") from None
    identity = manifest["weights"].get("identity") or weights_identity(trained, digest)
    trained = dataclasses.replace(trained, identity=str(identity))
    thresholds = len(trained.calibration.thresholds)
    if thresholds not in (0, settings.num_classes):
        raise ModelError(
            f"{folder / MANIFEST}: has {thresholds} thresholds for {settings.num_classes} classes; "
            "train again"
        )
    if len(trained.classes) != settings.num_classes:
        raise ModelError(
            f"{folder / MANIFEST}: names {len(trained.classes)} classes for "
            f"{settings.num_classes} scores; train again"
        )
    trained.model.load_state_dict(_read_weights(folder, weights, digest, trained.model))
    trained.model.eval()
    return trained


def weights_identity(trained: TrainedModel, digest: str) -> str:
    """Return the identity of a model's weights, see `TrainedModel`.

    Settings at their defaults are left out, so that one that is new in a later version changes no
    identity.

    Args:
        trained: the model.
        digest: SHA-256 of its weights file.
    """
    front_end = trained.front_end
    return sha256_of_json(
        {
            "classes": list(trained.classes),
            "front_end": None if front_end is None else _chosen(front_end),
            "model": _chosen(trained.model.settings),
            "weights": digest,
        }
    )


def _chosen(settings: Any) -> dict[str, Any]:
    """Return the settings that differ from their defaults."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return {
        name: _chosen(value) if dataclasses.is_dataclass(value) else value
        for name, value in values.items()
        if value != defaults[name]
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if folder.is_file():
        raise ModelError(f"{folder}: is a file; give the model directory that training wrote")
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such model directory; give one that training wrote"
            f"{_suggest_run(folder.parent)}"
        )
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: is no complete model directory, {MANIFEST} is missing; "
            f"give one that training wrote{_suggest_run(folder)}"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ModelError(f"{path}: is not JSON, it was cut or edited; train again") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != "earmark-model":
        raise ModelError(f"{path}: does not describe an Earmark model")
    schema = manifest.get("schema")
    if not isinstance(schema, int):
        schema = 0
    if schema > SCHEMA:
        raise ModelError(
            f"{path}: has schema {schema}, this Earmark reads up to {SCHEMA}; upgrade earmark"
        )
    keys = _KEYS - {"calibration"} if schema == 1 else _KEYS
    if schema not in range(1, SCHEMA + 1) or manifest.keys() != keys:
        odd = sorted(map(str, manifest.keys() ^ keys)) or ["schema"]
        raise ModelError(f"{path}: is incomplete or edited (look at {', '.join(odd)}); train again")
    if sha256_of_json({k: v for k, v in manifest.items() if k != "fingerprint"}) != manifest.get(
        "fingerprint"
    ):
        raise ModelError(
            f"{path}: was edited after it was written (its fingerprint does not fit); train again"
        )
    if isinstance(manifest["model"], dict):  # what came with a later schema
        manifest.setdefault("calibration", to_json(Calibration()))
        if schema == 1:
            manifest["model"].setdefault("convolutions", [])
    return manifest


def _suggest_run(parent: Path) -> str:
    """Return words that name the newest model directory in a folder; none where it has none."""
    written = {path: path.stat().st_mtime for path in parent.glob(f"*/{MANIFEST}")}
    return f", such as {max(written, key=written.__getitem__).parent}" if written else ""


def _read_weights(
    folder: Path, name: object, digest: object, model: LSTMClassifier
) -> dict[str, torch.Tensor]:
    """Read the weights file and check it against its digest and the model's shapes."""
    if not isinstance(name, str) or not _WEIGHTS_NAME.fullmatch(name):
        raise ModelError(f"{folder / MANIFEST}: names {name!r} as weights; train again")
    path = folder / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: is incomplete, {name} is missing; copy the whole directory again"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelError(f"{path}: was cut or edited, its digest does not fit; copy it again")
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"{path}: is not a safetensors file ({error})") from None
    wanted = model.state_dict()
    for key in sorted(wanted.keys() | tensors.keys()):
        there = tuple(tensors[key].shape) if key in tensors else None
        needed = tuple(wanted[key].shape) if key in wanted else None
        if there != needed:
            raise ModelError(f"{path}: {key} has shape {there}, the model needs {needed}")
    return tensors
