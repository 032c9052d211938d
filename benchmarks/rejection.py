"""What a model answers to sounds of no class: silence, tones, white noise, spoken sentences.

    python benchmarks/rejection.py --out docs/results/rejection

Generated sounds at several levels and sample rates; and by espeak-ng, which must be installed,
sentences in ten languages and single English words, in four voices, creaking and whispered, at
three speeds. Everything that is not none of these is listed with its score.
"""

from __future__ import annotations

import argparse
import io
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark import Classifier
from earmark.io.files import write_json, write_text
from earmark.provenance import how

SAMPLE_RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3)
TONES_HZ = (50, 100, 440, 1000, 3000)
SENTENCES = {
    "en": "The meeting starts at nine, and the train takes a quarter of an hour.",
    "de": "Guten Morgen, das ist ein Satz, den niemand als Hund hören soll.",
    "fr": "Bonjour, ceci est une phrase tout à fait ordinaire, n'est-ce pas?",
    "es": "Buenos días, esta es una frase corriente de la tarde.",
    "it": "Buongiorno, questa frase non contiene nessun cane.",
    "ru": "Доброе утро, это обычное предложение.",
    "nl": "Goedemorgen, dit is een gewone zin zonder honden.",
    "sv": "God morgon, det här är en vanlig mening.",
    "pl": "Dzień dobry, to jest zwykłe zdanie, proszę pana.",
    "cmn": "你好,今天天气很好。",
}
WORDS = {"en": "Stop. Yes. No. Hello? Sit!"}
KINDS = {"sentence": SENTENCES, "single words": WORDS}
VOICES = ("", "+f2", "+f5", "+m3", "+croak", "+whisper")
SPEEDS = (120, 175, 260)

Sound = tuple[str, str, NDArray[np.float32], int]  # kind, what exactly, samples, rate


def generated() -> Iterator[Sound]:
    """Yield silence, tones and white noise of five seconds."""
    for sample_rate in SAMPLE_RATES:
        time_s = np.arange(5 * sample_rate) / sample_rate
        yield "silence", f"{sample_rate} Hz", np.zeros(len(time_s), np.float32), sample_rate
        for level in LEVELS:
            noise = np.random.default_rng(sample_rate).standard_normal(len(time_s))
            what = f"{level} at {sample_rate} Hz"
            yield "white noise", what, (level * noise).astype(np.float32), sample_rate
            for tone_hz in TONES_HZ:
                tone = level * np.sin(2 * np.pi * tone_hz * time_s)
                yield "tone", f"{tone_hz} Hz, {what}", tone.astype(np.float32), sample_rate


def spoken() -> Iterator[Sound]:
    """Yield sentences and single words by espeak-ng."""
    texts = [(kind, *item) for kind, said in KINDS.items() for item in said.items()]
    for (kind, language, text), voice, speed in itertools.product(texts, VOICES, SPEEDS):
        command = ["espeak-ng", "-v", language + voice, "-s", str(speed), "--stdout", text]
        done = subprocess.run(command, check=True, capture_output=True)
        samples, sample_rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        yield kind, f"{language}{voice}, speed {speed}", samples, sample_rate


def main() -> None:
    """Ask the model about every sound, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="model directory or ONNX file (the bundled model)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/rejection"))
    args = parser.parse_args()
    classifier = Classifier.load(args.model) if args.model else Classifier.load()
    rows: list[dict[str, Any]] = []
    for sounds in (generated(), spoken()):
        for kind, what, samples, sample_rate in sounds:
            answer = classifier.predict_samples(samples, sample_rate)
            rows.append(
                {
                    "kind": kind,
                    "sound": what,
                    "label": answer.label,
                    "score": round(answer.score or 0.0, 4),
                    "named": answer.accepted,
                }
            )
    lines = [
        "# What comes out as none of these",
        "",
        *" ".join(__doc__.splitlines()[4:]).strip().splitlines(),
        "",
        f"Model: {args.model or 'the bundled one'}, fingerprint `{classifier.info.fingerprint}`.",
        "",
        "| sound | sounds | none of these |",
        "|---|---|---|",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        those = [row["named"] for row in rows if row["kind"] == kind]
        lines.append(f"| {kind} | {len(those)} | {len(those) - sum(those)} |")
    lines += ["", "| named all the same | as | score |", "|---|---|---|"]
    lines += [
        f"| {row['kind']}, {row['sound']} | {row['label']} | {row['score']:.2f} |"
        for row in rows
        if row["named"]
    ]
    command = "python benchmarks/rejection.py" + (f" --model {args.model}" if args.model else "")
    lines += ["", *how(command)]
    summary = {"fingerprint": classifier.info.fingerprint, "rows": rows}
    write_json(args.out.with_suffix(".json"), summary)
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines[6:]))


if __name__ == "__main__":
    main()
