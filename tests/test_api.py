"""The functions of the package: load, train and cross-validate in one call."""

import numpy as np
import pytest
import soundfile

import earmark
from earmark.config.recipes import Recipe
from earmark.errors import DatasetError, ModelError, SettingsError
from tests.builders import FRONT_END, small_recipe

RECIPE = Recipe("small", FRONT_END, small_recipe(num_epochs=3, mel_mask=0))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Ten clips of a low and ten of a high tone, in a folder each."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time = np.arange(8_000) / 8_000
    for name, hz in (("low", 200), ("high", 3_000)):
        (folder / name).mkdir()
        for number in range(10):
            tone = 0.3 * np.sin(2 * np.pi * hz * time) + rng.normal(0, 0.05, 8_000)
            soundfile.write(folder / name / f"{number}.wav", tone, 8_000)
    return folder


def test_the_bundled_model_is_loaded_by_its_name_or_by_none():
    assert earmark.load().info == earmark.load("bundled").info == earmark.load("base").info
    with pytest.raises(ModelError, match="nowhere"):
        earmark.load("nowhere")


def test_a_trained_model_is_returned_and_left_in_its_folder(sounds, tmp_path):
    classifier = earmark.train(sounds, RECIPE, out=tmp_path / "run", num_epochs=8)
    assert classifier.classes == ("high", "low")
    assert classifier.predict(sounds / "low" / "1.wav").most_likely == "low"
    again = earmark.load(tmp_path / "run")
    assert again.info.fingerprint == classifier.info.fingerprint
    assert not (tmp_path / "run" / "resume").exists()


def test_every_fold_is_trained_and_tested(sounds, tmp_path):
    summary = earmark.cross_validate(sounds, RECIPE, folds=2, out=tmp_path / "runs")
    assert [run["test_fold"] for run in summary["runs"]] == ["1", "2"]
    assert 0 <= summary["accuracy"] <= 1
    assert len(list((tmp_path / "runs").glob("fold-*/results.json"))) == 2
    # What is finished is read, not done again.
    again = earmark.cross_validate(sounds, RECIPE, folds=2, out=tmp_path / "runs")
    seconds = [[run["seconds"] for run in one["runs"]] for one in (summary, again)]
    assert seconds[0] == seconds[1]
    assert again["accuracy"] == summary["accuracy"]


def test_what_cannot_be_trained_is_refused(sounds, tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        earmark.train(tmp_path / "nowhere", RECIPE, out=tmp_path / "run")
    with pytest.raises(SettingsError, match="epochs: not all of these are settings of a recipe"):
        earmark.train(sounds, RECIPE, out=tmp_path / "run", epochs=3)
    with pytest.raises(SettingsError, match="num_epochs"):
        earmark.train(sounds, RECIPE, out=tmp_path / "run", num_epochs=0)
    with pytest.raises(SettingsError, match="folds at least 2"):
        earmark.cross_validate(sounds, RECIPE, folds=1)
    assert not (tmp_path / "run").exists()


def test_unreadable_files_are_a_fault_unless_that_is_allowed(sounds, tmp_path):
    for name in ("low", "high"):
        (tmp_path / "all" / name).mkdir(parents=True)
        for clip in (sounds / name).glob("*.wav"):
            (tmp_path / "all" / name / clip.name).write_bytes(clip.read_bytes())
    (tmp_path / "all" / "low" / "broken.wav").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"1 files cannot be read.*broken\.wav"):
        earmark.train(tmp_path / "all", RECIPE, out=tmp_path / "run")
    earmark.train(tmp_path / "all", RECIPE, out=tmp_path / "run", allow_incomplete=True)
