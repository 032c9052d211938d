"""Build the model `esc10` of the package: train a recipe on ESC-10, and write its model card.

    earmark crossval path/to/ESC-10 --recipe causal --seeds 3 --leave_out
    python tools/build_bundled.py path/to/ESC-10

Trains on all five folds and writes the model directory `src/earmark/bundled/esc10` with
`MODEL_CARD.md`, `ATTRIBUTION.txt` and, for those without torch, `model.onnx`, verified on a clip of
each class. The
figures on the card come from the cross-validation: the model itself knows every clip. So do
temperature and thresholds: they are the middle of those fitted for each fold, on clips held out of
its training part, for a lower false-alarm rate than the recipes'. The same command goes on after a
kill, and takes a finished training (models/bundled) as it is: remove that to train anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import accelerate
import numpy as np

from earmark.bundled import ONNX_FILE as ONNX
from earmark.config import Calibration, TrainingSettings
from earmark.config.recipes import read_recipe
from earmark.data.dataset import FeatureDataset, build_dataset, generate_negatives
from earmark.data.folds import validation_mask
from earmark.data.readers import read_dataset
from earmark.decision import calibration
from earmark.decision.calibration import FALSE_ALARM_RATE
from earmark.decision.policy import NO_CLASS, Policy
from earmark.evaluation.crossval_report import table
from earmark.evaluation.scoring import score_clips
from earmark.export.build import export
from earmark.io import decode
from earmark.io.files import write_text
from earmark.model_directory import load_model, save_model
from earmark.training.run import VALIDATED, load_finished, remove_checkpoints, train_model

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "src" / "earmark" / "bundled" / "esc10"
MOST_BYTES = 3_000_000
NEGATIVES = 600  # generated clips of no class that set a fold's thresholds
RATE = 0.03  # of them may be named; at the recipes' 0.05, some white noise came out as rain
CHOSEN_BY = (
    "none: the last of the whole schedule, on all clips; calibration is the middle of those of the "
    "folds' runs with validation clips held out"
)
_CREDIT = re.compile(r"- \[(.+?)\]:\s+clip derived from (.+) \((http.+?)\) by (.+) \[(.+?)\]")


def attribution(dataset: Path) -> str:
    """Return one line for each clip from the dataset's own list of sources."""
    lines = (dataset / "README.txt").read_text(encoding="utf-8").splitlines()
    credits = [match.groups() for line in lines if (match := _CREDIT.fullmatch(line.strip()))]
    if len(credits) != 400:
        raise SystemExit(f"{dataset / 'README.txt'}: names the sources of {len(credits)} clips")
    head = (
        "The model in this folder was trained on ESC-10 (Karol J. Piczak, 2015,\n"
        "https://dx.doi.org/10.7910/DVN/YDEPUT), under Creative Commons Attribution 3.0,\n"
        "https://creativecommons.org/licenses/by/3.0/. Its clips were cut from these recordings\n"
        "on Freesound and reconverted; here they only trained weights, and none is contained.\n\n"
    )
    return head + "".join(
        f"{clip}: {title}, by {author}, {licence}, {url}\n"
        for clip, title, url, author, licence in credits
    )


def card(
    summary: dict[str, Any], rejected: dict[str, float], model: dict[str, Any], size: int
) -> str:
    """Return the model card, its figures taken from the cross-validation."""
    error = 100 * summary["calibration"]["expected_calibration_error"]
    seeds, folds = len(summary["seeds"]), len(summary["folds"])
    versions = ", ".join(f"{name} {number}" for name, number in model["versions"].items())
    spread = summary["spread_over_seeds"]
    shown = f" ± {100 * spread:.2f} over {seeds} seeds" if spread is not None else " (one seed)"
    lines = [
        "# Model card: esc10",
        "",
        f"Names ten environmental sounds: {', '.join(model['classes'])}. It looks back "
        "only, so the same weights serve a clip, a file of a day and an endless stream.",
        "",
        "## What it is",
        "",
        f"- recipe `{summary['recipe']}`: log-mel frames, causal convolutions, one LSTM layer, "
        f"attention over its steps; {summary['parameters']:,} parameters, {size / 1e6:.1f} MB",
        f"- input: audio of any rate and channels, mixed to mono at "
        f"{model['front_end']['sample_rate']} Hz; {model['front_end']['n_mels']} mel bands",
        "- output: a probability for each class, calibrated, and a threshold for each: the middle "
        f"of those of the five folds, each from {model['calibration']['clips'] // folds} clips "
        f"held out there and the same {NEGATIVES} generated negatives",
        f"- fingerprint `{model['fingerprint']}`",
        "",
        "## Data",
        "",
        "All 400 clips of ESC-10 (Karol J. Piczak, 2015), 40 a class, 5 s each, cut from "
        "recordings on Freesound, under Creative Commons Attribution; `ATTRIBUTION.txt` names "
        "every source. No other recordings. Generated noises, tones, hums, clicks and speech "
        "stood for sounds of "
        "no class.",
        "",
        "## Figures",
        "",
        "This model knows every clip of ESC-10, so its own accuracy on them says nothing. The "
        "figures are those of models trained by the same recipe on four folds and tested on the "
        f"fifth, official folds: accuracy **{100 * summary['accuracy']:.2f} %**{shown}. Each run "
        "scored its test fold once; but the recipe was chosen in trials inside the training folds, "
        "and each fold is a training fold of other splits.",
        "",
        *table(summary),
        "",
        "| class | precision % | recall % | F1 % | threshold here |",
        "|---|---|---|---|---|",
    ]
    thresholds = model["calibration"]["thresholds"]
    for number, (name, row) in enumerate(summary["per_class"].items()):
        lines.append(
            f"| {name} | {100 * row['precision']:.1f} | {100 * row['recall']:.1f} | "
            f"{100 * row['f1']:.1f} | {thresholds[number]:.2f} |"
        )
    lines += [
        "",
        f"Expected calibration error {error:.1f} %. With thresholds that "
        f"{100 * (1 - RATE):.0f} % of generated negatives stay below, each fold's its own, the "
        "models of seed 0 name "
        f"{100 * rejected['coverage']:.1f} % of the test clips, "
        f"{100 * rejected['accuracy_of_accepted']:.1f} % of these rightly, and "
        f"{100 * rejected['negatives_accepted']:.1f} % of other generated negatives.",
        "",
    ]
    named, auroc = (
        np.mean([row[key] for row in summary["left_out"]]) for key in ("unknown_accepted", "auroc")
    )
    lines += [
        "## Limits",
        "",
        "- Forty clips a class, mostly close and clean: expect less on distant, overlapping or "
        "reverberant sounds, and on microphones unlike those of field recorders.",
        "- Silence, steady tones, white noise and synthetic sentences come out as none of these, "
        "single spoken words often do not; docs/results/rejection.md counts them, and lists what "
        "is named all the same.",
        "- Real sounds of no class are mostly taken for one: models trained without some classes "
        f"named {100 * named:.0f} % of the clips of these, at thresholds that "
        f"{100 * (1 - FALSE_ALARM_RATE):.0f} % of generated negatives stay below (AUROC of the "
        f"highest score {auroc:.3f}). A higher `--threshold` names fewer.",
        "- One answer for a long file tells little of the short sounds in it; `earmark predict "
        "--events` finds them, and says from when to when each lasted (docs/results/hours.md).",
        "- Not for use where a missed or a false alarm does harm.",
        "",
        "## How to rebuild it",
        "",
        f"    {summary['command'].replace('ESC-10', 'path/to/ESC-10')}",
        "    python tools/build_bundled.py path/to/ESC-10",
        "",
        f"Trained {model['created']} with {versions}. "
        "The weights are under the MIT licence of Earmark; keep `ATTRIBUTION.txt` with them.",
    ]
    return "\n".join(lines) + "\n"


def calibrated(
    dataset: FeatureDataset, recipe: TrainingSettings, runs: Path
) -> tuple[Calibration, dict[str, float]]:
    """Calibrate from the cross-validation, more strictly than its runs do.

    Args:
        dataset: the dataset.
        recipe: of the cross-validation.
        runs: folder of its runs.

    Returns:
        The geometric mean of the folds' temperatures and the median of each class's thresholds,
        both fitted on clips held out of a fold's training part; and what such thresholds, each
        fold's its own, name of that fold's test clips and of other generated negatives.
    """
    found, named, right, passed = [], [], [], []
    for index, fold in enumerate(dataset.fold_names):
        run, split = runs / f"fold-{fold}-seed-0", dataset.split(index)
        part = split.train
        held_out = part.select(
            validation_mask(part.labels, part.groups, recipe.validation_fraction, recipe.seed)
        )
        first, tested = load_model(run / VALIDATED).model, load_model(run).model
        nothing = generate_negatives(dataset.front_end, NEGATIVES, seed=10**9)
        found.append(
            calibration.fit_calibration(
                held_out.labels, score_clips(first, held_out), score_clips(first, nothing), RATE
            )
        )
        others = generate_negatives(dataset.front_end, NEGATIVES, seed=2 * 10**9)
        scores, negatives = (
            calibration.with_temperature(score_clips(tested, clips), found[-1].temperature)
            for clips in (split.test, others)
        )
        policy = Policy(found[-1].thresholds)
        decided = policy.decide(scores)
        named.append(decided != NO_CLASS)
        right.append(decided == split.test.labels)
        passed.append(policy.accepted(negatives))
    temperature = float(np.exp(np.mean([np.log(one.temperature) for one in found])))
    middle = np.median([one.thresholds for one in found], axis=0)
    all_named, all_right = np.concatenate(named), np.concatenate(right)
    return Calibration(
        round(temperature, 4),
        tuple(round(float(threshold), 6) for threshold in middle),
        RATE,
        sum(one.clips for one in found),
        sum(one.negatives for one in found),
    ), {
        "coverage": float(all_named.mean()),
        "accuracy_of_accepted": float(all_right[all_named].mean()),
        "negatives_accepted": float(np.concatenate(passed).mean()),
    }


def main() -> None:
    """Train, save, write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", default="causal")
    parser.add_argument("--crossval", type=Path, help="docs/results/RECIPE.json")
    parser.add_argument("--runs", type=Path, help="its runs (models/crossval-RECIPE)")
    parser.add_argument("--run", type=Path, help="folder of the training (models/bundled)")
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    results = args.crossval or ROOT / "docs" / "results" / f"{recipe.name}.json"
    summary = json.loads(results.read_text(encoding="utf-8"))
    training = json.loads(json.dumps(dataclasses.asdict(recipe.training)))
    if {**summary["training"], "seed": 0} != training:
        raise SystemExit(f"{results}: was made with another recipe than {recipe.name} is now")
    if not summary["left_out"]:
        raise SystemExit(f"{results}: knows nothing of classes left out; add --leave_out")
    if not recipe.training.refit:
        raise SystemExit(f"{recipe.name}: has no refit, so no runs that held clips out")
    credits = attribution(args.dataset)
    dataset = build_dataset(read_dataset(args.dataset), recipe.front_end)
    if dataset.fingerprint != summary["fingerprint"] or dataset.failures:
        raise SystemExit(f"{args.dataset}: is not the data that {results} was made with")
    run = args.run or Path("models/bundled")
    runs = args.runs or Path(f"models/crossval-{recipe.name}")
    strict, rejected = calibrated(dataset, recipe.training, runs)
    trained = load_finished(run)
    if trained is None:
        accelerator = accelerate.Accelerator(cpu=True)
        first = runs / f"fold-{dataset.fold_names[0]}-seed-0" / VALIDATED
        train_model(dataset.whole(), recipe.training, accelerator, run, validated=first)
        trained = load_model(run)
    if (trained.data["fingerprint"], trained.training["recipe"]) != (dataset.fingerprint, training):
        raise SystemExit(f"{run}: is a run of other data or another recipe; remove it")
    record = {**trained.training, "epoch_chosen_by": CHOSEN_BY, "validated": None}
    firsts = {item.clip.label: item.clip.path for item in reversed(dataset.clips)}
    clips = [decode.read(path, recipe.front_end.sample_rate) for path in firsts.values()]
    with tempfile.TemporaryDirectory(
        dir=BUNDLED.parent
    ) as folder:  # nothing is replaced before all is
        new = Path(folder) / BUNDLED.name
        save_model(new, dataclasses.replace(trained, calibration=strict, training=record))
        difference = export(load_model(new), new / ONNX.name, clips)
        size = sum(file.stat().st_size for file in new.glob("weights-*"))
        model = json.loads((new / "model.json").read_text(encoding="utf-8"))
        write_text(new / "ATTRIBUTION.txt", credits)
        write_text(new / "MODEL_CARD.md", card(summary, rejected, model, size))
        for file in new.iterdir():
            if file.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{file.name}: is larger than {MOST_BYTES} bytes")
        if BUNDLED.exists():
            BUNDLED.replace(Path(folder) / "before")
        new.replace(BUNDLED)
    remove_checkpoints(run)
    print(f"wrote {BUNDLED}; scores of {ONNX.name} differ from torch's by at most {difference:.1e}")


if __name__ == "__main__":
    main()
