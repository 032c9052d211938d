"""Model card and attribution of the model `base`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tools.base_bank import FREE, read_table

_AUDIO = Path(__file__).with_name("base_audio.txt")
_CREDIT = re.compile(r"- \[(.+?)\]:\s+clip derived from (.+) \((http.+?)\) by (.+) \[(.+?)\]")
_MISSPELT = {"5-141683-Ad.ogg": "5-141683-A.ogg"}  # in ESC-50's own list
_FREE_CLIPS = 1770
_HEAD = """\
The model in this folder was trained on those 1770 clips of ESC-50 (Karol J. Piczak, 2015,
https://dx.doi.org/10.7910/DVN/YDEPUT) that are under CC0 or Creative Commons Attribution 3.0,
https://creativecommons.org/licenses/by/3.0/, and on the other recordings named further below. The
clips were cut from these recordings on Freesound and reconverted; here they only trained weights,
and none is contained.

"""
_TEACHER = """
The weights began from EfficientAT mn04_as (https://github.com/fschmid56/EfficientAT), trained on
AudioSet; its licence:

MIT License

Copyright (c) 2022 Florian Schmid

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def attribution(esc50: Path) -> str:
    """Return one line for each recording that trained the weights, and the teacher's licence.

    Args:
        esc50: folder of ESC-50, with `README.txt`, its list of sources.
    """
    lines = (esc50 / "README.txt").read_text(encoding="utf-8").splitlines()
    found = [match.groups() for line in lines if (match := _CREDIT.fullmatch(line.strip()))]
    credits = {_MISSPELT.get(row[0], row[0]): row for row in found}
    used = [row for row in read_table(esc50) if row["licence"] in FREE]
    named = []
    for row in used:
        clip = Path(row["path"]).name
        if clip not in credits or credits[clip][4] != row["licence"]:
            raise SystemExit(f"{esc50 / 'README.txt'}: does not name {clip} under its licence")
        _, title, url, author, licence = credits[clip]
        named.append(f"{clip}: {title}, by {author}, {licence}, {url}\n")
    if len(named) != _FREE_CLIPS:
        raise SystemExit(f"{esc50}: has {len(named)} clips under CC0 or CC BY, not {_FREE_CLIPS}")
    return _HEAD + "".join(named) + "\n" + _AUDIO.read_text(encoding="utf-8") + _TEACHER


def latency_ms(model: dict[str, Any]) -> int:
    """Return by how many milliseconds the blocks of a model hold back what they add, in all."""
    front_end = model["front_end"]
    frames, late = 2, 0  # the stem strides 2
    for *_, stride, _, _, delay in model["model"]["network"]["blocks"]:
        late += frames * delay
        frames *= stride
    return round(1000 * late * front_end["hop_length"] / front_end["sample_rate"])


def card(model: dict[str, Any], figures: dict[str, Any]) -> str:
    """Return the model card.

    Args:
        model: the content of `model.json`.
        figures: those of the folds' bases and heads, see `tools.base_folds.measure`.
    """
    epochs = ", ".join(f"{value:g}" for value in figures["epochs"])
    folds = ", ".join(f"{100 * value:.2f}" for value in figures["fold_accuracies"])
    versions = ", ".join(f"{name} {number}" for name, number in model["versions"].items())
    thresholds = model["calibration"]["thresholds"]
    rows = [
        f"| {name} | {100 * row['precision']:.1f} | {100 * row['recall']:.1f} | "
        f"{100 * row['accepted']:.1f} | {threshold:.2f} |"
        for (name, row), threshold in zip(figures["per_class"].items(), thresholds, strict=True)
    ]
    return f"""\
# Model card: base

Names fifty environmental sounds, with knowledge from AudioSet, and answers `none of these` to what
is unlike all of them. It looks back only, so the same weights score a clip, a file of a day and an
endless stream. `earmark predict` and `earmark.load()` take it where no other model is named;
`earmark train SOUNDS --init base` begins from its weights.

## What it is

- log-mel frames, eight blocks of a MobileNetV3 made causal, without squeeze-and-excitation, one
  LSTM layer added to their steps, the mean over the steps: 462,720 parameters; one linear layer:
  {50 * 385:,}; and a similarity: the largest cosine with the mean of a class, where the spread
  within classes is alike everywhere
- input: audio of any rate and channels, mixed to mono at 32000 Hz; 128 mel bands; a step is 320 ms,
  and what it says is {latency_ms(model)} ms late, which held-back inputs of blocks cost; a clip of
  less than 1.6 s is followed by silence up to that length
- output: a score for each class: its probability among the fifty, calibrated, times the probability
  by the similarity that the sound is of any of them. What the scores lack to 1 is that of none. And
  a threshold for each class: the median of those of the five folds, each from the 400 clips of its
  fold and 400 generated negatives: 5 % of these may pass, and 15 % of the clips as if their own
  class were none. Of each kind of generated negatives no class takes more than 2 %
- fingerprint `{model["fingerprint"]}`

## Where its knowledge comes from

The weights began from those of EfficientAT mn04_as (Schmid, Koutini, Widmer: Efficient Large-scale
Audio Tagging via Transformer-to-CNN Knowledge Distillation, ICASSP 2023, arXiv 2211.04772), a
network trained on AudioSet; MIT licence, (c) 2022 Florian Schmid, its text is in `ATTRIBUTION.txt`.
They were then taught, without labels, to give from the past alone what that network gives of whole
crops. The figures below are of the league "with a base that has its knowledge from AudioSet": they
do not compare with those of models that know ESC-10 or ESC-50 alone.

## Data

The 1770 clips of ESC-50 (Karol J. Piczak, 2015) that are under CC0 or CC BY, ten crops of each;
ten recordings of Blanket and samples of Sonic Pi, under CC0, CC BY or in the public domain; 256
generated sounds. `ATTRIBUTION.txt` names every source. The linear layer was taught on three crops
of each of the same clips by logistic regression on the teacher's embedding, and by 600 generated
negatives, whose target is every class alike. The means of the classes are those of the same clips.

## Figures

This model knows the clips of ESC-50, so its own accuracy on them says nothing. The figures are
those of five bases and heads, one of each fold, as `earmark predict` scores a clip: the base of a
fold met no clip of it and no other take of their sources, the head no clip of it. ESC-50, official
folds: **{100 * figures["accuracy"]:.2f} %** ({folds}); ESC-10's clips among the fifty classes
{100 * figures["esc10_among_fifty"]:.2f} %. One seed of each base, trained for {epochs} epochs,
and this one for {model["training"]["epochs"]:g}. What was chosen on which fold stands in
docs/results/distillation.md.

Calibrated by the other four folds, the five accept {100 * figures["coverage"]:.1f} % of the test
clips, {100 * figures["accuracy_of_accepted"]:.1f} % of these rightly, and
{100 * figures["negatives_accepted"]:.1f} % of other generated negatives. Of a fold's clips, as if
their own class were none (its mean left out, its score too), they accept
{100 * figures["others_accepted"]:.1f} %.

| class | precision % | recall % | accepted % | threshold here |
|---|---|---|---|---|
{chr(10).join(rows)}

## Limits

- Real sounds of no class still pass: docs/results/unknown.md has 117 of them, with the answers.
- A long stream of unrelated sounds without a pause costs accuracy: the LSTM remembers what was
  before (docs/results/distillation.md).
- Steady noise with little treble may be named wind (docs/results/lags.md).
- Five-second clips, mostly close and clean: expect less on distant, overlapping or reverberant
  sounds.
- Whether the teacher met recordings of ESC-50 in AudioSet is not known.
- Not for use where a missed or a false alarm does harm.

## How to rebuild it

See docs/results/distillation.md: its commands made these weights. Built {model["created"]} with
{versions}. The weights are under the MIT licence; keep `ATTRIBUTION.txt` with them.
"""
