"""Build the model `base` of the package: the base for shipping with a head of fifty classes.

    python -m tools.build_base path/to/ESC-50 --bank bank --bases bases

`bases` holds `base-ship.safetensors` and `base-fold-1` to `5` of `tools.distil_base`. The head is
logistic regression on the embeddings of the CC0 and CC BY clips, and of generated negatives whose
target is every class alike, folded into the linear layer.
Temperature and thresholds come from the folds: a head on the base of each fold, fitted to the other
four folds' clips, scores the clips of its own as `earmark predict` would, and generated negatives.
The temperature is the geometric mean, each threshold the median of the five. Writes the model
directory `src/earmark/bundled/base` with `model.onnx`, verified, `MODEL_CARD.md` and
`ATTRIBUTION.txt`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools.base_bank import FREE, Bank, read_clip
from tools.base_card import attribution, card
from tools.base_heads import CLIPS, STRENGTH, Array, Clips, Regression, embed_crops
from tools.base_network import FRONT_END, embed, load_base

from earmark.config import Calibration
from earmark.data.dataset import generate_negative_frames
from earmark.decision.calibration import fit_calibration, with_temperature
from earmark.decision.policy import NO_CLASS, Policy
from earmark.export.build import export
from earmark.io import decode
from earmark.io.files import write_json, write_text
from earmark.model_directory import TrainedModel, load_model, save_model
from earmark.nn.classifier import LSTMClassifier
from earmark.nn.features import LogMel

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src" / "earmark" / "bundled" / "base"
FOLDS = (1, 2, 3, 4, 5)
MOST_BYTES = 4_000_000
NEGATIVES = 200  # generated clips of no class that set a fold's thresholds; as many test, and train
RATE = 0.05  # of them may be accepted
_THRESHOLD_SEED, _TEST_SEED, _TRAIN_SEED = 10**9, 2 * 10**9, 3 * 10**9


@torch.inference_mode()
def embed_clips(base: LSTMClassifier, paths: list[Path]) -> Array:
    """Return embeddings `(clips, 384)` of files as they are; the rest after whole steps is cut."""
    front_end = LogMel(FRONT_END)
    found = []
    for path in paths:
        frames = front_end(torch.from_numpy(read_clip(path))[None])
        found.append(embed(base, frames)[0].numpy())
    return np.stack(found).astype(np.float64)


@torch.inference_mode()
def embed_negatives(base: LSTMClassifier, seed: int) -> Array:
    """Return embeddings `(NEGATIVES, 384)` of generated sounds of no class."""
    frames = torch.from_numpy(generate_negative_frames(FRONT_END, NEGATIVES, seed))
    parts = [embed(base, part).numpy() for part in frames.split(20)]
    return np.concatenate(parts).astype(np.float64)


def score_folds(clips: Clips, bank: Bank, bases: Path) -> list[dict[str, Any]]:
    """Return of each fold its labels, scores of its clips and of two sets of negatives.

    The base and the head of a fold have met no clip of it.
    """
    rows = []
    for fold in FOLDS:
        path, test = bases / f"base-fold-{fold}.safetensors", clips.fold == fold
        base, record = load_base(path)
        if record["test_fold"] != [fold]:
            raise SystemExit(f"{path}: was not trained with fold {fold} held out")
        x = embed_crops(path, bank, CLIPS)
        nothing = embed_negatives(base, _TRAIN_SEED)
        head = Regression(x[~test], clips.label[~test], negatives=nothing)
        tested = embed_clips(base, [clips.paths[n] for n in np.flatnonzero(test)])
        negatives = [
            head.probabilities(embed_negatives(base, seed))
            for seed in (_THRESHOLD_SEED, _TEST_SEED)
        ]
        rows.append(
            {
                "fold": fold,
                "epochs": record["epochs"],
                "labels": clips.label[test],
                "known": clips.known[test],
                "scores": head.probabilities(tested).astype(np.float32),
                "negatives": [scores.astype(np.float32) for scores in negatives],
            }
        )
        right = (rows[-1]["scores"].argmax(1) == rows[-1]["labels"]).mean()
        print(f"fold {fold}: {100 * right:.2f} %", flush=True)
    return rows


def calibrate(rows: list[dict[str, Any]]) -> Calibration:
    """Return the geometric mean of the folds' temperatures and the median of their thresholds."""
    found = [
        fit_calibration(row["labels"], row["scores"], row["negatives"][0], RATE) for row in rows
    ]
    temperature = float(np.exp(np.mean([np.log(one.temperature) for one in found])))
    middle = np.median([one.thresholds for one in found], axis=0)
    return Calibration(
        round(temperature, 4),
        tuple(round(float(threshold), 6) for threshold in middle),
        RATE,
        sum(one.clips for one in found),
        sum(one.negatives for one in found),
    )


def measure(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the figures of the heads of the folds, each calibrated by the other four folds."""
    labels = np.concatenate([row["labels"] for row in rows])
    accepted, right, passed, errors = [], [], [], []
    for row in rows:
        others = calibrate([other for other in rows if other is not row])
        policy = Policy(others.thresholds)
        scores, negatives = (
            with_temperature(part, others.temperature)
            for part in (row["scores"], row["negatives"][1])
        )
        decided = policy.decide(scores)
        accepted.append(decided != NO_CLASS)
        right.append(decided == row["labels"])
        passed.append(policy.accepted(negatives))
        errors.append(scores)
    most = np.concatenate([row["scores"].argmax(1) for row in rows])
    known = np.concatenate([row["known"] for row in rows])
    fold_accuracies = [float((r["scores"].argmax(1) == r["labels"]).mean()) for r in rows]
    kept = np.concatenate(accepted)
    return {
        "epochs": [row["epochs"] for row in rows],
        "accuracy": float((most == labels).mean()),
        "fold_accuracies": fold_accuracies,
        "esc10_among_fifty": float((most == labels)[known].mean()),
        "coverage": float(kept.mean()),
        "accuracy_of_accepted": float(np.concatenate(right)[kept].mean()),
        "negatives_accepted": float(np.concatenate(passed).mean()),
        "per_class": {
            name: {
                "recall": float((most == labels)[labels == number].mean()),
                "precision": float((labels == number)[most == number].mean()),
            }
            for number, name in enumerate(names)
        },
    }


def fit_shipped(clips: Clips, bank: Bank, bases: Path) -> tuple[LSTMClassifier, dict[str, Any]]:
    """Return the base for shipping with its head, and how the base was trained."""
    path = bases / "base-ship.safetensors"
    base, record = load_base(path)
    if not record["ship"]:
        raise SystemExit(f"{path}: was trained on clips that weights for shipping must not know")
    free = np.isin(clips.licence, FREE)
    x, nothing = embed_crops(path, bank, CLIPS)[free], embed_negatives(base, _TRAIN_SEED)
    head = Regression(x, clips.label[free], negatives=nothing)
    weights, bias = head.fold()
    layer = base.head.linear_layers()[-1]
    layer.load_state_dict(
        {"weight": torch.from_numpy(weights).float(), "bias": torch.from_numpy(bias).float()}
    )
    return base.eval(), record


def describe_data(clips: Clips) -> dict[str, Any]:
    """Return what the model was trained on."""
    free = np.isin(clips.licence, FREE)
    used = sorted(
        f"{path.parent.name}/{path.name}" for path, f in zip(clips.paths, free, strict=True) if f
    )
    return {
        "dataset": "ESC-50, its CC0 and CC BY clips",
        "synthetic": False,
        "split_index": -1,
        "test_fold": "",
        "fingerprint": hashlib.sha256("\n".join(used).encode()).hexdigest(),
        "training_clips": len(used),
        "validation_clips": 0,
        "started_from": {
            "dataset": "AudioSet, by EfficientAT mn04_as (MIT, (c) 2022 Florian Schmid)"
        },
    }


def main() -> None:
    """Fit the head, calibrate, save, export, write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--bases", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results" / "base.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips, bank = Clips(args.esc50), Bank([args.bank])
    rows = score_folds(clips, bank, args.bases)
    figures = measure(rows, clips.names)
    base, record = fit_shipped(clips, bank, args.bases)
    head = f"logistic regression, C {STRENGTH}, {NEGATIVES} generated negatives"
    training = {"tool": "tools/distil_base.py", "head": head, **record}
    trained = TrainedModel(
        base,
        tuple(clips.names),
        FRONT_END,
        calibrate(rows),
        training=training,
        data=describe_data(clips),
    )
    firsts = dict(zip(clips.label, clips.paths, strict=True))
    sounds = [decode.read(path, FRONT_END.sample_rate) for path in list(firsts.values())[::5]]
    with tempfile.TemporaryDirectory(dir=OUT.parent) as folder:  # nothing is replaced before all is
        new = Path(folder) / OUT.name
        save_model(new, trained)
        difference = export(load_model(new), new / "model.onnx", sounds)
        model = json.loads((new / "model.json").read_text(encoding="utf-8"))
        write_text(new / "ATTRIBUTION.txt", attribution(args.esc50))
        write_text(new / "MODEL_CARD.md", card(model, figures))
        for file in new.iterdir():
            if file.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{file.name}: is larger than {MOST_BYTES} bytes")
        if OUT.exists():
            OUT.replace(Path(folder) / "before")
        new.replace(OUT)
    write_json(args.results, figures)
    print(f"wrote {OUT}; scores of model.onnx differ from torch's by at most {difference:.1e}")


if __name__ == "__main__":
    main()
