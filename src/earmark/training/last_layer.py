"""The last layer of a network, fitted to features that are computed already.

Logistic regression with soft targets: no class is trained by negatives, whose target is every class
alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earmark.config import TrainingSettings
from earmark.data.folds import class_of_one_source, grouped_folds
from earmark.data.negatives import NO_CLASS
from earmark.nn.similarity import Similarity
from earmark.training.objective import class_weights
from earmark.training.similarity import (
    Whitening,
    build_similarity,
    class_means,
    fit_known,
    nearest_cosine,
)

_STEPS = 200  # most of the optimizer

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Layer:
    """A linear softmax layer: logistic regression with soft targets, on standardised features.

    Args:
        x: features, `(clips, features)`.
        targets: soft labels, `(clips, classes)`.
        weight: what each clip weighs, `(clips,)`.
        strength: C, the inverse of the regularisation.
        spread: mean and standard deviation of the features, by which they are standardised.
    """

    def __init__(
        self,
        x: Array,
        targets: Array,
        weight: Array,
        strength: float,
        spread: tuple[Array, Array],
    ) -> None:
        mean, scale = spread
        inputs, wanted = torch.from_numpy((x - mean) / scale), torch.from_numpy(targets)
        each = torch.from_numpy(weight)
        weights = inputs.new_zeros(x.shape[1], targets.shape[1]).requires_grad_()
        bias = inputs.new_zeros(targets.shape[1]).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weights, bias], max_iter=_STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
        )

        def cost() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(inputs @ weights + bias, wanted, reduction="none")
            total: Tensor = ((loss @ each) + weights.square().sum() / (2 * strength)) / each.sum()
            total.backward()
            return total

        optimizer.step(cost)
        found = weights.detach().numpy() / scale[:, None]
        self.weights: Array = found.T
        self.bias: Array = bias.detach().numpy() - mean @ found

    def probabilities(self, x: Array) -> NDArray[np.float32]:
        """Return `(clips, classes)` of features `(clips, features)`."""
        logits = x @ self.weights.T + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


class Lesson:
    """The features that a layer is fitted to, and how.

    Args:
        x: features of the training clips, `(clips, features)`.
        labels: their class numbers, `NO_CLASS` for recorded negatives, `(clips,)`.
        nothing: features of generated negatives, `(negatives, features)`.
        classes: number of classes.
        settings: the recipe.
    """

    def __init__(
        self, x: Array, labels: Labels, nothing: Array, classes: int, settings: TrainingSettings
    ) -> None:
        self.x, self.labels, self.nothing = x, labels, nothing
        self.classes, self.settings = classes, settings

    def fit(self, inside: NDArray[np.bool_]) -> Layer:
        """Return a layer fitted to some of the clips, and to all generated negatives.

        These weigh together what `negatives_probability` gives them among all.
        """
        x, labels, settings = self.x[inside], self.labels[inside], self.settings
        share = settings.negatives_probability
        targets = np.full((len(x), self.classes), 1 / self.classes)
        smooth = settings.label_smoothing
        of_class = labels != NO_CLASS
        targets[of_class] = smooth / self.classes
        targets[of_class, labels[of_class]] += 1 - smooth
        weights = class_weights(self.labels, self.classes, settings.balance).double().numpy()
        each = np.where(of_class, weights[labels], 1.0)
        spread = x.mean(0), x.std(0) + 1e-3 * x.std() + 1e-6
        if len(self.nothing):
            total = share / (1 - share) * len(x)
            x = np.concatenate([x, self.nothing])
            even = np.full((len(self.nothing), self.classes), 1 / self.classes)
            targets = np.concatenate([targets, even])
            each = np.concatenate([each, np.full(len(self.nothing), total / len(self.nothing))])
        return Layer(x, targets, each, settings.head_strength, spread)

    def hold_out(self, groups: Sequence[str]) -> Labels | None:
        """Return the fold of each clip, in which it is held out with all of its source recording.

        None where a class has a single source, which cannot be held out.

        Args:
            groups: the source recording of each clip.
        """
        labels, settings = self.labels, self.settings
        if class_of_one_source(labels, groups) is not None:
            return None
        largest = int(np.unique(labels, return_counts=True)[1].max())
        folds = min(round(1 / settings.validation_fraction), len(set(groups)), largest)
        return grouped_folds(labels, groups, max(2, folds), settings.seed)

    def score_held_out(self, numbers: Labels) -> NDArray[np.float32]:
        """Return the scores of every clip by a layer that was fitted without its fold."""
        scores = np.zeros((len(numbers), self.classes), np.float32)
        for number in np.unique(numbers):
            inside = numbers == number
            scores[inside] = self.fit(~inside).probabilities(self.x[inside])
        return scores

    def fit_similarity(self, numbers: Labels) -> tuple[Similarity, Array]:
        """Fit how near to the classes a sound must lie to be of one.

        Unknown are, in turn, the clips held out where the mean of their own class is left out,
        negatives held out, and generated ones.

        Args:
            numbers: the fold of each clip, from `hold_out`.

        Returns:
            The similarity, and of each clip, held out, how likely it is of some class, `(clips,)`.
        """
        of_class = self.labels != NO_CLASS
        nearest, nearest_other = np.zeros((2, len(self.x)))
        for number in np.unique(numbers):
            inside = numbers == number
            whitening, means = self._whiten(~inside & of_class)
            cosines = whitening(self.x[inside]) @ means.T
            own = self.labels[inside][:, None] == np.unique(self.labels[~inside & of_class])
            nearest[inside] = cosines.max(1)
            nearest_other[inside] = np.where(own, -1.0, cosines).max(1)
        whitening, means = self._whiten(of_class)
        generated = nearest_cosine(whitening(self.nothing), means)
        slope, offset = fit_known(
            nearest[of_class], [nearest_other[of_class], nearest[~of_class], generated]
        )
        similarity = build_similarity(whitening, means, slope=slope, offset=offset)
        return similarity, 1 / (1 + np.exp(-(nearest * slope + offset)))

    def _whiten(self, inside: Mask) -> tuple[Whitening, Array]:
        whitening = Whitening.fit(self.x[inside], self.labels[inside])
        return whitening, class_means(whitening(self.x[inside]), self.labels[inside])
