"""Where the model that comes with Earmark lies: as a model directory and as one ONNX file.

`MODEL_CARD.md` beside it says what it knows and how well, `ATTRIBUTION.txt` whose recordings it
was trained on.
"""

from pathlib import Path

BUNDLED = "bundled"  # the word that names this model on the command line
DIRECTORY = Path(__file__).resolve().parent
ONNX_FILE = DIRECTORY / "model.onnx"
