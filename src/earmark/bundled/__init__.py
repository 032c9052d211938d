"""Where the models that come with Earmark lie: each a model directory that also holds an ONNX file.

`MODEL_CARD.md` in each says what it knows and how well, `ATTRIBUTION.txt` whose recordings it was
trained on. `bundled` is the one that is used where none is named; `base` knows fifty classes, and
other models may start from it.
"""

from __future__ import annotations

from pathlib import Path

BUNDLED = "bundled"  # the words that name these models, on the command line too
BASE = "base"
DIRECTORY = Path(__file__).resolve().parent
FOLDERS = {BUNDLED: DIRECTORY, BASE: DIRECTORY / BASE}
ONNX_NAME = "model.onnx"
ONNX_FILE = DIRECTORY / ONNX_NAME


def name_of(model: str | Path | None) -> str | None:
    """Return the word that names a model of the package; None where the model is a path.

    Args:
        model: a word, a path, or None for the bundled model. A folder called as a word is given
            as a path: `./base`.
    """
    if model is None:
        return BUNDLED
    return model if isinstance(model, str) and model in FOLDERS else None
