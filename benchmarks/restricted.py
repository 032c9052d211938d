"""Measure what becomes of decisions when a model of fifty classes is restricted to some of them.

    python -m benchmarks.restricted path/to/ESC-50 --bank bank --bases bases

A head on the base of each fold, decided on as the other four folds say, scores the clips of its
fold, which neither has met, as the package's model does; `bank` and `bases` are those of
`tools.build_base`. Clips of the classes left out are sounds of no class then. Prints, for
the ten classes of ESC-10 and for random sets of classes, how many clips of the classes are named
rightly and wrongly, and how many of the other classes and of generated negatives get a name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tools.base_bank import Bank
from tools.base_folds import FOLDS, Decision, score_fold
from tools.base_heads import Clips

from earmark.decision.policy import NO_CLASS, Policy
from earmark.decision.restriction import restrict_scores

Scores = NDArray[np.float32]
Rule = Callable[[Scores, list[int]], Scores]
DRAWS = {1: 50, 3: 30, 10: 20, 25: 10, 40: 10}  # random sets of so many classes
LEAST = 0.5


def _divide_where_most(scores: Scores, places: list[int]) -> Scores:
    """Divide by the sum of the classes where they have half of the whole together."""
    kept = restrict_scores(scores, places)
    divided = restrict_scores(scores, places, closed_set=True)
    return np.where(kept.sum(-1, keepdims=True) >= LEAST, divided, kept)


RULES: dict[str, Rule] = {
    "open set: as they are": restrict_scores,
    "closed set: divided by their sum": lambda scores, places: restrict_scores(
        scores, places, closed_set=True
    ),
    "divided where the sum is half or more": _divide_where_most,
}


def main() -> None:
    """Score the folds once, then restrict and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esc50", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--bases", type=Path, required=True)
    args = parser.parse_args()
    clips = Clips(args.esc50)
    bank = Bank([args.bank])
    rows = [score_fold(clips, bank, args.bases, fold) for fold in FOLDS]
    decisions = [
        Decision.fit([other for other in rows if other is not row], row.negatives[0])
        for row in rows
    ]
    known = sorted(set(clips.label[clips.known].tolist()))
    sets = {"ESC-10's ten": [known]}
    for size, draws in DRAWS.items():
        drawn = [np.random.default_rng(seed).permutation(50)[:size] for seed in range(draws)]
        sets[f"{size}, {draws} draws"] = [sorted(places.tolist()) for places in drawn]
    print("| classes | scores | right | wrong | other classes named | negatives named |")
    print("|---|---|---|---|---|---|")
    for title, chosen in sets.items():
        for name, rule in RULES.items():
            counts = np.zeros((len(chosen), 4, 2))
            for number, places in enumerate(chosen):
                for row, decision in zip(rows, decisions, strict=True):
                    thresholds = decision.calibration.thresholds
                    policy = Policy([thresholds[place] for place in places])

                    def decide(
                        scores: Scores,
                        rule: Rule = rule,
                        places: list[int] = places,
                        policy: Policy = policy,
                    ) -> NDArray[np.int64]:
                        decided = policy.decide(rule(scores, places))
                        return np.where(decided == NO_CLASS, NO_CLASS, np.array(places)[decided])

                    inside = np.isin(row.labels, places)
                    found = decide(decision.scores(row.scores, row.cosine))
                    nothing = decide(decision.scores(*row.negatives[1]))
                    right, named = found == row.labels, found != NO_CLASS
                    counts[number] += [
                        (right[inside].sum(), inside.sum()),
                        ((named & ~right)[inside].sum(), inside.sum()),
                        (named[~inside].sum(), (~inside).sum()),
                        ((nothing != NO_CLASS).sum(), len(nothing)),
                    ]
            shares = 100 * (counts[..., 0] / counts[..., 1]).mean(axis=0)
            print(f"| {title} | {name} | " + " | ".join(f"{share:.1f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
