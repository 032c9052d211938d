"""A new last layer for a network that stays as it is: own classes in seconds.

Every clip is read once by the frozen network; the layer that names the classes is fitted to what
the network gives of it, and so is the similarity, by which sounds unlike all classes are known.
Clips held out in turn say how good it is, and calibrate the scores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from earmark.config import Calibration, FrontEndSettings, TrainingSettings, to_json
from earmark.data.cache.packs import Entry
from earmark.data.cache.store import FeatureCache
from earmark.data.dataset import generate_negatives
from earmark.data.splits import ClipSet, Split
from earmark.data.synthetic.negatives import VERSION
from earmark.decision.calibration import cross_entropy, fit_calibration, with_temperature
from earmark.decision.policy import Policy
from earmark.errors import RunError
from earmark.evaluation.baselines import measure_folds
from earmark.evaluation.metrics import classification_metrics
from earmark.io.files import sha256_of_json
from earmark.model_directory import TrainedModel, save_model
from earmark.nn.classifier import LSTMClassifier
from earmark.provenance import now
from earmark.training.last_layer import Array, Labels, Layer, Lesson
from earmark.training.record import describe_data
from earmark.training.similarity import add_similarity
from earmark.training.start import take_weights
from earmark.training.validation import TrainingParts

HELD_OUT = "held_out"  # of the training record: what clips held out in turn say
_NEGATIVES = 200  # generated clips that train the layer, and as many that set the thresholds
_TRAIN_SEED, _THRESHOLD_SEED = 3 * 10**9, 10**9
_LONGEST = 6000  # frames of a clip that may share a batch
_AT_ONCE = 16  # clips in a batch; the first blocks need much memory


class FrozenNetwork:
    """A trained network up to its last layer. What it says of a clip is computed once and kept.

    Args:
        start: the trained model.
        device: where it runs.
        cache: where it is kept on disk what it says of generated clips; None: nowhere.
    """

    def __init__(
        self, start: TrainedModel, device: torch.device, cache: FeatureCache | None = None
    ) -> None:
        self.start, self._cache = start, cache
        self._model = start.model.to(device).eval()
        self._kept: dict[bytes, Array] = {}

    @torch.inference_mode()
    def read(self, clips: ClipSet) -> Array:
        """Return what the last layer would be given of each clip, `(clips, features)`."""
        keys = [hashlib.blake2b(clips.clip(n).tobytes()).digest() for n in range(len(clips))]
        waiting = [n for n, key in enumerate(keys) if key not in self._kept]
        waiting.sort(key=lambda number: int(clips.frames[number]))
        while waiting:
            together = 1 if clips.frames[waiting[0]] > _LONGEST else _AT_ONCE
            chosen, waiting = waiting[:together], waiting[together:]
            for number, row in zip(chosen, self._read_batch(clips, chosen), strict=True):
                self._kept[keys[number]] = row
        return np.stack([self._kept[key] for key in keys]) if keys else np.zeros((0, self.width))

    @property
    def width(self) -> int:
        """Features that the last layer is given."""
        return self._model.head.linear_layers()[-1].in_features

    def read_negatives(self, front_end: FrontEndSettings, count: int, seed: int) -> Array:
        """Return what the last layer would be given of generated clips, `(count, features)`.

        Args:
            front_end: of the network.
            count: clips.
            seed: seed of all of them.
        """
        shelf = None
        if self._cache and self.start.identity:
            shelf = self._cache.embedding_shelf(self.start.identity, self.width)
        digest = sha256_of_json({"negatives": VERSION, "count": count, "seed": seed})
        stored = shelf.find(digest) if shelf else None
        if stored:
            rows: Array = stored.frames.array.astype(np.float64)
        else:
            rows = self.read(generate_negatives(front_end, count, seed))
        if shelf:
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
                if not stored:
                    shelf.add([Entry(digest, rows.astype(np.float32), 0.0)])
                shelf.finish()
        return rows

    def _read_batch(self, clips: ClipSet, chosen: list[int]) -> Array:
        lengths = [int(clips.frames[number]) for number in chosen]
        frames = [torch.from_numpy(np.array(clips.clip(number))) for number in chosen]
        batch = nn.utils.rnn.pad_sequence(frames, batch_first=True).to(self._model.mean.device)
        pooled = self._model.embed(batch, torch.tensor(lengths, device=batch.device))
        rows: Array = self._model.head.before_last(pooled).double().cpu().numpy()
        return rows


def freeze(
    start: TrainedModel | None,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    cache: FeatureCache | None = None,
) -> FrozenNetwork | None:
    """Return the model to start from as a frozen network that many runs share, if it is to be."""
    if start is None or not settings.frozen:
        return None
    return FrozenNetwork(start, accelerator.device, cache)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread. Its operations are small: beside other work on the machine, two that
    wait for each other took six times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train_frozen(
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    folder: Path,
    network: FrozenNetwork,
) -> TrainedModel:
    """Give a frozen network a last layer for the classes of a split, and write the model.

    Args:
        split: what to train on; only its training part is used.
        settings: the recipe; of its settings those count that `recipes/finetune.toml` names.
        accelerator: carries the device.
        folder: the run's folder.
        network: the trained network to start from.

    Raises:
        RunError: the network does not fit the split, or there are several processes.
        OSError: the folder cannot be written.
    """
    if accelerator.num_processes > 1:
        raise RunError(
            "a frozen network trains in one process; start it without accelerate launch, or set "
            "--no_frozen"
        )
    _refuse_other_features(network.start, split)
    begin = time.perf_counter()
    train, classes = split.train, len(split.classes)
    x, labels = network.read(train), train.labels
    nothing = trying = x[:0]
    if settings.negatives_probability and split.front_end is not None:
        nothing, trying = (
            network.read_negatives(split.front_end, _NEGATIVES, seed)
            for seed in (_TRAIN_SEED, _THRESHOLD_SEED)
        )
    lesson = Lesson(x, labels, nothing, classes, settings)
    layer = lesson.fit(np.ones(len(x), bool))
    model = _with_layer(network.start.model, layer, classes)
    generated = layer.probabilities(trying) if len(trying) else None
    numbers, held_out = lesson.hold_out(train.groups), None
    if numbers is None:  # generated negatives alone set the thresholds
        calibration = fit_calibration(labels[:0], layer.probabilities(x[:0]), generated)
    else:
        scores = lesson.score_held_out(numbers)
        if generated is not None and model.settings.network.linear_head:
            similarity, known = lesson.fit_similarity(numbers)
            model = add_similarity(model, similarity)
            scores = (scores * known[:, None]).astype(np.float32)
            with torch.inference_mode():
                near = similarity(torch.from_numpy(trying).float()).numpy()
            generated = generated * near
        calibration = fit_calibration(labels, scores, generated)
        of_class = train.of_class
        held_out = {
            "folds": len(set(numbers)),
            "baselines": None if len(split.test) else _baselines(split, numbers),
            "coverage": float(_accepted(scores[of_class], calibration).mean()),
            "loss": cross_entropy(labels, scores),
            **classification_metrics(labels[of_class], scores[of_class], split.classes),
        }
    trained = TrainedModel(
        model,
        split.classes,
        split.front_end,
        calibration,
        _describe(settings, accelerator, network.start, held_out, time.perf_counter() - begin),
        describe_data(split, TrainingParts(train), network.start),
        created=now(),
    )
    save_model(folder, trained)
    return trained


def _refuse_other_features(start: TrainedModel, split: Split) -> None:
    if start.front_end != split.front_end:
        raise RunError(
            f"{split.title}: has features of another front end than the model to start from; give "
            "the dataset itself: earmark train DATASET --init ..."
        )


def _accepted(scores: NDArray[np.float32], calibration: Calibration) -> NDArray[np.bool_]:
    """Return which clips reach a threshold, `(clips,)`."""
    calibrated = with_temperature(scores, calibration.temperature)
    return Policy(calibration.thresholds).accepted(calibrated)


def _baselines(split: Split, numbers: Labels) -> dict[str, float]:
    """Return the accuracy of plain baselines on the training clips, held out fold by fold."""
    folds = []
    for number in np.unique(numbers):
        inside = numbers == number
        train, test = split.train.select(~inside), split.train.select(inside)
        folds.append(dataclasses.replace(split, train=train, test=test))
    found = measure_folds(folds, pooled=True)
    return {name: baseline["accuracy"] for name, baseline in found.items()}


def _with_layer(start: LSTMClassifier, layer: Layer, classes: int) -> LSTMClassifier:
    """Return the network with the layer in place of its last one, in evaluation mode."""
    settings = dataclasses.replace(start.settings, num_classes=classes, prototypes=())
    model = LSTMClassifier.from_settings(settings)
    take_weights(model, start)
    values = {"weight": layer.weights, "bias": layer.bias}
    model.head.linear_layers()[-1].load_state_dict(
        {name: torch.from_numpy(v).float() for name, v in values.items()}
    )
    return model.eval()


def _describe(
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    start: TrainedModel,
    held_out: dict[str, Any] | None,
    seconds: float,
) -> dict[str, Any]:
    """Return what the model's record says about how it was trained; see `describe_training`."""
    return {
        "recipe": to_json(settings),
        "seed": settings.seed,
        "finished": True,
        "epochs": 0,
        "stopped": "only the last layer was fitted",
        "epoch": 0,
        "epoch_chosen_by": "none: a regression on all training clips; calibration is that of clips "
        "held out in turn, by source recording",
        "started_from": start.fingerprint,
        "validation_accuracy": held_out["accuracy"] if held_out else None,
        "validation_loss": held_out["loss"] if held_out else None,
        HELD_OUT: held_out,
        "device": str(accelerator.device),
        "processes": 1,
        "precision": "no",
        "seconds": round(seconds, 3),
        "validated": None,
    }
