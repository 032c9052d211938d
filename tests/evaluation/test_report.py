"""Scoring a split: the results file, its picture, and splits that do not fit."""

import dataclasses
import json
import os
import subprocess

import numpy as np
import pytest
import torch

from earmark.config import Calibration
from earmark.decision.calibration import cross_entropy
from earmark.decision.policy import NONE, Policy
from earmark.errors import SplitError
from earmark.evaluation import scoring
from earmark.evaluation.report import decision_matrix, evaluate, summary, write_results
from earmark.evaluation.scoring import score_clips
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from tests.builders import CLASSES, FRONT_END, clip_set, small_split


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = LSTMClassifier(FRONT_END.n_mels, 8, 1, 3, stack=2, delta=2).eval()
    data = {"dataset": "three sounds", "fingerprint": "f" * 64, "split_index": 0}
    return TrainedModel(
        model, CLASSES, FRONT_END, training={"seed": 5}, data=data, fingerprint="m" * 64
    )


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_scores_do_not_depend_on_the_batch(trained, batch_size):
    clips = clip_set(6, 3)
    scores = score_clips(trained.model, clips, batch_size=batch_size)
    for number in range(len(clips)):
        alone = trained.model(torch.from_numpy(clips.clip(number))[None])[0]
        # float32 sums in another order; measured below 2e-7
        np.testing.assert_allclose(scores[number], alone.detach(), atol=1e-6)


def test_a_clip_under_one_step_scores_the_same_beside_one_of_minutes(trained, monkeypatch):
    clips = clip_set(2, 3)
    monkeypatch.setattr(scoring, "_LONGEST", int(clips.frames.max()) - 1)
    clips.frames[0] = 1  # of the two that a step takes
    together = score_clips(trained.model, clips, batch_size=100)
    for number in range(len(clips)):
        alone = trained.model(torch.from_numpy(clips.clip(number))[None])[0]
        np.testing.assert_allclose(together[number], alone.detach(), atol=1e-6)


def test_scoring_keeps_the_mode_of_the_model(trained):
    trained.model.train()
    score_clips(trained.model, clip_set(1, 0))
    assert trained.model.training


def test_cross_entropy_is_the_mean_negative_log_probability():
    scores = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    assert cross_entropy(np.array([0, 1]), scores) == pytest.approx(
        -(np.log(0.5) + np.log(0.9)) / 2
    )


def test_results_hold_what_the_documentation_promises(trained, tmp_path):
    results = evaluate(trained, small_split(), model_name="run")
    written, picture = write_results(tmp_path / "results.json", results)
    assert written == tmp_path / "results.json"
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for key in (
        *("accuracy", "balanced_accuracy", "macro_f1", "per_class", "confusion_matrix", "classes"),
        *("clips", "split_index", "training", "trained_on", "versions", "device", "seconds"),
        *("dataset", "synthetic", "created", "test_fold"),
    ):
        assert key in read, key
    assert len(read["clips"]) == 12
    clip = read["clips"][0]
    assert clip["path"] == "dog-2-0"
    assert clip["label"] == "dog"
    assert clip["most_likely"] == max(clip["scores"], key=clip["scores"].get)
    assert clip["prediction"] == clip["most_likely"]  # a model without thresholds
    assert sum(clip["scores"].values()) == pytest.approx(1, abs=1e-5)
    right = sum(clip["prediction"] == clip["label"] for clip in read["clips"])
    assert read["accuracy"] == pytest.approx(right / 12)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.parent == tmp_path


def test_thresholds_decide_as_they_do_for_a_clip_while_accuracy_counts_every_clip(trained):
    """One class never reaches its threshold; then the best of the others is the label."""
    plain = evaluate(trained, small_split())
    counted = [clip["most_likely"] for clip in plain["clips"]]
    strictest = max(CLASSES, key=counted.count)
    thresholds = tuple(0.99 if name == strictest else 0.3 for name in CLASSES)
    strict = dataclasses.replace(trained, calibration=Calibration(1.0, thresholds))
    results = evaluate(strict, small_split())
    assert results["accuracy"] == plain["accuracy"]
    assert results["confusion_matrix"] == plain["confusion_matrix"]
    policy, right, accepted = Policy(thresholds), 0, 0
    for clip in results["clips"]:
        row = np.array([clip["scores"][name] for name in CLASSES], np.float32)
        label = (*CLASSES, NONE)[int(policy.decide(row))]
        assert clip["prediction"] == label
        accepted += label != NONE
        right += label == clip["label"]
    assert any(clip["prediction"] != clip["most_likely"] for clip in results["clips"])
    decided = results["none_of_these"]
    assert decided["coverage"] == pytest.approx(accepted / 12)
    assert decided["accuracy_of_accepted"] == pytest.approx(right / accepted)
    matrix = np.array(decided["confusion_matrix"])
    assert matrix.shape == (4, 4)
    assert matrix[3].sum() == 0  # there are no negatives among the clips
    assert matrix.sum() == 12
    assert np.trace(matrix[:, :3]) == right
    assert matrix[:, 3].sum() == 12 - accepted
    assert matrix[:, CLASSES.index(strictest)].sum() == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_results_into_a_pipe_or_device_have_no_picture_beside_them(trained, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reading = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    results = evaluate(trained, small_split())
    assert write_results(tmp_path / "pipe", results) == [tmp_path / "pipe"]
    given, _ = reading.communicate()
    assert json.loads(given)["accuracy"] == results["accuracy"]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_no_results_stand_where_their_picture_could_not_be_drawn(trained, tmp_path):
    (tmp_path / "results-confusion.png").mkdir()
    with pytest.raises(OSError, match="irectory"):
        write_results(tmp_path / "results.json", evaluate(trained, small_split()))
    assert not (tmp_path / "results.json").exists()


def test_clips_that_trained_the_model_are_called_no_test(trained):
    same = evaluate(trained, small_split())
    other = evaluate(trained, small_split(index=1))
    unknown = evaluate(trained, small_split(index=1, fingerprint="0" * 64))
    seen = [r["test_clips_seen_in_training"] for r in (same, other, unknown)]
    assert seen == [False, True, None]
    assert "Not a test" in summary(other)
    assert "a test" not in summary(same)
    assert "Perhaps not a test: the model was trained on other folds of" in summary(unknown)
    assert "Evaluate it on split 0" in summary(other)
    of_all = dataclasses.replace(trained, data={**trained.data, "split_index": -1})
    assert "trained on all clips of this dataset" in summary(evaluate(of_all, small_split()))
    difference = small_split(index=1, fingerprint="0" * 64, dataset="another")
    assert "a test" not in summary(evaluate(trained, difference))


def test_clips_that_the_start_model_knows_are_called_no_test(trained):
    def started_from(**data):
        data = {**trained.data, "started_from": {**trained.data, **data}}
        return evaluate(dataclasses.replace(trained, data=data), small_split())

    results = [started_from(), started_from(split_index=1), started_from(fingerprint="0" * 64)]
    assert [r["test_clips_seen_in_training"] for r in results] == [False, True, None]
    assert "training started from was trained on these clips" in summary(results[1])
    nested = started_from(fingerprint="0" * 64, started_from={**trained.data, "split_index": 2})
    assert nested["test_clips_seen_in_training"]
    elsewhere = {**trained.data, "fingerprint": "0" * 64, "split_index": 1}
    heard = {**elsewhere, "started_from": {**trained.data, "split_index": -1}}
    said = summary(evaluate(dataclasses.replace(trained, data=heard), small_split()))
    assert "training started from was trained on these clips" in said
    assert "Evaluate it" not in said


def test_synthetic_clips_are_called_synthetic(trained):
    assert "synthetic" in summary(evaluate(trained, small_split(synthetic=True)))


def test_a_split_that_does_not_fit_is_refused(trained):
    fewer = LSTMClassifier(4, 8, 1, 3)
    with pytest.raises(SplitError, match="6 features a frame, but run takes 4"):
        evaluate(dataclasses.replace(trained, model=fewer), small_split(), model_name="run")
    renamed = small_split(classes=("cat", "rain", "rooster"))
    with pytest.raises(SplitError, match="cat"):
        evaluate(trained, renamed)
    with pytest.raises(SplitError, match="front end"):
        evaluate(trained, small_split(front_end=dataclasses.replace(FRONT_END, floor=1e-7)))


def test_clips_of_no_class_have_figures_of_their_own(trained, tmp_path):
    split = small_split()
    labels = split.test.labels.copy()
    labels[[0, 4, 8]] = -1  # one of each class
    mixed = small_split(test=dataclasses.replace(split.test, labels=labels))
    without = small_split(test=mixed.test.select(mixed.test.of_class))
    thresholds = dataclasses.replace(trained, calibration=Calibration(1.0, (0.34, 0.34, 0.34)))
    for model in (trained, thresholds):
        results, plain = evaluate(model, mixed), evaluate(model, without)
        for key in ("accuracy", "per_class", "confusion_matrix", "calibration", "test_clips"):
            assert results[key] == plain[key], key
        assert (results["test_clips"], results["test_negatives"]) == (9, 3)
        assert plain["recorded_negatives"] is None
        assert [clip["label"] for clip in results["clips"]].count(NONE) == 3
        figures = results["recorded_negatives"]
        passed = [clip["prediction"] != NONE for clip in results["clips"] if clip["label"] == NONE]
        assert figures["clips"] == 3
        assert figures["accepted"] == pytest.approx(np.mean(passed))
        assert 0 <= figures["auroc"] <= 1
        assert "of 3 are accepted as a class" in summary(results)
        assert "no class" not in summary(plain)
    assert evaluate(trained, mixed)["none_of_these"] is None
    matrix = np.array(results["none_of_these"]["confusion_matrix"])
    assert matrix[3].sum() == 3
    assert matrix[3, :3].sum() == sum(passed)
    assert results["none_of_these"]["coverage"] == plain["none_of_these"]["coverage"]
    assert decision_matrix(evaluate(trained, mixed))[1] == list(CLASSES)
    assert decision_matrix(results) == (matrix.tolist(), [*CLASSES, NONE])
    assert write_results(tmp_path / "results.json", results)[1].stat().st_size > 500


@pytest.mark.parametrize("closed_set", [False, True])
def test_a_restricted_model_takes_clips_of_other_classes_for_none(trained, tmp_path, closed_set):
    trained = dataclasses.replace(trained, calibration=Calibration(1.3, (0.3, 0.36, 0.34)))
    split = small_split()
    whole = evaluate(trained, split)
    found = evaluate(trained, split, classes=["Rooster", "dog"], closed_set=closed_set)
    assert found["classes"] == ["dog", "rooster"]
    assert found["restriction"] == {"left_out": ["rain"], "closed_set": closed_set}
    assert whole["restriction"] is None
    assert (found["test_clips"], found["test_negatives"]) == (8, 4)
    assert found["calibration"]["thresholds"] == (0.3, 0.34)
    for mine, its in zip(found["clips"], whole["clips"], strict=True):
        kept = {name: its["scores"][name] for name in ("dog", "rooster")}
        total = sum(kept.values()) if closed_set else 1
        assert mine["scores"] == pytest.approx({n: s / total for n, s in kept.items()}, abs=1e-5)
        assert mine["label"] == (NONE if its["label"] == "rain" else its["label"])
    assert found["recorded_negatives"]["clips"] == 4
    assert np.shape(found["none_of_these"]["confusion_matrix"]) == (3, 3)
    assert "restricted to these of 3 classes (" in summary(found)
    assert len(write_results(tmp_path / "r.json", found)) == 2


def test_a_split_of_other_classes_is_scored_by_those_that_both_have(trained):
    split = small_split(classes=("rain", "cat", "dog"))
    with pytest.raises(SplitError, match="--classes"):
        evaluate(trained, split)
    found = evaluate(trained, split, classes=["dog", "rain"])
    assert [clip["label"] for clip in found["clips"]].count("dog") == 4
    assert {clip["label"] for clip in found["clips"]} == {"dog", "rain", NONE}
    with pytest.raises(SplitError, match="no class 'rooster'"):
        evaluate(trained, split, classes=["rooster"])
    empty = dataclasses.replace(split, test=split.test.select(split.test.labels == 1))
    with pytest.raises(SplitError, match="no test clip of dog"):
        evaluate(trained, empty, classes=["dog"])
