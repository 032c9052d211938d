"""Small models whose scores move with the sound, with both engines, and sounds for them."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark import Classifier
from earmark.config import Calibration, EventSettings
from earmark.export.build import build
from earmark.model_directory import TrainedModel
from earmark.nn.classifier import LSTMClassifier
from earmark.runtime.engine import Engine
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.torch_engine import TorchEngine
from tests.builders import CLASSES, FRONT_END

KINDS = ("torch", "onnx")
SHAPES: list[dict[str, Any]] = [
    {},
    {"stack": 3, "delta": 2},
    {"convolutions": ((4, 5, 3, 2, 2), (6, 3, 3, 2, 1)), "pooling": "attention"},
    {"stack": 2, "frequency_lstm": (4, 4, 2)},
]
SETTINGS = EventSettings(
    window_seconds=0.5,
    smoothing_seconds=0.15,
    off_ratio=0.8,
    min_duration_seconds=0.1,
    merge_gap_seconds=0.2,
)


def engine_of(trained, kind) -> Engine:
    """Run a model with torch, or as `earmark export` writes it."""
    if kind == "torch":
        return TorchEngine(trained)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(build(trained).SerializeToString())
        return OnnxEngine(path)


def moving_model(**options):
    """A model whose scores move with the sound."""
    torch.manual_seed(1)
    model = LSTMClassifier(FRONT_END.n_mels, 8, 2, 3, **options)
    with torch.no_grad():
        model.mean.fill_(-8.0)
        model.head[-1].weight.mul_(30)  # type: ignore[operator]
    return TrainedModel(model.eval(), CLASSES, FRONT_END, fingerprint=str(options))


def classifier(kind, **options):
    """Such a model with thresholds in the middle of its scores."""
    trained = moving_model(**options)
    scorer = StreamScorer(engine_of(trained, kind), SETTINGS)
    rows, _ = scorer.score(sound(), scorer.initial_state().model)
    thresholds = tuple(np.quantile(rows, 0.7, axis=0).tolist())
    calibrated = dataclasses.replace(trained, calibration=Calibration(1.0, thresholds))
    return Classifier(engine_of(calibrated, kind))


def sound(seconds=6.0, sample_rate=8_000, seed=0):
    """Noise whose level and colour change every half second."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(round(2 * seconds)):
        part = rng.normal(0, 1, sample_rate // 2)
        if rng.uniform() < 0.5:
            part = np.cumsum(part - part.mean()) / 30
        parts.append(part * 10 ** rng.uniform(-4, -0.5))
    return np.concatenate(parts).astype(np.float32)


def scored(session, samples, chunks):
    """Push samples in chunks of the given lengths, over and over; return scores and events."""
    rows, events, at, turn = [], [], 0, 0
    while at < len(samples):
        events += session.push(samples[at : at + chunks[turn % len(chunks)]])
        rows.append(session.rows)
        at, turn = at + chunks[turn % len(chunks)], turn + 1
    events += session.finish()
    return np.concatenate([*rows, session.rows]), events


def times(events):
    """What of events must not depend on rounding."""
    return [(event.label, event.onset, event.offset) for event in events]
