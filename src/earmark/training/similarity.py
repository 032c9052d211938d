"""Fits the similarity of a model: what it knows, and how near to it a sound must lie.

The embeddings of the training clips are whitened, so that the spread within classes is alike in all
directions; the mean of each class is stored. How likely a cosine makes it that a sound is of some
class is fitted on clips that had no part in the means: clips of a class held against it, and those
of no class, or of a class whose mean is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.nn.classifier import LSTMClassifier
from earmark.nn.similarity import SMALLEST_LENGTH, Similarity

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

SHRINKAGE = 1.0  # of the spread towards that of a ball, in units of its mean variance
DIMENSIONS = 128  # kept after whitening, those of the largest variance
_SPREAD = 20.0  # of the slope, expected before any clip was seen
_STEPS = 100


@dataclass(frozen=True)
class Whitening:
    """A linear map of embeddings after which the spread within classes is alike everywhere.

    Attributes:
        weight: `(dimensions, size)`.
        bias: `(dimensions,)`.
    """

    weight: Array
    bias: Array

    @classmethod
    def fit(cls, embeddings: Array, labels: Labels, dimensions: int = DIMENSIONS) -> Whitening:
        """Fit it to training clips.

        Args:
            embeddings: `(clips, size)`.
            labels: a number for each class; clips of no class may have numbers of their own.
            dimensions: kept at most.
        """
        mean, scale = embeddings.mean(0), embeddings.std(0) + 1e-6
        x = (embeddings - mean) / scale
        found, places = np.unique(labels, return_inverse=True)
        inside = x - np.stack([x[labels == label].mean(0) for label in found])[places]
        spread = inside.T @ inside / len(x)
        spread += SHRINKAGE * max(np.trace(spread) / len(spread), 1e-6) * np.eye(len(spread))
        whitening = np.linalg.cholesky(np.linalg.inv(spread))
        _, directions = np.linalg.eigh(np.cov((x @ whitening).T))
        weight = (whitening @ directions[:, ::-1][:, :dimensions]).T / scale
        return cls(weight, -weight @ mean)

    def __call__(self, embeddings: Array) -> Array:
        """Return whitened embeddings of length 1, `(clips, dimensions)`."""
        return _normalised(embeddings @ self.weight.T + self.bias)


def class_means(whitened: Array, labels: Labels) -> Array:
    """Return the mean of each class, of length 1, `(classes, dimensions)`, in order of labels."""
    return _normalised(np.stack([whitened[labels == label].mean(0) for label in np.unique(labels)]))


def nearest_cosine(whitened: Array, prototypes: Array) -> Array:
    """Return the largest cosine of each of `(clips, dimensions)` with stored vectors."""
    cosines: Array = (whitened @ prototypes.T).max(1)
    return cosines


def fit_known(known: Array, unknown: Sequence[Array]) -> tuple[float, float]:
    """Return slope and offset that make of a cosine the probability that a sound is of some class.

    Known and unknown count alike, and so does each kind of unknown, however many there are.

    Args:
        known: cosines of clips of the classes, which had no part in the stored vectors.
        unknown: of each kind of sounds of no class, their cosines.
    """
    kinds = [known, *(kind for kind in unknown if len(kind))]
    cosine = np.concatenate(kinds)
    target = np.r_[np.ones(len(known)), np.zeros(len(cosine) - len(known))]
    weights = [np.full(len(known), 0.5 / len(known))]
    weights += [np.full(len(kind), 0.5 / len(kind) / (len(kinds) - 1)) for kind in kinds[1:]]
    weight = np.concatenate(weights) * len(cosine)
    inputs = np.stack([cosine, np.ones(len(cosine))], 1)
    prior = np.diag([1 / _SPREAD**2, 1e-6])
    found = np.zeros(2)
    for _ in range(_STEPS):  # Newton's: the cost is convex
        share = 1 / (1 + np.exp(-np.clip(inputs @ found, -50, 50)))
        slope = inputs.T @ (weight * (share - target)) + prior @ found
        curve = (inputs * (weight * share * (1 - share))[:, None]).T @ inputs + prior
        step = np.linalg.solve(curve, slope)
        found = found - step * min(1.0, 10.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return float(found[0]), float(found[1])


def build_similarity(
    whitening: Whitening, prototypes: Array, *, slope: float, offset: float
) -> Similarity:
    """Return the layer of a model.

    Args:
        whitening: of embeddings.
        prototypes: `(prototypes, dimensions)`, of length 1.
        slope: see `fit_known`.
        offset: see `fit_known`.
    """
    dimensions, size = whitening.weight.shape
    layer = Similarity(size, len(prototypes), dimensions)
    values = {
        "weight": whitening.weight,
        "bias": whitening.bias,
        "prototypes": prototypes,
        "slope": [slope],
        "offset": [offset],
    }
    layer.load_state_dict(
        {name: torch.as_tensor(np.asarray(v, np.float32)) for name, v in values.items()}
    )
    return layer


def add_similarity(model: LSTMClassifier, similarity: Similarity) -> LSTMClassifier:
    """Return a copy of a model that has a similarity, in evaluation mode."""
    sizes = tuple(similarity.prototypes.shape)
    made = LSTMClassifier.from_settings(dataclasses.replace(model.settings, prototypes=sizes))
    own = {f"similarity.{name}": tensor for name, tensor in similarity.state_dict().items()}
    before = {n: t for n, t in model.state_dict().items() if not n.startswith("similarity.")}
    made.load_state_dict({**before, **own})
    return made.to(model.mean.device).eval()


def _normalised(vectors: Array) -> Array:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + SMALLEST_LENGTH)
