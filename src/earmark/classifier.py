"""Audio files -> class scores.

A file of any length is heard block by block through the model's state, so memory does not grow with
it and the scores are those of one pass. Only a bidirectional model needs all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark import bundled
from earmark.config import EventSettings
from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.decision.policy import Policy
from earmark.decision.prediction import Prediction
from earmark.errors import AudioError, ModelError
from earmark.io import decode
from earmark.runtime.engine import Engine
from earmark.runtime.events import Event
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session

ONNX_SUFFIX = ".onnx"
LIVE_BLOCK = 0.5  # seconds of a live stream that are heard at a time
_FILE_BLOCK = 5.0  # of a file


class Classifier:
    """Names the sounds of clips with a trained model.

    Args:
        engine: runs the model; it may be shared.

    Example:
        >>> classifier = Classifier.load()
        >>> classifier.predict("dog.wav").label
        'Dog bark'
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.info = engine, engine.info
        self.classes = engine.info.classes
        self.sample_rate = engine.info.sample_rate
        self.rejects = bool(engine.info.calibration.thresholds)
        self._scorers: dict[tuple[EventSettings, float], StreamScorer] = {}

    @classmethod
    def load(cls, model: str | Path | None = None, device: str = "cpu") -> Classifier:
        """Load a model: an ONNX file, a model directory, or the bundled model.

        Args:
            model: what `earmark export` or training wrote; without it the bundled model.
            device: a device of torch's; all but the CPU need torch, and so does a directory.

        Raises:
            ModelError: there is no such model, or it is not usable.
        """
        return cls(open_engine(model, device))

    def predict(self, path: str | Path, *, threshold: float = 0.0) -> Prediction:
        """Name the sound in an audio file of any length.

        Args:
            path: the file.
            threshold: score from which any class counts; 0: each class's own.

        Raises:
            AudioError: see `earmark.io.decode.read_blocks`. Silence is scored like any sound, but a
                fault to a model without thresholds of its own, which never met it.
            SettingsError: the threshold is no number from 0 to below 1.
        """
        policy = self._policy(threshold)
        blocks = decode.read_blocks(Path(path), self.sample_rate, allow_silence=self.rejects)
        return self._predict(blocks, str(path), policy)

    def predict_samples(
        self,
        samples: NDArray[Any],
        sample_rate: int,
        *,
        name: str = "samples",
        threshold: float = 0.0,
    ) -> Prediction:
        """Name the sound in samples `(samples,)` or `(samples, channels)`.

        Floats have full scale at -1 to 1; whole numbers at the ends of their type, as int16.

        Args:
            samples: the samples.
            sample_rate: their sample rate.
            name: stands for a path in the prediction and in faults.
            threshold: score from which any class counts; 0: each class's own.

        Raises:
            AudioError: no samples, NaN or infinite samples, an unsupported rate, or silence where
                the model has no thresholds of its own.
            SettingsError: the threshold is no number from 0 to below 1.
        """
        policy = self._policy(threshold)
        mono = decode.mono(samples, name)
        if mono.size == 0:
            raise AudioError(f"{name}: holds no samples")
        if not mono.any() and not self.rejects:
            raise AudioError(f"{name}: is silent, every sample is zero")
        if not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
            raise AudioError(f"{name}: has an unsupported sample rate of {sample_rate} Hz")
        if sample_rate != self.sample_rate:
            mono = soxr.resample(mono, sample_rate, self.sample_rate, quality="HQ")
        return self._predict([mono], name, policy)

    def stream(
        self,
        sample_rate: int | None = None,
        *,
        settings: EventSettings | None = None,
        source: str = "stream",
        block_seconds: float = LIVE_BLOCK,
    ) -> Session:
        """Begin to hear a stream.

        Args:
            sample_rate: sample rate of the stream; without it the model's.
            settings: how scores become events.
            source: name of the stream, for its events.
            block_seconds: about this much is heard at a time: the default costs two fifths of 0,
                which answers after every step of the model; files are heard 5 s at a time.

        Returns:
            A session of its own for each stream; the weights are shared.

        Raises:
            ModelError: the model is bidirectional and would need the future.
            AudioError: a rate that is not supported.

        Example:
            >>> session = Classifier.load().stream(sample_rate=48_000)
            >>> for event in session.push(samples):
            ...     print(event.label, event.onset, event.offset)
        """
        settings = settings or EventSettings()
        scorer = self._scorers.get((settings, block_seconds))
        if scorer is None:
            scorer = StreamScorer(self.engine, settings, block_seconds=block_seconds)
            self._scorers[settings, block_seconds] = scorer
        return Session(scorer, sample_rate or self.sample_rate, settings, source)

    def events(self, path: str | Path, settings: EventSettings | None = None) -> Iterator[Event]:
        """Find the events in an audio file of any length, in bounded memory.

        Args:
            path: the file.
            settings: how scores become events.

        Yields:
            Events as they end. Of a file with a fault in it, those before the fault, and then it
            is raised.

        Raises:
            ModelError: see `stream`.
            AudioError: see `earmark.io.decode.read_blocks`; silence is no fault.
        """
        yield from self.file_session(path, settings).detect_file(Path(path))

    def file_session(self, path: str | Path, settings: EventSettings | None = None) -> Session:
        """Return a session for a file, which hears longer blocks than one for a live stream."""
        return self.stream(settings=settings, source=str(path), block_seconds=_FILE_BLOCK)

    def _policy(self, threshold: float) -> Policy:
        one = EventSettings(threshold=threshold).threshold  # raises on what is no threshold
        return Policy.of_model(self.info.calibration.thresholds, len(self.classes), threshold=one)

    def _predict(
        self, blocks: Iterable[NDArray[np.float32]], name: str, policy: Policy
    ) -> Prediction:
        counted = _Counted(blocks)
        if self.info.model.network.bidirectional:
            from earmark.runtime.torch_engine import TorchEngine

            assert isinstance(self.engine, TorchEngine)  # none is ever exported
            scores = self.engine.score_whole(np.concatenate(list(counted))[None])[0]
        else:
            most = round(_FILE_BLOCK * self.sample_rate)
            scores = self._heard(
                block[start : start + most]
                for block in counted
                for start in range(0, len(block), most)
            )
        seconds = counted.samples / self.sample_rate
        return Prediction.of_scores(name, seconds, self.classes, scores, policy)

    def _heard(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the scores of a clip, heard in bounded memory.

        What does not fill a step at the end is not heard; a clip shorter than one step is filled
        up with zeros.
        """
        step, state = self.info.step_samples, self.engine.initial_state(1)
        scores, waiting = None, np.zeros(0, np.float32)
        for block in blocks:
            waiting = np.concatenate([waiting, block])
            whole = len(waiting) // step * step
            if whole:
                _, scores, (state,) = self.engine.step(waiting[None, :whole], [state])
                waiting = waiting[whole:]
        if scores is None:
            padded = np.pad(waiting, (0, step - len(waiting)))
            _, scores, _ = self.engine.step(padded[None], [state])
        clip: NDArray[np.float32] = scores[0]
        return clip


def open_engine(model: str | Path | None = None, device: str = "cpu") -> Engine:
    """Open what runs a model: onnxruntime for an ONNX file, torch for a model directory.

    Raises:
        ModelError: there is no such model, it is not usable, or torch is not installed.
    """
    shipped = bundled.ONNX_FILE if device == "cpu" else bundled.DIRECTORY
    path = shipped if model is None else Path(model)
    if path.suffix == ONNX_SUFFIX or path.is_file():
        if device != "cpu":
            raise ModelError(f"{path}: an ONNX file runs on the CPU; give the model directory")
        from earmark.runtime.onnx_engine import OnnxEngine

        return OnnxEngine(path)
    try:
        from earmark.model_directory import load_model
        from earmark.runtime.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{path}: a model directory needs {error.name}; pip install earmark[train], or give a "
            "file that earmark export wrote"
        ) from None
    try:
        return TorchEngine(load_model(path), device, path.resolve().name)
    except ModelError as error:
        raise ModelError(
            str(error) if str(error).startswith(str(path)) else f"{path}: {error}"
        ) from None


class _Counted:
    """Iterates over blocks and counts their samples."""

    def __init__(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        self._blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks:
            self.samples += len(block)
            yield block
