"""A model restricted to some classes: which are meant, and what becomes of their scores."""

import numpy as np
import pytest

from earmark.decision.policy import Policy
from earmark.decision.restriction import choose_classes, restrict_scores
from earmark.errors import SettingsError

CLASSES = ("Dog bark", "Door knock", "rain", "Rain", "Sea waves")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (["Sea waves", "Dog bark"], ("Dog bark", "Sea waves")),  # in the order of the model
        (["dog_bark", "DOG BARK", " door-knock "], ("Dog bark", "Door knock")),
        (["rain"], ("rain",)),
        (["Rain", "rain"], ("rain", "Rain")),
    ],
)
def test_classes_are_found_by_their_names(asked, chosen):
    assert choose_classes(asked, CLASSES) == chosen


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["dog"], "the model has no class 'dog'; did you mean 'Dog bark'?"),
        (["Sea wvaes"], "the model has no class 'Sea wvaes'; did you mean 'Sea waves'?"),
        (["xylophone"], "the model has no class 'xylophone'; it has 5: 'Dog bark', 'Door knock'"),
        (["RAIN"], "'RAIN' may be 'rain' or 'Rain'; give the name as the model has it"),
        ([], "classes must name at least one class"),
        ("Rain", "classes must be a list of names, got the text 'Rain'"),
        ([""], "the model has no class ''"),
    ],
)
def test_what_the_model_does_not_have_is_said_in_one_line(asked, said):
    with pytest.raises(SettingsError) as caught:
        choose_classes(asked, CLASSES)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def some_scores():
    return np.random.default_rng(0).dirichlet(np.full(5, 0.3), (4, 6)).astype(np.float32)


def test_with_an_open_set_a_class_counts_exactly_when_it_counted():
    scores, places, thresholds = some_scores(), [0, 3], np.array([0.2, 0.4, 0.3, 0.5, 0.6])
    kept = restrict_scores(scores, places)
    np.testing.assert_array_equal(kept, scores[..., places])
    before = Policy(thresholds.tolist()).counts(scores)[..., places]
    assert before.any()
    np.testing.assert_array_equal(Policy(thresholds[places].tolist()).counts(kept), before)


def test_with_a_closed_set_scores_are_the_softmax_over_the_classes_alone():
    logits = np.random.default_rng(1).normal(0, 3, (7, 5))
    powers = np.exp(logits)
    scores = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    kept = restrict_scores(scores, [1, 2, 4], closed_set=True)
    own = powers[:, [1, 2, 4]]
    np.testing.assert_allclose(kept, own / own.sum(-1, keepdims=True), rtol=1e-5)
    nothing = restrict_scores(np.array([[1.0, 0, 0]], np.float32), [1, 2], closed_set=True)
    np.testing.assert_array_equal(nothing, [[0.5, 0.5]])
    np.testing.assert_array_equal(restrict_scores(scores, [2], closed_set=True), np.ones((7, 1)))
