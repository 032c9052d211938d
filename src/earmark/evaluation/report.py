"""A scored test part -> results file and picture."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import Calibration, to_json
from earmark.data.dataset import generate_negatives
from earmark.data.splits import ClipSet, Split
from earmark.decision.calibration import (
    auroc,
    cross_entropy,
    expected_calibration_error,
    with_temperature,
)
from earmark.decision.policy import NO_CLASS, NONE, Policy
from earmark.decision.restriction import choose_classes, restrict_scores
from earmark.errors import SplitError
from earmark.evaluation.league import describe_league, find_league, lineage
from earmark.evaluation.metrics import classification_metrics
from earmark.evaluation.pictures import draw_confusion
from earmark.evaluation.restriction import restrict_split
from earmark.evaluation.scoring import score_clips
from earmark.io.files import write_json
from earmark.model_directory import TrainedModel
from earmark.provenance import installed_versions, now

_NEGATIVES = 120  # generated clips to try the thresholds on
_NEGATIVE_SEED = 2 * 10**9  # apart from those that trained the model or set its thresholds


def refuse_mismatch(
    trained: TrainedModel, split: Split, model_name: str, *, restricted: bool = False
) -> None:
    """Refuse a split whose classes or features are not those the model was trained on.

    Args:
        trained: the model.
        split: what it is to be tested on.
        model_name: what it is called.
        restricted: it answers with some of its classes, so that the split may have others.

    Raises:
        SplitError: naming both sides.
    """
    size, needed = split.test.features.shape[1], trained.model.settings.input_size
    if size != needed:
        raise SplitError(
            f"split {split.index} has {size} features a frame, but {model_name} takes {needed}; "
            "make splits with: earmark prepare DATASET --recipe NAME, by the recipe it has"
        )
    if split.classes != trained.classes and not restricted:
        ours, theirs = ", ".join(trained.classes[:3]), ", ".join(split.classes[:3])
        raise SplitError(
            f"split {split.index} has {len(split.classes)} classes ({theirs}, ...), but "
            f"{model_name} knows {len(trained.classes)} ({ours}, ...); "
            "evaluate on the splits it was trained from, or name classes that both have: --classes"
        )
    if split.front_end != trained.front_end:
        raise SplitError(
            f"split {split.index} was prepared with another front end than that of {model_name}"
            "; make splits with: earmark prepare DATASET --recipe NAME, by the recipe it has"
        )


def seen_in_training(data: Mapping[str, Any], split: Split) -> bool | None:
    """Say whether a model has learnt from the split's test part; None where nobody can tell.

    Args:
        data: what the model was trained on; under `started_from`, the same of the model that its
            training started from.
        split: what it is to be tested on.
    """
    seen: bool | None = False
    for learnt in lineage(data):
        if learnt.get("fingerprint") != split.fingerprint:
            seen = None  # other data
        elif learnt.get("split_index") != split.index:
            return True
    return seen


def has_learnt(data: Mapping[str, Any], dataset: str) -> bool:
    """Tell whether a model, or one that its training started from, learnt a dataset so named.

    Args:
        data: what the model was trained on, see `seen_in_training`.
        dataset: a dataset's name. It is asked for where a fingerprint says too little: that also
            changes with the division into folds.
    """
    return dataset in (learnt.get("dataset") for learnt in lineage(data))


def evaluate(
    trained: TrainedModel,
    split: Split,
    *,
    batch_size: int = 32,
    model_name: str = "the model",
    classes: Sequence[str] = (),
    closed_set: bool = False,
) -> dict[str, Any]:
    """Score a split's test part and return the content of `results.json`.

    Accuracy and the figures per class are those of the most likely class of every clip, as the
    field counts them; clips of no class have no part in them. What the thresholds make of the
    clips stands under `none_of_these`, how recorded negatives fared under `recorded_negatives`.

    Args:
        trained: the model.
        split: what it is tested on.
        batch_size: clips at a time.
        model_name: what it is called.
        classes: the only ones to answer with, see `earmark.decision.restriction`; clips of others
            are of no class then. Empty: all of the model.
        closed_set: see there.

    Raises:
        SettingsError: the model does not have one of the classes.
        SplitError: split and model do not fit.
    """
    refuse_mismatch(trained, split, model_name, restricted=bool(classes))
    chosen = choose_classes(classes, trained.classes) if classes else trained.classes
    split = restrict_split(split, chosen) if classes else split
    model = _Restricted(trained, chosen, closed_set=closed_set, batch_size=batch_size)
    begin = time.perf_counter()
    raw, scores = model.score(split.test)
    seconds = time.perf_counter() - begin
    of_class = split.test.of_class
    labels = split.test.labels[of_class]
    decided = Policy(model.calibration.thresholds).decide(scores)
    names = (*split.classes, NONE)  # the last is also number NO_CLASS
    return {
        "dataset": split.dataset,
        "synthetic": split.synthetic,
        "split_index": split.index,
        "test_fold": split.test_fold,
        "fingerprint": split.fingerprint,
        "test_clips": len(labels),
        "test_negatives": len(split.test) - len(labels),
        "test_clips_seen_in_training": seen_in_training(trained.data, split),
        "league": find_league(trained.data, split.test.paths),
        "classes": list(split.classes),
        "restriction": model.describe() if classes else None,
        **classification_metrics(labels, scores[of_class], split.classes),
        "calibration": calibration_metrics(
            labels, raw[of_class], scores[of_class], model.calibration
        ),
        "without_leaks": _without_leaks(split, scores),
        "none_of_these": _rejection(model, split, scores),
        "recorded_negatives": _recorded_negatives(scores, decided, of_class),
        "clips": [
            {
                "path": path,
                "label": names[label],
                "prediction": names[number],
                "most_likely": split.classes[int(row.argmax())],
                "scores": {n: round(float(s), 6) for n, s in zip(split.classes, row, strict=True)},
            }
            for path, label, row, number in zip(
                split.test.paths, split.test.labels, scores, decided, strict=True
            )
        ],
        "model": {
            "name": model_name,
            "fingerprint": trained.fingerprint,
            "parameters": sum(p.numel() for p in trained.model.parameters()),
        },
        "training": dict(trained.training),
        "trained_on": dict(trained.data),
        "device": str(trained.model.mean.device),
        "machine": platform.machine(),
        "seconds": round(seconds, 4),
        "created": now(),
        "versions": installed_versions(),
        "versions_of_training": dict(trained.versions),
    }


class _Restricted:
    """A model that answers with some of its classes, or all of them.

    Args:
        trained: the model.
        classes: those, in its order.
        closed_set: see `earmark.decision.restriction`.
        batch_size: clips at a time.

    Attributes:
        front_end: of the model.
        calibration: of the model, with the thresholds of these classes.
    """

    def __init__(
        self, trained: TrainedModel, classes: Sequence[str], *, closed_set: bool, batch_size: int
    ) -> None:
        self._trained, self._closed_set, self._batch_size = trained, closed_set, batch_size
        self._places = [trained.classes.index(name) for name in classes]
        self.front_end, whole = trained.front_end, trained.calibration
        kept = tuple(whole.thresholds[place] for place in self._places if whole.thresholds)
        self.calibration = dataclasses.replace(whole, thresholds=kept)

    def score(self, clips: ClipSet) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores of clips before and after the temperature, `(clips, classes)`."""
        whole = score_clips(self._trained.model, clips, batch_size=self._batch_size)
        calibrated = with_temperature(whole, self.calibration.temperature)
        return self._pick(whole), self._pick(calibrated)

    def describe(self) -> dict[str, Any]:
        """Return what `results.json` says of it."""
        left_out = [name for n, name in enumerate(self._trained.classes) if n not in self._places]
        return {"left_out": left_out, "closed_set": self._closed_set}

    def _pick(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return restrict_scores(scores, self._places, closed_set=self._closed_set)


def calibration_metrics(
    labels: NDArray[np.int64],
    raw: NDArray[np.float32],
    scores: NDArray[np.float32],
    calibration: Calibration,
) -> dict[str, Any]:
    """Say how well scores tell the share of right answers, before and after the temperature."""
    return {
        **to_json(calibration),
        "expected_calibration_error": expected_calibration_error(labels, scores),
        "uncalibrated_error": expected_calibration_error(labels, raw),
        "cross_entropy": cross_entropy(labels, scores),
        "uncalibrated_cross_entropy": cross_entropy(labels, raw),
    }


def _without_leaks(split: Split, scores: NDArray[np.float32]) -> dict[str, Any] | None:
    """Say what accuracy is without the test clips whose source recording trained the model too.

    Only published folds may hold such clips; None where there are none.
    """
    trained = set(split.train.groups)
    leaks = np.array([group in trained for group in split.test.groups], bool)
    leaks &= split.test.of_class
    if not leaks.any():
        return None
    kept = split.test.of_class & ~leaks
    right = scores.argmax(axis=1) == split.test.labels
    names = [path for path, leak in zip(split.test.paths, leaks, strict=True) if leak]
    return {
        "test_clips": int(kept.sum()),
        "accuracy": float(right[kept].mean()) if kept.any() else None,
        "left_out": names,
    }


def _rejection(
    model: _Restricted, split: Split, scores: NDArray[np.float32]
) -> dict[str, Any] | None:
    """Say what the thresholds make of test clips, and of generated clips of no class."""
    thresholds = model.calibration.thresholds
    if not thresholds or model.front_end is None:
        return None
    nothing = generate_negatives(model.front_end, _NEGATIVES, _NEGATIVE_SEED)
    _, negative = model.score(nothing)
    policy, labels, of_class = Policy(thresholds), split.test.labels, split.test.of_class
    decided = policy.decide(scores)
    # A row and a column for each class and, the last, which is also number -1, for none of these.
    confusion = np.zeros((len(split.classes) + 1,) * 2, np.int64)
    np.add.at(confusion, (labels, decided), 1)
    labels, decided, scores = labels[of_class], decided[of_class], scores[of_class]
    accepted = decided != NO_CLASS
    return {
        "coverage": float(accepted.mean()),
        "accuracy_of_accepted": (
            float((decided == labels)[accepted].mean()) if accepted.any() else None
        ),
        "confusion_matrix": confusion.tolist(),
        "negatives": len(nothing),
        "negatives_accepted": float(policy.accepted(negative).mean()),
        "auroc_negatives": auroc(scores.max(axis=1), negative.max(axis=1)),
    }


def _recorded_negatives(
    scores: NDArray[np.float32], decided: NDArray[np.int64], of_class: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Say how many recorded clips of no class are accepted, and how they stand apart in score."""
    if of_class.all():
        return None
    highest = scores.max(axis=1)
    return {
        "clips": int((~of_class).sum()),
        "accepted": float((decided[~of_class] != NO_CLASS).mean()),
        "auroc": auroc(highest[of_class], highest[~of_class]),
    }


def decision_matrix(figures: Mapping[str, Any]) -> tuple[list[list[int]], list[str]]:
    """Return the confusion matrix to show, with the names of its rows and columns.

    Where thresholds exist it is that of the decisions, and has a row and a column for none of
    these; else that of the most likely class.

    Args:
        figures: the content of `results.json`, or the summary of a cross-validation.
    """
    classes, rejection = list(figures["classes"]), figures["none_of_these"]
    if rejection and rejection.get("confusion_matrix"):
        return rejection["confusion_matrix"], [*classes, NONE]
    return figures["confusion_matrix"], classes


def title(results: dict[str, Any]) -> str:
    """Say in one line what was tested and how it went."""
    fold = f" (fold {results['test_fold']})" if results["test_fold"] else ""
    return (
        f"{results['dataset']}, split {results['split_index']}{fold}: "
        f"accuracy {100 * results['accuracy']:.1f} % on {results['test_clips']} test clips"
    )


def write_results(path: Path, results: dict[str, Any]) -> list[Path]:
    """Write `results` to `path` as JSON and the confusion matrix beside it; return both paths.

    The JSON comes last, so that whoever finds it finds all. A pipe or device has no place beside
    it and gets no picture.
    """
    picture = path.with_name(f"{path.stem}-confusion.png")
    alone = path.exists() and not path.is_file()
    if not alone:
        draw_confusion(picture, *decision_matrix(results), title(results))
    write_json(path, results)
    return [path] if alone else [path, picture]


def format_classes(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lay out the figures of each class for the terminal."""
    width = max(len(name) for name in (*per_class, "class"))
    lines = [f"{'class':<{width}}  precision  recall     f1  clips"]
    for name, row in per_class.items():
        lines.append(
            f"{name:<{width}}  {row['precision']:9.2f}  {row['recall']:6.2f}  {row['f1']:5.2f}  "
            f"{row['support']:5d}"
        )
    return lines


def summary(results: dict[str, Any]) -> str:
    """Lay out the figures and the per-class table for the terminal."""
    lines = [
        title(results),
        f"balanced accuracy {100 * results['balanced_accuracy']:.1f} %, "
        f"macro F1 {results['macro_f1']:.3f}",
        *format_classes(results["per_class"]),
    ]
    if restriction := results["restriction"]:
        kind = "closed set" if restriction["closed_set"] else "open set"
        lines.append(
            f"restricted to these of {len(results['classes']) + len(restriction['left_out'])} "
            f"classes ({kind}); clips of other classes are of no class"
        )
    calibration, rejection = results["calibration"], results["none_of_these"]
    lines.append(
        f"calibration error {100 * calibration['expected_calibration_error']:.1f} % "
        f"(temperature {calibration['temperature']:.2f})"
    )
    if rejection:
        lines.append(
            f"accepted rather than none of these: {100 * rejection['coverage']:.1f} % of the "
            f"test clips, {100 * rejection['negatives_accepted']:.1f} % of generated negatives"
        )
    if negatives := results["recorded_negatives"]:
        lines.append(
            f"clips of no class: {100 * negatives['accepted']:.1f} % of {negatives['clips']} are "
            f"accepted as a class; AUROC of the highest score {negatives['auroc']:.3f}"
        )
    leaks = results["without_leaks"]
    if leaks and leaks["accuracy"] is not None:
        lines.append(
            f"{len(leaks['left_out'])} test clips are of source recordings that were trained on "
            f"too, as the published folds have it; without them accuracy is "
            f"{100 * leaks['accuracy']:.2f} %"
        )
    lines += describe_league(results["league"])
    if results["synthetic"]:
        lines.append("These clips are synthetic; the figures say nothing about real recordings.")
    if results["test_clips_seen_in_training"]:
        learnt = results["trained_on"]
        own = learnt.get("split_index")
        if learnt.get("fingerprint") != results["fingerprint"] or own == results["split_index"]:
            lines.append(
                "Not a test: the model that training started from was trained on these clips."
            )
        elif own is None or own < 0:
            lines.append("Not a test: the model was trained on all clips of this dataset.")
        else:
            lines.append(
                "Not a test: the model was trained on another split of this dataset, which holds "
                f"these clips. Evaluate it on split {own}."
            )
    elif results["test_clips_seen_in_training"] is None and has_learnt(
        results["trained_on"], results["dataset"]
    ):
        lines.append(
            f"Perhaps not a test: the model was trained on other folds of {results['dataset']}, or "
            "before its clips changed, and may have learnt from these."
        )
    return "\n".join(lines)
