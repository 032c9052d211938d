"""From a folder of sounds, one of them called background, to a model that rejects background."""

import accelerate
import numpy as np
import soundfile

from earmark.config import FrontEndSettings
from earmark.data.dataset import report, write_splits
from earmark.data.prepare import DatasetRequest, extract_features
from earmark.data.splits import read_split
from earmark.training.run import score_test_part, train_model
from tests.builders import small_recipe

FRONT_END = FrontEndSettings(8_000, 256, 160, 12, 50.0, 4_000.0, 1e-6)
SOUNDS = {"high": 2400.0, "low": 300.0, "_background_noise_": None}


def write_sounds(folder):
    """A class is a pitch in some noise, the background is the noise alone."""
    for label, hz in SOUNDS.items():
        (folder / label).mkdir(parents=True)
        for number in range(16):
            rng = np.random.default_rng((number, round(hz or 0)))
            time = np.arange(4_000) / 8_000
            sound = rng.uniform(0.02, 0.2) * rng.standard_normal(len(time))
            if hz:
                sound += 0.5 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time)
            soundfile.write(folder / label / f"{number}.wav", np.clip(sound, -1, 1), 8_000)


def test_a_folder_of_background_is_learnt_as_no_class_and_rejected(tmp_path):
    write_sounds(tmp_path / "sounds")
    dataset = extract_features(DatasetRequest(str(tmp_path / "sounds"), folds=2), FRONT_END)
    assert dataset.classes == ("high", "low")
    assert "48 clips, 16 of them of no class (negatives)" in report(dataset)
    assert "none of these     16" in report(dataset)
    write_splits(dataset, tmp_path / "splits")
    split = read_split(tmp_path / "splits", 0)
    recipe = small_recipe(num_epochs=12, crops_per_clip=4, validation_fraction=0.3)
    accelerator = accelerate.Accelerator(cpu=True)
    trained = train_model(split, recipe, accelerator, tmp_path / "run", show_progress=False)
    assert trained.classes == ("high", "low")
    assert len(trained.calibration.thresholds) == 2  # from recorded negatives alone
    assert trained.calibration.negatives == trained.data["validation_negatives"] > 0
    results = score_test_part(tmp_path / "run", split)
    assert results["accuracy"] >= 0.9
    assert results["none_of_these"]["coverage"] >= 0.75
    assert results["recorded_negatives"]["clips"] == int((split.test.labels < 0).sum()) > 0
    assert results["recorded_negatives"]["accepted"] <= 0.25
    assert results["recorded_negatives"]["auroc"] >= 0.9
