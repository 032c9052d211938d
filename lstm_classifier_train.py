"""The documented door: train the LSTM classifier on one split. See --help."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
try:
    from earmark.cli import train_main
except ModuleNotFoundError as error:
    if error.name != "earmark":
        raise
    sys.path.append(str(ROOT / "src"))
    from earmark.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main(beside=ROOT))
