"""What labelling costs beside decoding and resampling alone, in processor time of one core.

Each clip is decoded alone and labelled right after, so that both meet the same load; the sums are
of processor time, which other work on the machine changes less than time on the clock.

    python benchmarks/archive_cost.py --clips 400
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from earmark.archive.guard import memory_used
from earmark.archive.plan import plan_sources
from earmark.archive.worker import Setup, label_file
from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.provenance import how
from earmark.runtime.session import file_chunks


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--models", nargs="+", default=["bundled", "base"])
    args = parser.parse_args()
    units = plan_sources([os.environ["EARMARK_ESC10"]]).units[: args.clips]
    print("# Labelling beside decoding\n")
    print("| model | audio, s | decode and resample, ms/s | label, ms/s | share | memory, MB |")
    print("|---|---|---|---|---|---|")
    for model in args.models:
        classifier = Classifier.load(model)
        setup = Setup(classifier, EventSettings())
        label_file(units[0], setup)  # opens the model
        decoded = labelled = seconds = 0.0
        for unit in units:
            begun = time.process_time()
            for _ in file_chunks(Path(unit.address), classifier.sample_rate, lambda _: None):
                pass
            middle = time.process_time()
            seconds += float(label_file(unit, setup).row["seconds"])
            decoded += middle - begun
            labelled += time.process_time() - middle
        print(
            f"| {model} | {seconds:.0f} | {1000 * decoded / seconds:.2f} | "
            f"{1000 * labelled / seconds:.2f} | {decoded / labelled:.2f} | "
            f"{memory_used() / 1e6:.0f} |"
        )
    print("\n".join(["", *how(" ".join(["python", *sys.argv]), cores=1)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
