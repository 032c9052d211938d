"""Check the teacher against its reference outputs on all 2000 clips of ESC-50.

    python -m tools.check_teacher path/to/ESC-50 path/to/teachers

The folder of the teachers holds `mn04_as_mAP_432.pt` and `mn04_as_on_esc50.npz`: names of the clips
(`files`), `embedding` and `score` of each, in float16. Fails where one differs by more than 1e-2.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tools.base_bank import read_clip, read_table
from tools.teacher import LogMel, load_teacher

WEIGHTS = "mn04_as_mAP_432.pt"
REFERENCE = "mn04_as_on_esc50.npz"
TOLERANCE = 1e-2


def measure_differences(esc50: Path, teachers: Path, count: int) -> tuple[float, float]:
    """Return the largest differences of an embedding and of a score.

    Args:
        esc50: folder of ESC-50 with its table.
        teachers: folder of the weights and the reference.
        count: the first clips of the table that are compared.
    """
    with np.load(teachers / REFERENCE) as file:
        reference = {name: file[name] for name in ("files", "embedding", "score")}
    # Folders are numbered otherwise in the reference; the files' own names are unique.
    places = {Path(str(name)).name: number for number, name in enumerate(reference["files"])}
    teacher, front_end = load_teacher(teachers / WEIGHTS), LogMel()
    largest = np.zeros(2)
    with torch.inference_mode():
        for row in read_table(esc50)[:count]:
            number = places[Path(row["path"]).name]
            samples = torch.from_numpy(read_clip(esc50 / row["path"]))
            embedding, logits = teacher(front_end(samples[None]))
            for kind, (name, ours) in enumerate(
                {"embedding": embedding, "score": logits.sigmoid()}.items()
            ):
                theirs = reference[name][number].astype(np.float32)
                largest[kind] = max(largest[kind], np.abs(ours[0].numpy() - theirs).max())
    return float(largest[0]), float(largest[1])


def main() -> int:
    """Compare, print, and return 1 where a difference is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("teachers", type=Path)
    parser.add_argument("--count", type=int, default=2000, help="clips to check (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    embedding, score = measure_differences(args.esc50, args.teachers, args.count)
    print(
        f"{args.count} clips in {time.perf_counter() - begun:.0f} s: largest difference of an "
        f"embedding {embedding:.2e}, of a score {score:.2e}"
    )
    return int(max(embedding, score) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
