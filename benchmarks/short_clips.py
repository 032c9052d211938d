"""What the model `base` says of real sounds that are over in less than a second.

    python benchmarks/short_clips.py path/to/ESC-50 --out docs/results/short

Clips of ESC-50 are cut to their loudest part, and scored as `earmark predict` scores a file. They
are those clips that the model was not trained on, for their licence is not free enough. A model
says in its front end up to which length a shorter clip is followed by silence
(`min_clip_seconds`); here several lengths are tried.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark import Classifier, bundled
from earmark.data.readers import Clip, read_dataset
from earmark.io import decode
from earmark.io.files import write_json, write_text
from earmark.provenance import how

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 5.0)  # seconds of a clip that are left
FILLED = (0.0, 0.96, 1.28, 1.6, 1.92, 2.56)  # seconds, in steps of the model
Cut = tuple[str, NDArray[np.float32]]


def loudest(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Return the part of so many samples that has the most energy."""
    if len(samples) <= length:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


def count(classifier: Classifier, cuts: Sequence[Cut], filled: float) -> dict[str, float]:
    """Return shares of the clips in percent: named rightly, named wrongly, of no class.

    Args:
        classifier: the model.
        cuts: the class of each clip, and its samples at the model's rate.
        filled: seconds up to which shorter clips are filled with silence.
    """
    info = classifier.engine.info
    front_end = dataclasses.replace(info.front_end, min_clip_seconds=filled)
    classifier.engine.info = dataclasses.replace(info, front_end=front_end)
    answers = classifier.predict((samples, classifier.sample_rate) for _, samples in cuts)
    accepted = [answer.accepted for answer in answers]
    right = [answer.label == label for answer, (label, _) in zip(answers, cuts, strict=True)]
    return {
        "right": 100 * float(np.mean(right)),
        "wrong": 100 * float(np.mean(accepted) - np.mean(right)),
        "none": 100 * (1 - float(np.mean(accepted))),
    }


def not_trained_on(folder: Path) -> list[Clip]:
    """Return the clips of ESC-50 that the model was not trained on."""
    attribution = bundled.FOLDERS[bundled.BASE] / "ATTRIBUTION.txt"
    known = {line.split(":")[0] for line in attribution.read_text(encoding="utf-8").splitlines()}
    return [clip for clip in read_dataset(folder).clips if clip.path.name not in known]


def main() -> None:
    """Cut, score, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/short"))
    args = parser.parse_args()
    classifier = Classifier.load(bundled.BASE)
    own, rate = classifier.info.front_end.min_clip_seconds, classifier.sample_rate
    clips = not_trained_on(args.esc50)
    whole = [(str(clip.label), decode.read(clip.path, rate)) for clip in clips]
    page = [
        "# Short clips",
        "",
        *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
        "",
        f"{len(clips)} clips. In each cell: named rightly / wrongly, in percent; the others are "
        "`none of these`.",
        "",
        "| filled up to | " + " | ".join(f"{length:g} s left" for length in LENGTHS) + " |",
        "|---|" + "---|" * len(LENGTHS),
    ]
    found = {}
    for filled in FILLED:
        cells = []
        for length in LENGTHS:
            cuts = [(label, loudest(samples, round(length * rate))) for label, samples in whole]
            shares = found[f"{filled:g} {length:g}"] = count(classifier, cuts, filled)
            cells.append(f"{shares['right']:.0f} / {shares['wrong']:.0f}")
        title = f"**{filled:g} s**, the model's own" if filled == own else f"{filled:g} s"
        page.append(f"| {title} | " + " | ".join(cells) + " |")
        print(page[-1], flush=True)
    page += ["", *how("python benchmarks/short_clips.py path/to/ESC-50 --out docs/results/short")]
    write_json(args.out.with_suffix(".json"), found)
    write_text(args.out.with_suffix(".md"), "\n".join(page) + "\n")


if __name__ == "__main__":
    main()
