"""Pictures are whole PNG files of a sensible size, for few and for many classes."""

import numpy as np
import pytest
from matplotlib import image

from earmark.evaluation.pictures import (
    draw_confusion,
    draw_curves,
    draw_events,
    draw_reliability,
)

pytestmark = pytest.mark.draws


@pytest.mark.parametrize("count", [2, 10, 60])
def test_confusion_matrices_have_ink_on_the_diagonal(tmp_path, count):
    names = [f"class {number}" for number in range(count)]
    matrix = [[5 * (row == column) for column in range(count)] for row in range(count)]
    draw_confusion(tmp_path / "c.png", matrix, names, "a title")
    pixels = image.imread(tmp_path / "c.png")[..., :3]
    assert min(pixels.shape[:2]) > 300
    dark_blue = (pixels[..., 2] > 0.3) & (pixels[..., 0] < 0.2)
    assert dark_blue.mean() > 0.25 / count


def test_a_thousand_classes_fit_a_picture(tmp_path):
    matrix = np.eye(1000, dtype=int).tolist()
    names = [f"class {number}" for number in range(1000)]
    draw_confusion(tmp_path / "c.png", matrix, names, "a title")
    assert 1000 < max(image.imread(tmp_path / "c.png").shape) < 4000


def test_reliability_is_drawn_for_one_range_and_for_many(tmp_path):
    rows = [{"clips": 3, "score": s, "accuracy": s * 0.9} for s in (0.15, 0.55, 0.95)]
    for some in (rows[:1], rows):
        draw_reliability(tmp_path / "r.png", some, "a title")
        assert image.imread(tmp_path / "r.png").shape[0] > 400


def test_curves_of_one_epoch_and_of_many(tmp_path):
    row = {
        **{"train_loss": 1.0, "validation_loss": 1.1, "train_accuracy": 0.5},
        **{"validation_accuracy": 0.4},
    }
    for epochs in (1, 30):
        history = [{"epoch": epoch + 1, **row} for epoch in range(epochs)]
        draw_curves(tmp_path / "c.png", history, 1, "a title")
        assert image.imread(tmp_path / "c.png").shape[1] > 800


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    draw_confusion(tmp_path / "c.png", [[1, 0], [0, 1]], ["$_$", "b$ $"], "my$^$")
    row = {"train_loss": 1.0, "train_accuracy": 0.5}
    history = [{"epoch": 1, "validation_loss": None, "validation_accuracy": None, **row}]
    draw_curves(tmp_path / "t.png", history, 1, "my$^$")
    draw_reliability(tmp_path / "r.png", [{"clips": 3, "score": 0.5, "accuracy": 0.5}], "my$^$")
    events = {"$_$": [(0.0, 1.0, "$_$")]}
    frames, scores = np.zeros((10, 4), np.float32), np.zeros((5, 1), np.float32)
    draw_events(tmp_path / "e.png", frames, scores, 2.0, ["$_$"], events, "my$^$")
    assert len(list(tmp_path.glob("*.png"))) == 4
