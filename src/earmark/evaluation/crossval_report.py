"""The runs of a cross-validation -> one table, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earmark.decision.calibration import (
    expected_calibration_error,
    reliability,
    with_temperature,
)
from earmark.errors import RunError
from earmark.evaluation.baselines import describe_baselines
from earmark.evaluation.league import describe_league, find_league
from earmark.evaluation.metrics import metrics_of_confusion
from earmark.evaluation.pictures import draw_confusion, draw_reliability
from earmark.evaluation.report import decision_matrix
from earmark.io.files import read_json, write_json, write_text
from earmark.provenance import commit, installed_versions, machine, now

Rows = Sequence[Mapping[str, Any]]


def summarise(
    rows: Rows,
    unknown: Rows,
    *,
    name: str,
    command: str,
    baselines: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sum up the runs of a cross-validation.

    Args:
        rows: what `results.json` of each run holds, seed by seed, fold by fold.
        unknown: rows of `leave_classes_out`, none when it was not asked for.
        name: name of the recipe.
        command: the command that made them.
        baselines: those of `measure_folds`; None where they were not measured.
    """
    first = rows[0]
    classes: list[str] = first["classes"]
    seeds = list(dict.fromkeys(row["training"]["seed"] for row in rows))
    folds = list(dict.fromkeys(row["test_fold"] for row in rows))
    accuracy = np.array([row["accuracy"] for row in rows]).reshape(len(seeds), len(folds))
    tested = [[clip for clip in row["clips"] if clip["label"] in classes] for row in rows]
    clips = [clip for of_run in tested for clip in of_run]
    labels = np.array([classes.index(clip["label"]) for clip in clips])
    scores = np.array([[clip["scores"][c] for c in classes] for clip in clips], np.float32)
    temperatures = np.repeat(
        [row["calibration"]["temperature"] for row in rows], [len(of_run) for of_run in tested]
    )
    raw = np.concatenate(
        [with_temperature(s[None], 1 / t) for s, t in zip(scores, temperatures, strict=True)]
    )
    matrix = np.sum([row["confusion_matrix"] for row in rows], axis=0)
    means = accuracy.mean(axis=1)
    held_out = [v["seconds"] for row in rows if (v := row["training"]["validated"])]
    return {
        "dataset": first["dataset"],
        "synthetic": first["synthetic"],
        "recipe": name,
        "league": find_league(first["trained_on"], [clip["path"] for clip in first["clips"]]),
        "classes": classes,
        "folds": folds,
        "seeds": seeds,
        "accuracy": float(means.mean()),
        "spread_over_seeds": float(means.std(ddof=1)) if len(seeds) > 1 else None,
        "spread_over_runs": float(accuracy.std(ddof=1)) if accuracy.size > 1 else None,
        "accuracy_by_seed_and_fold": accuracy.tolist(),
        "baselines": baselines,
        "confusion_matrix": matrix.tolist(),
        "per_class": metrics_of_confusion(matrix, classes),
        "calibration": {
            "temperatures": [row["calibration"]["temperature"] for row in rows],
            "expected_calibration_error": expected_calibration_error(labels, scores),
            "uncalibrated_error": expected_calibration_error(labels, raw),
            "reliability": reliability(labels, scores),
        },
        "none_of_these": _rejections(rows),
        "recorded_negatives": _recorded_negatives(rows),
        "without_leaks": _without_leaks(rows),
        "left_out": list(unknown),
        "parameters": first["model"]["parameters"],
        "seconds_per_run": float(np.mean([row["training"]["seconds"] for row in rows])),
        "seconds_per_first_run": float(np.mean(held_out)) if held_out else None,
        "training": dict(first["training"]["recipe"]),
        "fingerprint": first["trained_on"]["fingerprint"],
        "command": command,
        "commit": commit(),
        "machine": machine(first["device"]),
        "created": now(),
        "versions": installed_versions(),
        "runs": [
            {
                "seed": row["training"]["seed"],
                "test_fold": row["test_fold"],
                "accuracy": row["accuracy"],
                "cross_entropy": row["calibration"]["cross_entropy"],
                "calibration": row["calibration"],
                "none_of_these": row["none_of_these"],
                "recorded_negatives": row["recorded_negatives"],
                "epochs": row["training"]["epochs"],
                "seconds": seconds_trained(
                    row["training"], shared=row["training"]["seed"] != seeds[0]
                ),
                "wrong": [
                    {
                        "path": "/".join(Path(clip["path"]).parts[-2:]),
                        "label": clip["label"],
                        "prediction": most_likely,
                    }
                    for clip in of_run
                    # Runs finished earlier have the most likely class as their prediction.
                    if (most_likely := clip.get("most_likely", clip["prediction"])) != clip["label"]
                ],
            }
            for row, of_run in zip(rows, tested, strict=True)
        ],
    }


def _without_leaks(rows: Rows) -> dict[str, Any] | None:
    """Sum up accuracy without the clips that leak; None where no fold has any."""
    found = [row.get("without_leaks") for row in rows]
    if not any(found):
        return None
    accuracies = [
        one["accuracy"] if one and one["accuracy"] is not None else row["accuracy"]
        for one, row in zip(found, rows, strict=True)
    ]
    left_out = sorted({name for one in found if one for name in one["left_out"]})
    return {
        "accuracy": float(np.mean(accuracies)),
        "left_out": ["/".join(Path(name).parts[-2:]) for name in left_out],
    }


def _rejections(rows: Rows) -> dict[str, Any] | None:
    """Sum up what the thresholds made of the clips."""
    found = [row["none_of_these"] for row in rows if row["none_of_these"]]
    if not found:
        return None
    clips = np.array([row["test_clips"] for row in rows if row["none_of_these"]])
    accepted = clips * [one["coverage"] for one in found]
    pairs = zip(accepted, found, strict=True)
    right = sum(count * (one["accuracy_of_accepted"] or 0) for count, one in pairs)
    return {
        "false_alarm_rate_asked": rows[0]["calibration"]["false_alarm_rate"],
        "coverage": float(accepted.sum() / clips.sum()),
        "accuracy_of_accepted": float(right / accepted.sum()) if accepted.any() else None,
        "confusion_matrix": _sum_decisions(found),
        "negatives_accepted": float(np.mean([one["negatives_accepted"] for one in found])),
        "auroc_negatives": float(np.mean([one["auroc_negatives"] for one in found])),
    }


def _sum_decisions(found: Rows) -> list[list[int]] | None:
    """Return the confusion of all decisions; None where a run of an earlier version lacks it."""
    matrices = [one["confusion_matrix"] for one in found if one.get("confusion_matrix")]
    if len(matrices) < len(found):
        return None
    total: list[list[int]] = np.sum(matrices, axis=0).tolist()
    return total


def _recorded_negatives(rows: Rows) -> dict[str, float] | None:
    """Sum up how the recorded clips of no class fared in the runs that met some."""
    found = [row["recorded_negatives"] for row in rows if row["recorded_negatives"]]
    if not found:
        return None
    clips = np.array([one["clips"] for one in found])
    accepted = clips @ np.array([one["accepted"] for one in found])
    return {
        "clips": int(clips.sum()),
        "accepted": float(accepted / clips.sum()),
        "auroc": float(np.mean([one["auroc"] for one in found])),
    }


def headline(summary: Mapping[str, Any]) -> str:
    """Say the mean accuracy and its spread in one line."""
    spread = summary["spread_over_seeds"]
    shown = f"{summary['dataset']}, recipe {summary['recipe']}: {100 * summary['accuracy']:.2f} %"
    if spread is None:
        return shown
    return f"{shown} ± {100 * spread:.2f} over {len(summary['seeds'])} seeds"


def seconds_trained(training: Mapping[str, Any], *, shared: bool) -> float:
    """Return what a run took to train, its first run with clips held out included.

    Args:
        training: the record of the run.
        shared: the first run was made by another run, and is counted there.
    """
    first = training["validated"]
    return float(training["seconds"] + (first["seconds"] if first and not shared else 0))


def _seconds(summary: Mapping[str, Any]) -> str:
    first = summary["seconds_per_first_run"]
    shown = f"{summary['seconds_per_run']:.0f} s of training a run"
    return f"{shown}, and {first:.0f} s for the first run of each fold" if first else shown


def table(summary: Mapping[str, Any]) -> list[str]:
    """Lay out the accuracy by seed and fold in Markdown."""
    head = " | ".join(f"fold {name}" for name in summary["folds"])
    lines = [f"| seed | {head} | mean |", "|---" * (len(summary["folds"]) + 2) + "|"]
    for seed, cells in zip(summary["seeds"], summary["accuracy_by_seed_and_fold"], strict=True):
        shown = " | ".join(f"{100 * cell:.2f}" for cell in cells)
        lines.append(f"| {seed} | {shown} | **{100 * np.mean(cells):.2f}** |")
    return lines


def leak_line(summary: Mapping[str, Any]) -> str:
    """Say the accuracy without the clips that leak between published folds; empty without any."""
    leaks = summary.get("without_leaks")
    if not leaks:
        return ""
    return (
        f"The published folds leak: {len(leaks['left_out'])} test clips are of source recordings "
        f"that also stand in training folds. Without them accuracy is "
        f"{100 * leaks['accuracy']:.2f} %."
    )


def baseline_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say what plain baselines reach on the same folds, see `describe_baselines`."""
    found = summary.get("baselines")
    if not found:
        return []
    means = {name: baseline["accuracy"] for name, baseline in found.items()}
    return describe_baselines(summary["accuracy"], means)


def league_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say which league the figures belong to, see `describe_league`."""
    return describe_league(summary["league"])


def markdown(summary: Mapping[str, Any], stem: str, chosen_how: str) -> str:
    """Lay out a whole summary in Markdown; the pictures are `STEM-confusion.png` and so on."""
    lines = [
        f"# {headline(summary)}",
        "",
        "Mean accuracy over the folds of models trained on the other folds. Each run "
        f"scored its test fold once, at its end. {chosen_how}",
        "",
        *table(summary),
        "",
        *([leaks, ""] if (leaks := leak_line(summary)) else []),
        *([" ".join(lines), ""] if (lines := baseline_lines(summary)) else []),
        " ".join(league_lines(summary)),
        "",
    ]
    if summary["spread_over_runs"] is not None:
        lines += [
            f"Standard deviation over all {len(summary['runs'])} runs: "
            f"{100 * summary['spread_over_runs']:.2f} points.",
            "",
        ]
    if summary["synthetic"]:
        lines += ["These clips are synthetic; the figures say nothing about real recordings.", ""]
    lines += ["| class | precision % | recall % | F1 % | clips |", "|---|---|---|---|---|"]
    for name, row in summary["per_class"].items():
        lines.append(
            f"| {name} | {100 * row['precision']:.1f} | {100 * row['recall']:.1f} | "
            f"{100 * row['f1']:.1f} | {row['support']} |"
        )
    calibration = summary["calibration"]
    lines += [
        "",
        f"![Confusion matrix over all folds and seeds]({stem}-confusion.png)",
        "",
        "## Scores",
        "",
        f"Expected calibration error {100 * calibration['expected_calibration_error']:.1f} % "
        f"({100 * calibration['uncalibrated_error']:.1f} % before the temperature, which lay "
        f"between {min(calibration['temperatures']):.2f} and "
        f"{max(calibration['temperatures']):.2f}; it is fitted on validation clips).",
        "",
        f"![Reliability]({stem}-reliability.png)",
        "",
    ]
    if rejected := summary["none_of_these"]:
        right = rejected["accuracy_of_accepted"]
        shown = "" if right is None else f", of which {100 * right:.1f} % rightly"
        lines += [
            "Thresholds are set on validation clips and generated negatives for a false-alarm "
            f"rate of {100 * rejected['false_alarm_rate_asked']:.0f} %. On the test folds "
            f"{100 * rejected['coverage']:.1f} % of the clips are accepted{shown}; the others "
            "come out as none of these. Of generated negatives "
            f"{100 * rejected['negatives_accepted']:.1f} % are accepted (AUROC of the highest "
            f"score {rejected['auroc_negatives']:.3f}).",
            "",
        ]
    if negatives := summary["recorded_negatives"]:
        lines += [
            f"Of the recorded clips of no class {100 * negatives['accepted']:.1f} % are accepted "
            f"as a class ({negatives['clips']} tests; AUROC of the highest score "
            f"{negatives['auroc']:.3f}). They have no part in the accuracy.",
            "",
        ]
    if summary["left_out"]:
        lines += [
            "With classes left out of training in turn: known clips are those of the test fold, "
            "unknown ones all clips of the classes left out. These models were trained without the "
            "validation clips.",
            "",
            "| left out | AUROC | known accepted % | unknown accepted % | accuracy on known % |",
            "|---|---|---|---|---|",
        ]
        for row in summary["left_out"]:
            lines.append(
                f"| {', '.join(row['left_out'])} | {row['auroc']:.3f} | "
                f"{100 * row['known_accepted']:.1f} | {100 * row['unknown_accepted']:.1f} | "
                f"{100 * row['accuracy']:.1f} |"
            )
        mean = np.mean([row["auroc"] for row in summary["left_out"]])
        lines += ["", f"Mean AUROC {mean:.3f}.", ""]
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    lines += [
        "## How",
        "",
        f"- command: `{summary['command']}`",
        f"- {summary['parameters']:,} parameters; {_seconds(summary)}",
        f"- machine: {summary['machine']}",
        f"- commit: {summary['commit'] or 'unknown'}; {summary['created']}",
        f"- versions: {versions}",
    ]
    return "\n".join(lines) + "\n"


def refuse_results_of_other_data(path: Path, fingerprint: str) -> None:
    """Refuse to replace the figures of another dataset.

    Raises:
        RunError: `path` is a summary of other data.
    """
    try:
        before = read_json(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        before = None
    before = before if isinstance(before, dict) else {}
    if before.get("fingerprint") != fingerprint:
        what = before.get("dataset", "something else")
        raise RunError(
            f"{path}: holds the figures of {what}, other data than these; "
            "use another --out or --name"
        )


def write_summary(out: Path, stem: str, summary: dict[str, Any], chosen_how: str) -> list[Path]:
    """Write `STEM.json`, `STEM.md` and the two pictures into a folder; return the paths."""
    paths = [out / f"{stem}{end}" for end in (".json", ".md", "-confusion.png", "-reliability.png")]
    title = headline(summary)
    draw_confusion(paths[2], *decision_matrix(summary), title)
    draw_reliability(paths[3], summary["calibration"]["reliability"], title)
    write_text(paths[1], markdown(summary, stem, chosen_how))
    write_json(paths[0], summary)
    return paths
