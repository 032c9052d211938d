"""Figures as PNG files: confusion matrix, training curves, events."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earmark.io.files import write_bytes

_MOST_NAMED = 100  # classes
_plain = matplotlib.rc_context({"text.parse_math": False})  # a name may hold dollar signs


def _save(figure: Figure, path: Path) -> None:
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())


@_plain
def draw_confusion(
    path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str
) -> None:
    """Draw a confusion matrix; rows are true classes, shaded by share of the row.

    Counts are written for up to 50 classes, names for up to 100; more would not fit a picture.
    """
    counts = np.asarray(matrix)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    named = len(classes) <= _MOST_NAMED
    side = 2.6 + 0.48 * len(classes) if named else 14.0
    figure = Figure(figsize=(side, side * 0.92), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if named:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
    numbers = "" if named else ", number in class order"
    axes.set_xlabel(f"predicted{numbers}")
    axes.set_ylabel(f"true{numbers}")
    axes.set_title(title, fontsize=10)
    if len(classes) <= 50:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if share[row, column] > 0.6 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true class")
    _save(figure, path)


@_plain
def draw_curves(
    path: Path, history: Sequence[Mapping[str, Any]], best_epoch: int, title: str
) -> None:
    """Draw loss and accuracy over the epochs, and mark the epoch whose weights were kept."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(8.5, 3.4), dpi=130, layout="constrained")
    for axes, what, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy, nats", "share"), strict=True
    ):
        axes.plot(epochs, [row[f"train_{what}"] for row in history], label="training, augmented")
        if history[-1][f"validation_{what}"] is not None:
            validation = [row[f"validation_{what}"] for row in history]
            axes.plot(epochs, validation, label="validation, averaged")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(f"{what} ({unit})")
        axes.grid(alpha=0.3)
        if what == "accuracy":
            axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right", fontsize=8)
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


@_plain
def draw_reliability(path: Path, rows: Sequence[Mapping[str, float]], title: str) -> None:
    """Draw accuracy over score; the area of a point is the share of clips it stands for."""
    figure = Figure(figsize=(4.6, 4.4), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="a score that means its share")
    clips = np.array([row["clips"] for row in rows])
    score, accuracy = ([row[key] for row in rows] for key in ("score", "accuracy"))
    axes.plot(score, accuracy, color="tab:blue", alpha=0.5)
    axes.scatter(score, accuracy, s=20 + 400 * clips / clips.sum(), alpha=0.8, label="clips")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("score of the named class")
    axes.set_ylabel("share named rightly")
    axes.set_title(title, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    _save(figure, path)


@_plain
def draw_events(
    path: Path,
    frames: NDArray[np.float32],
    scores: NDArray[np.float32],
    seconds: float,
    classes: Sequence[str],
    rows: Mapping[str, Sequence[tuple[float, float, str]]],
    title: str,
) -> None:
    """Draw some time of a recording: mel frames, scores, and rows of events below each other.

    Args:
        path: the PNG file.
        frames: log-mel frames `(frames, mels)` of the whole time.
        scores: `(steps, classes)` of the whole time.
        seconds: how long that is.
        classes: class names, in the order of the scores.
        rows: what each row is called and its events, each (onset, offset, label), in seconds.
        title: over the picture.
    """
    figure = Figure(figsize=(12, 7), dpi=130, layout="constrained")
    mel, score, events = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 0.6 + len(rows)])
    extent = (0.0, seconds, 0.0, float(frames.shape[1]))
    mel.imshow(frames.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
    mel.set_ylabel("mel band")
    colours = {label: f"C{number % 10}" for number, label in enumerate(classes)}
    at = (np.arange(len(scores)) + 1) * seconds / len(scores)
    for number, label in enumerate(classes):
        score.plot(at, scores[:, number], color=colours[label], label=label, linewidth=1.2)
    score.set_ylim(0, 1.02)
    score.set_ylabel("score")
    score.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=8)
    for height, listed in enumerate(rows.values()):
        for onset, offset, label in listed:
            onset, offset = max(0.0, onset), min(seconds, offset)
            events.barh(height, offset - onset, 0.7, onset, color=colours[label], alpha=0.8)
            events.text(onset, height, f" {label}", va="center", fontsize=7, clip_on=True)
    events.set_yticks(range(len(rows)), list(rows))
    events.invert_yaxis()
    events.set_xlim(0, seconds)
    events.set_xlabel("seconds")
    for axes in (score, events):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    _save(figure, path)
