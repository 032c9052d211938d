"""Small splits, sounds and recipes that several test modules share."""

import shutil

import numpy as np
import soundfile

from earmark.config import FrontEndSettings, TrainingSettings
from earmark.config.recipes import replace_settings
from earmark.data.splits import ClipSet, Split

FRONT_END = FrontEndSettings(8_000, 256, 160, 6, 50.0, 4_000.0, 1e-6)
CLASSES = ("dog", "rain", "rooster")


def clip_set(clips_per_class, seed):
    """Clips of 15 to 30 frames whose bands are louder in a class's own part of the spectrum."""
    rng = np.random.default_rng(seed)
    features, frames, labels, names = [], [], [], []
    for label in range(len(CLASSES)):
        for number in range(clips_per_class):
            clip = rng.normal(-8, 1, (rng.integers(15, 31), FRONT_END.n_mels))
            clip[:, 2 * label : 2 * label + 2] += 2
            features.append(clip.astype(np.float32))
            frames.append(len(clip))
            labels.append(label)
            names.append(f"{CLASSES[label]}-{seed}-{number}")
    return ClipSet(np.concatenate(features), np.array(frames), np.array(labels), names, names)


def small_split(**changes):
    """A split of three separable classes."""
    values = {
        "train": clip_set(12, 1),
        "test": clip_set(4, 2),
        "classes": CLASSES,
        "dataset": "three sounds",
        "front_end": FRONT_END,
        "fingerprint": "f" * 64,
    }
    return Split(**{**values, **changes})


def small_recipe(**changes):
    """A recipe that learns `small_split` in a second."""
    values = {
        "batch_size": 8,
        "num_epochs": 6,
        "learning_rate": 0.02,
        "hidden_size": 8,
        "num_layers": 1,
        "crops_per_clip": 2,
        "clip_seconds": 0.4,
        "stack": 2,
        "delta": 2,
        "mel_mask": 1,
        "mel_shift": 0,
        "ema_decay": 0.9,
    }
    return replace_settings(TrainingSettings(), {**values, **changes})


def write_sounds(folder, clips=10, seconds=0.4):
    """Write a folder for each of three classes; a class is a pitch, with noise."""
    for label, hz in {"high": 2400.0, "low": 300.0, "middle": 900.0}.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(clips):
            rng = np.random.default_rng((number, round(hz)))
            time_s = np.arange(round(seconds * 8_000)) / 8_000
            tone = np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
            sound = 0.3 * tone + 0.05 * rng.standard_normal(len(time_s))
            soundfile.write(folder / label / f"{number}.wav", sound, 8_000)


def damage_sounds(folder, what):
    """Make of `write_sounds` a dataset that cannot be trained on."""
    if what == "one class":
        shutil.rmtree(folder / "low")
        shutil.rmtree(folder / "high")
    elif what == "few clips":
        for number in range(3, 10):
            (folder / "low" / f"{number}.wav").unlink()
    elif what == "labels alike":
        shutil.copytree(folder / "low", folder / "Low ")
    elif what == "same audio twice":
        shutil.copy(folder / "low" / "1.wav", folder / "high" / "x.wav")
    elif what == "an unreadable file":
        (folder / "low" / "1.wav").write_bytes(b"RIFF not really")
    else:
        raise ValueError(what)


def bursts(seconds=12.0, sample_rate=44_100):
    """Noise whose level changes every half second."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(0, 10 ** rng.uniform(-3, -0.7), sample_rate // 2)
        for _ in range(round(2 * seconds))
    ]
    return np.clip(np.concatenate(parts), -1, 1)
