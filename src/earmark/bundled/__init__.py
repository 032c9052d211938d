"""Where the models that come with Earmark lie: each a model directory that also holds an ONNX file.

`MODEL_CARD.md` in each says what it knows and how well, `ATTRIBUTION.txt` whose recordings it was
trained on. `base` knows fifty classes and is used where none is named; other models may start from
it, and `bundled` is another name for it. `esc10` knows ten classes, from the clips of ESC-10 alone.
"""

from __future__ import annotations

from pathlib import Path

BASE, ESC10 = "base", "esc10"  # the words that name these models, on the command line too
BUNDLED = "bundled"  # the one that is used where none is named
DIRECTORY = Path(__file__).resolve().parent
FOLDERS = {name: DIRECTORY / name for name in (BASE, ESC10)}
ONNX_NAME = "model.onnx"
ONNX_FILE = FOLDERS[BASE] / ONNX_NAME


def name_of(model: str | Path | None) -> str | None:
    """Return the word that names a model of the package; None where the model is a path.

    Args:
        model: a word, a path, or None for the bundled model. A folder called as a word is given
            as a path: `./base`.
    """
    if model is None or model == BUNDLED:
        return BASE
    return model if isinstance(model, str) and model in FOLDERS else None
