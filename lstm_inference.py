"""The documented door: evaluate a trained model or predict one audio file. See --help."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
try:
    from earmark.cli import inference_main
except ModuleNotFoundError as error:
    if error.name != "earmark":
        raise
    sys.path.append(str(ROOT / "src"))
    from earmark.cli import inference_main

if __name__ == "__main__":
    sys.exit(inference_main(beside=ROOT))
