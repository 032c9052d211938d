"""A training of a person's own sounds, in a process of its own.

    python -m earmark.serve.training_process TABLE OUT [--recipe NAME] [--old MODEL]

Cross-validates, trains on all clips, writes OUT/model.onnx and OUT/report.json, and says what it
does as JSON lines on standard output: `{"stage": "cross-validation", "done": 0.4}`. A fault is one
line, `{"error": "..."}`. The server needs no torch for this, and lives on when this is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earmark.decision.policy import NONE
from earmark.errors import EarmarkError
from earmark.io.files import write_json
from earmark.serve.sounds import BACKGROUND, ONNX, REPORT, SoundsFolder

MOST_FOLDS = 5
LEAST_CLASSES = 2
LEAST_RECORDINGS = 3  # of each class: to train on, to hold out, to test on
_LOOK_SECONDS = 0.5


def main(words: list[str] | None = None) -> int:
    """Train; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--old", help="the model that is used now, to say what changes")
    args = parser.parse_args(words)
    try:
        train(args.table, args.out, args.recipe, args.old)
    except ModuleNotFoundError as error:
        name = (error.name or str(error)).split(".")[0]
        say({"error": f"training needs {name}, which is missing: pip install 'earmark[train]'"})
        return 1
    except (EarmarkError, OSError) as error:
        say({"error": " ".join(str(error).split())})
        return 1
    return 0


def train(table: Path, out: Path, recipe: str, old: str | None) -> None:
    """Cross-validate, train and export.

    Raises:
        EarmarkError: there are too few clips, or some cannot be read.
        OSError: `out` cannot be written.
    """
    import earmark
    from earmark.export import export
    from earmark.model_directory import load_model

    sounds = SoundsFolder(table.parent)
    folds = count_folds(sounds)
    runs, run = out / "folds", out / "run"
    with watched(runs, folds):
        figures = earmark.cross_validate(table, recipe, folds=folds, out=runs)
    say({"stage": "training", "done": 0.0})
    classifier = earmark.train(table, recipe, out=run)
    say({"stage": "checking", "done": 0.0})
    export(load_model(run), out / ONNX, None)
    report = {
        "recipe": recipe,
        "folds": folds,
        "classes": list(classifier.classes),
        "clips": sounds.counts,
        "accuracy": figures.get("accuracy"),
        "per_class": figures.get("per_class"),
        "changed": compare(sounds, earmark.load(old), classifier) if old else [],
    }
    write_json(out / REPORT, json.loads(json.dumps(report, default=str)))
    shutil.rmtree(runs, ignore_errors=True)
    say({"stage": "done", "done": 1.0})


def count_folds(sounds: SoundsFolder) -> int:
    """Return how many folds every class can fill.

    Raises:
        EarmarkError: there are too few classes, or too few recordings of one.
    """
    groups: dict[str, set[str]] = {}
    for row in sounds.rows:
        groups.setdefault(row.label, set()).add(row.group)
    classes = {label: len(names) for label, names in groups.items() if label != BACKGROUND}
    if len(classes) < LEAST_CLASSES:
        so_far = f"only {next(iter(classes))} has" if classes else "no class has"
        raise EarmarkError(
            f"{so_far} clips so far; at least {LEAST_CLASSES} classes are needed: "
            f"name {'another' if classes else 'one'} and record it"
        )
    least = min(classes, key=lambda label: classes[label])
    if classes[least] < LEAST_RECORDINGS:
        raise EarmarkError(
            f"{least}: {LEAST_RECORDINGS} recordings of each class are needed at least, and it has "
            f"{classes[least]}; record it again"
        )
    return min(MOST_FOLDS, classes[least])


def compare(sounds: SoundsFolder, old: Any, new: Any) -> list[dict[str, Any]]:
    """Say what the old and the new model call the clips, by label; these trained the new one."""
    rows = []
    for label in sounds.counts:
        clips = sounds.of_label(label)
        right = NONE if label == BACKGROUND else label
        before = Counter(one.label for one in old.predict(clips))
        after = Counter(one.label for one in new.predict(clips))
        rows.append(
            {
                "label": label,
                "clips": len(clips),
                "before": before[right],
                "after": after[right],
                "was_called": before.most_common(1)[0][0],
            }
        )
    return rows


@contextlib.contextmanager
def watched(runs: Path, folds: int) -> Iterator[None]:
    """Within, say how many folds are finished."""
    over = threading.Event()

    def look() -> None:
        said = -1
        while not over.wait(_LOOK_SECONDS):
            done = len(list(runs.glob("fold-*/results.json")))
            if done != said:
                said = done
                say({"stage": "cross-validation", "done": round(done / folds, 3)})

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def say(message: dict[str, Any]) -> None:
    """Write a line at once."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
