"""The documented door to the network: `from models import LSTMClassifier`.

The folder `models/` that training writes has no `__init__.py`, so this module is found before it.
"""

import sys
from pathlib import Path

try:
    from earmark.nn.classifier import LSTMClassifier
except ModuleNotFoundError as error:
    if error.name != "earmark":
        raise
    sys.path.append(str(Path(__file__).resolve().parent / "src"))
    from earmark.nn.classifier import LSTMClassifier

__all__ = ["LSTMClassifier"]
