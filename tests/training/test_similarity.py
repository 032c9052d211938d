"""How a model's similarity is fitted, and what it does to the scores."""

import numpy as np
import pytest
import torch

from earmark.nn.classifier import LSTMClassifier
from earmark.training import similarity
from earmark.training.similarity import Whitening


def clouds(seed=0, count=60):
    """Three classes of 12 numbers, spread a hundred times wider along one direction."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(0, 1, (4, 12))
    scale = np.r_[20.0, np.full(11, 0.2)]
    labels = np.arange(count) % 3
    known = centres[labels] + rng.normal(0, 1, (count, 12)) * scale
    unknown = centres[np.full(count, 3)] + rng.normal(0, 1, (count, 12)) * scale
    return known, labels, unknown


def test_whitening_makes_the_spread_within_classes_alike_in_all_directions():
    x, labels, _ = clouds(count=6000)
    whitening = Whitening.fit(x, labels, dimensions=12)
    mapped = x @ whitening.weight.T + whitening.bias
    inside = mapped - np.stack([mapped[labels == n].mean(0) for n in range(3)])[labels]
    spread = np.linalg.eigvalsh(inside.T @ inside / len(inside))
    assert spread.max() < 10 * spread.min()  # ten thousand times before; shrinkage leaves some
    np.testing.assert_allclose(np.linalg.norm(whitening(x), axis=1), 1, atol=1e-3)


def test_sounds_of_no_class_lie_further_away():
    x, labels, _ = clouds(0)
    whitening = Whitening.fit(x, labels)
    means = similarity.class_means(whitening(x), labels)
    assert means.shape == (3, 12)
    others, _, unknown = clouds(1)
    known, no_class = (similarity.nearest_cosine(whitening(y), means) for y in (others, unknown))
    assert np.quantile(known, 0.1) > np.quantile(no_class, 0.9)


def test_the_probability_of_a_class_is_that_of_cosines_that_were_not_stored():
    rng = np.random.default_rng(2)
    known, few, many = (
        rng.normal(0.7, 0.1, 400),
        rng.normal(0.3, 0.1, 20),
        rng.normal(0.4, 0.1, 900),
    )
    slope, offset = similarity.fit_known(known, [few, many, np.zeros(0)])
    assert 8 < slope < 60
    assert -offset / slope == pytest.approx(0.53, abs=0.05)


def test_what_cannot_be_told_apart_is_as_likely_known_as_not():
    same = np.linspace(0.2, 0.9, 50)
    slope, offset = similarity.fit_known(same, [same])
    assert slope == pytest.approx(0, abs=1e-6)
    assert offset == pytest.approx(0, abs=1e-4)


def test_a_model_s_scores_sum_to_the_probability_of_any_class():
    x, labels, unknown = clouds()
    whitening = Whitening.fit(x, labels, dimensions=5)
    means = similarity.class_means(whitening(x), labels)
    layer = similarity.build_similarity(whitening, means, slope=20.0, offset=-10.0)
    torch.manual_seed(0)
    plain = LSTMClassifier(4, 12, 1, 3).eval()
    model = similarity.add_similarity(plain, layer)
    assert model.settings.prototypes == (3, 5)
    pooled = torch.from_numpy(np.concatenate([x, unknown])).float()
    with torch.inference_mode():
        scores, before = model.probabilities(pooled, 0.7), plain.probabilities(pooled, 0.7).numpy()
    cosines = similarity.nearest_cosine(whitening(pooled.double().numpy()), means)
    known = 1 / (1 + np.exp(10 - 20 * cosines))
    np.testing.assert_allclose(scores.sum(1), known, atol=1e-4)
    np.testing.assert_allclose(scores, before * known[:, None], atol=1e-4)
    assert similarity.add_similarity(model, layer).settings == model.settings


def test_a_model_without_one_gives_the_softmax_to_the_bit():
    torch.manual_seed(0)
    model = LSTMClassifier(4, 12, 1, 3).eval()
    assert model.similarity is None
    assert not [name for name in model.state_dict() if name.startswith("similarity")]
    frames = torch.randn(2, 9, 4)
    with torch.inference_mode():
        assert torch.equal(model(frames), torch.softmax(model.logits(frames), 1))
