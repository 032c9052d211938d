"""A new last layer on a frozen network: what is learnt, what stays, and what is refused."""

import dataclasses

import accelerate
import numpy as np
import pytest
import torch

from earmark.data.cache.store import FeatureCache
from earmark.data.dataset import generate_negatives
from earmark.data.negatives import NO_CLASS
from earmark.errors import RunError
from earmark.evaluation.scoring import score_clips
from earmark.model_directory import load_model
from earmark.nn.classifier import LSTMClassifier
from earmark.training import frozen as frozen_module
from earmark.training.frozen import HELD_OUT, FrozenNetwork, freeze, train_frozen
from earmark.training.last_layer import Lesson
from earmark.training.run import score_test_part, train_model
from tests.builders import CLASSES, FRONT_END, clip_set, small_recipe, small_split

CPU = torch.device("cpu")
LAGS = (1.5, 0.25)
SETTINGS = small_recipe(frozen=True, negatives_probability=0.1, head_strength=1.0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model of other names for the three classes, whose head is one linear layer."""
    recipe = small_recipe(num_epochs=6, linear_head=True)
    split = small_split(classes=("a", "b", "c"), fingerprint="s" * 64)
    folder = tmp_path_factory.mktemp("start")
    accelerator = accelerate.Accelerator(cpu=True)
    trained = train_model(split, recipe, accelerator, folder, show_progress=False)
    settings = dataclasses.replace(trained.model.settings, lags_seconds=LAGS)
    model = LSTMClassifier.from_settings(settings).eval()
    model.load_state_dict(trained.model.state_dict())
    return dataclasses.replace(trained, model=model)


@pytest.fixture(autouse=True)
def few_negatives(monkeypatch):
    monkeypatch.setattr(frozen_module, "_NEGATIVES", 20)


def train(folder, start, settings=SETTINGS, split=None):
    accelerator = accelerate.Accelerator(cpu=True)
    return train_model(split or small_split(), settings, accelerator, folder, start=start)


def test_the_network_stays_and_the_layer_names_the_classes(start, tmp_path):
    trained = train(tmp_path, start)
    before, after = start.model.state_dict(), trained.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"head.1.weight", "head.1.bias"}
    assert trained.classes == CLASSES
    assert trained.model.settings.lags_seconds == start.model.settings.lags_seconds == LAGS
    assert trained.training["started_from"] == start.fingerprint
    assert score_test_part(tmp_path, small_split())["accuracy"] > 0.8
    assert load_model(tmp_path).training["finished"]


def test_clips_held_out_in_turn_calibrate_and_say_how_good_it_is(start, tmp_path):
    split = small_split()
    trained = train(tmp_path, start, split=split)
    found = trained.training[HELD_OUT]
    assert np.sum(found["confusion_matrix"]) == len(split.train) == trained.calibration.clips
    assert found["accuracy"] == trained.training["validation_accuracy"] > 0.8
    assert found["baselines"] is None  # they stand beside the test
    assert trained.calibration.negatives == 20
    assert len(trained.calibration.thresholds) == 3
    whole = dataclasses.replace(split, index=-1, test=split.test.select(split.test.labels < 0))
    found = train(tmp_path / "all", start, split=whole).training[HELD_OUT]
    assert found["baselines"].keys() == {"largest_class", "mfcc_svm"}


def test_scores_held_out_are_those_of_a_layer_without_these_clips(start):
    clips = small_split().train
    x = FrozenNetwork(start, CPU).read(clips)
    lesson = Lesson(x, clips.labels, x[:0], 3, SETTINGS)
    numbers = lesson.hold_out(clips.groups)
    assert numbers is not None
    for group in set(clips.groups):
        assert len({n for n, g in zip(numbers, clips.groups, strict=True) if g == group}) == 1
    scores = lesson.score_held_out(numbers)
    inside = numbers == numbers[0]
    alone = Lesson(x[~inside], clips.labels[~inside], x[:0], 3, SETTINGS)
    layer = alone.fit(np.ones(int((~inside).sum()), bool))
    np.testing.assert_allclose(scores[inside], layer.probabilities(x[inside]), atol=1e-4)


def test_a_clip_is_read_once_however_often_it_is_asked_for(start, monkeypatch):
    clips = clip_set(6, 3)
    network, read = FrozenNetwork(start, CPU), []
    embed = network._model.embed

    def counted(batch, lengths):
        read.append(len(batch))
        return embed(batch, lengths)

    monkeypatch.setattr(network._model, "embed", counted)
    first = network.read(clips)
    np.testing.assert_array_equal(
        network.read(clips.select(clips.labels == 1)), first[clips.labels == 1]
    )
    assert sum(read) == len(clips)
    alone = FrozenNetwork(start, CPU).read(clips.select(np.arange(len(clips)) == 4))
    np.testing.assert_allclose(alone[0], first[4], atol=1e-5)  # whatever shares its batch


def test_generated_clips_are_made_and_read_once_for_all_processes(start, tmp_path, monkeypatch):
    known = dataclasses.replace(start, identity="a" * 64)
    cache = FeatureCache(tmp_path)
    first = FrozenNetwork(known, CPU, cache).read_negatives(FRONT_END, 6, 1)
    assert first.shape == (6, FrozenNetwork(start, CPU).width)
    (holding,) = cache.holdings()
    assert (holding.clips, holding.network, holding.current) == (1, "a" * 64, True)
    made = []

    def generate(front_end, count, seed):
        made.append((count, seed))
        return generate_negatives(front_end, count, seed)

    monkeypatch.setattr(frozen_module, "generate_negatives", generate)
    again = FrozenNetwork(known, CPU, FeatureCache(tmp_path)).read_negatives(FRONT_END, 6, 1)
    np.testing.assert_array_equal(again, first)
    assert made == []
    other = dataclasses.replace(start, identity="b" * 64)
    FrozenNetwork(other, CPU, cache).read_negatives(FRONT_END, 6, 1)
    FrozenNetwork(known, CPU, cache).read_negatives(FRONT_END, 6, 2)
    FrozenNetwork(known, CPU).read_negatives(FRONT_END, 6, 1)
    assert made == [(6, 1), (6, 2), (6, 1)]


def test_a_cache_that_cannot_be_written_costs_time_only(start, tmp_path):
    (tmp_path / "file").write_text("")
    known = dataclasses.replace(start, identity="a" * 64)
    network = FrozenNetwork(known, CPU, FeatureCache(tmp_path / "file"))
    assert len(network.read_negatives(FRONT_END, 2, 1)) == 2


def test_it_computes_in_one_thread_and_leaves_the_others_after(start, tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()

    def counted(self, clips, chosen):
        seen.append(torch.get_num_threads())
        return np.ones((len(chosen), self.width))

    monkeypatch.setattr(FrozenNetwork, "_read_batch", counted)
    torch.set_num_threads(2)
    try:
        train(tmp_path, start)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_a_layer_scores_as_the_model_that_holds_it(start, tmp_path):
    settings = dataclasses.replace(SETTINGS, negatives_probability=0.0)  # no similarity then
    trained, split = train(tmp_path, start, settings), small_split()
    x = FrozenNetwork(start, CPU).read(split.train)
    lesson = Lesson(x, split.train.labels, x[:0], 3, settings)
    scores = lesson.fit(np.ones(len(x), bool)).probabilities(x)
    np.testing.assert_allclose(scores, score_clips(trained.model, split.train), atol=1e-4)
    assert trained.calibration.thresholds == ()


def test_negatives_of_one_s_own_are_no_class_and_set_thresholds(start, tmp_path):
    split = small_split()
    labels = split.train.labels.copy()
    labels[labels == 2] = NO_CLASS
    train_part = dataclasses.replace(split.train, labels=labels)
    own = dataclasses.replace(split, train=train_part, classes=CLASSES[:2])
    trained = train(tmp_path, start, split=own)
    assert trained.data["training_negatives"] == int((labels == NO_CLASS).sum())
    scores = score_clips(trained.model, split.test)
    of_class = split.test.labels != 2
    assert scores[of_class].max(1).mean() > scores[~of_class].max(1).mean() + 0.2


def test_one_clip_a_class_is_enough_but_calibrates_nothing(start, tmp_path):
    split = small_split()
    firsts = np.isin(np.arange(len(split.train)), np.unique(split.train.labels, True)[1])
    one = dataclasses.replace(split, train=split.train.select(firsts))
    trained = train(tmp_path, start, split=one)
    assert trained.training[HELD_OUT] is None
    assert (trained.calibration.temperature, trained.calibration.clips) == (1.0, 0)
    assert score_test_part(tmp_path, split)["accuracy"] > 0.5


def test_a_network_with_a_hidden_layer_keeps_it(tmp_path):
    hidden = train_model(
        small_split(), small_recipe(num_epochs=2), accelerate.Accelerator(cpu=True), tmp_path / "a"
    )
    trained = train(tmp_path / "b", hidden)
    before, after = hidden.model.state_dict(), trained.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"head.4.weight", "head.4.bias"}
    assert trained.model.similarity is None


def test_what_does_not_fit_is_said(start, tmp_path):
    with pytest.raises(RunError, match="needs a model to start from"):
        train(tmp_path, None)
    other = dataclasses.replace(small_split(), front_end=None)
    with pytest.raises(RunError, match="another front end than the model to start from"):
        train(tmp_path, start, split=other)
    network = FrozenNetwork(start, CPU)

    class Several:
        num_processes = 2

    with pytest.raises(RunError, match="one process"):
        train_frozen(small_split(), SETTINGS, Several(), tmp_path, network)
    assert not list(tmp_path.iterdir())


def test_many_runs_share_what_a_frozen_network_says(start):
    accelerator = accelerate.Accelerator(cpu=True)
    network = freeze(start, SETTINGS, accelerator)
    assert network is not None
    assert network.start is start
    assert freeze(start, small_recipe(), accelerator) is None
    assert freeze(None, SETTINGS, accelerator) is None
