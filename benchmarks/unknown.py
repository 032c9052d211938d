"""What the models of the package answer to real recordings of sounds of no class.

    git clone https://github.com/Tonejs/audio
    python benchmarks/unknown.py audio/berklee --out docs/results/unknown

The sounds are those that `benchmarks/unknown_sounds.txt` names: tools, toys, instruments, voices,
kitchenware, chosen by name before any model was asked, one of each kind. No model of the package
was trained on any of them. Each is scored as one clip, as `earmark predict` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from earmark import Classifier
from earmark.io.files import write_json, write_text
from earmark.provenance import how

LIST = Path(__file__).with_name("unknown_sounds.txt")
MODELS = ("esc10", "base")


def main() -> None:
    """Ask the models about every sound, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the recordings")
    parser.add_argument("--models", nargs="+", default=MODELS, help="models to ask")
    parser.add_argument("--out", type=Path, default=Path("docs/results/unknown"))
    args = parser.parse_args()
    lines = LIST.read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if not line.startswith("#")]
    models = {name: Classifier.load(name) for name in args.models}
    answers = {
        name: [model.predict(args.folder / f"{sound}.mp3") for sound in names]
        for name, model in models.items()
    }
    page = [
        "# Real sounds of no class",
        "",
        *" ".join(__doc__.splitlines()[5:]).strip().splitlines(),
        "",
        "The recordings are of the OLPC Berklee sound library (http://wiki.laptop.org/go/Sound_samples),",
        "licence CC BY 3.0, as they lie in https://github.com/Tonejs/audio, folder `berklee`.",
        "",
        "| model | fingerprint | sounds | none of these | accepted with a score of 0.9 or more |",
        "|---|---|---|---|---|",
    ]
    for name, given in answers.items():
        none = sum(not answer.accepted for answer in given)
        sure = sum((answer.score or 0.0) >= 0.9 for answer in given)
        page.append(
            f"| {name} | `{models[name].info.fingerprint[:16]}` | {len(given)} | {none} | {sure} |"
        )
    page += ["", "| sound | " + " | ".join(answers) + " |", "|---|" + "---|" * len(answers)]
    for number, sound in enumerate(names):
        cells = []
        for given in answers.values():
            answer = given[number]
            cells.append(f"**{answer.label}** {answer.score:.2f}" if answer.accepted else "-")
        page.append(f"| {sound} | " + " | ".join(cells) + " |")
    page += ["", *how("python benchmarks/unknown.py audio/berklee --out docs/results/unknown")]
    summary = {
        name: {
            "fingerprint": models[name].info.fingerprint,
            "none": sum(not answer.accepted for answer in given),
            "labels": {sound: a.label for sound, a in zip(names, given, strict=True)},
        }
        for name, given in answers.items()
    }
    write_json(args.out.with_suffix(".json"), summary)
    write_text(args.out.with_suffix(".md"), "\n".join(page) + "\n")
    print("\n".join(page[7:11]))


if __name__ == "__main__":
    main()
