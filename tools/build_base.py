"""Build the model `base` of the package: the base for shipping with a head of fifty classes.

    python -m tools.build_base path/to/ESC-50 --bank bank --bases bases

`bases` holds `base-ship.safetensors` and `base-fold-1` to `5` of `tools.distil_base`. The head is
taught by one on the teacher's embedding, on crops of the CC0 and CC BY clips, and by generated
negatives whose target is every class alike; its similarity knows the means of the classes. What
makes decisions of its scores comes from the folds, see `tools.base_folds`. Writes the model
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
from tools.base_bank import FREE, Bank
from tools.base_card import attribution, card
from tools.base_folds import (
    CROPS,
    FOLDS,
    THRESHOLD_SEED,
    TRAIN_NEGATIVES,
    BaseHead,
    Decision,
    measure,
    score_fold,
)
from tools.base_heads import Clips
from tools.base_network import FRONT_END

from earmark.export.build import export
from earmark.io import decode
from earmark.io.files import write_json, write_text
from earmark.model_directory import TrainedModel, load_model, save_model
from earmark.nn.classifier import LSTMClassifier
from earmark.training.similarity import add_similarity, build_similarity

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src" / "earmark" / "bundled" / "base"
MOST_BYTES = 4_000_000


def fit_shipped(clips: Clips, bank: Bank, bases: Path) -> BaseHead:
    """Return the head of the base for shipping."""
    path = bases / "base-ship.safetensors"
    head = BaseHead(path, bank, clips, np.isin(clips.licence, FREE))
    if not head.record["ship"]:
        raise SystemExit(f"{path}: was trained on clips that weights for shipping must not know")
    return head


def join(head: BaseHead, decision: Decision) -> LSTMClassifier:
    """Return a base with its head and similarity."""
    weights, bias = head.distilled.fold()
    layer = head.base.head.linear_layers()[-1]
    layer.load_state_dict(
        {"weight": torch.from_numpy(weights).float(), "bias": torch.from_numpy(bias).float()}
    )
    similarity = build_similarity(
        head.whitening, head.means, slope=decision.slope, offset=decision.offset
    )
    return add_similarity(head.base, similarity)


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
    rows = [score_fold(clips, bank, args.bases, fold) for fold in FOLDS]
    shipped = fit_shipped(clips, bank, args.bases)
    figures = measure(rows, clips.names)
    decision = Decision.fit(rows, shipped.scores_of_negatives(THRESHOLD_SEED))
    base = join(shipped, decision)
    negatives = f"{TRAIN_NEGATIVES} generated negatives"
    head = f"distilled, {CROPS} crops, {negatives}, similarity to class means"
    training = {"tool": "tools/distil_base.py", "head": head, **shipped.record}
    trained = TrainedModel(
        base,
        tuple(clips.names),
        FRONT_END,
        decision.calibration,
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
