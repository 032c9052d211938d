"""The public door: audio files and samples -> class scores, labels and events.

A file of any length is scored block by block through the model's state, so memory does not grow
with it and the scores are those of one pass. Only a bidirectional model needs all of it at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard, overload

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark import bundled
from earmark.config import Calibration, EventSettings
from earmark.decision.calibration_file import read_calibration
from earmark.decision.policy import Policy
from earmark.decision.prediction import Prediction
from earmark.errors import AudioError, ModelError, SettingsError
from earmark.io import decode, waveform
from earmark.io.channels import channels_last
from earmark.runtime.clip import BLOCK_SECONDS, embed_clip, score_clip
from earmark.runtime.embedding import Embedding, EmbeddingStream
from earmark.runtime.engine import Engine
from earmark.runtime.events import Event
from earmark.runtime.restricted import RestrictedEngine
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session, file_chunks

if TYPE_CHECKING:
    from earmark.evaluation.background import BackgroundFit

ONNX_SUFFIX = ".onnx"
LIVE_BLOCK = 0.5  # seconds of a live stream that are scored at a time
_SOUNDS = "give a path, or a tuple (samples, sample_rate)"

Samples: TypeAlias = tuple[NDArray[Any], int]  # and their sample rate
Sound: TypeAlias = str | Path | Samples


class _Place(NamedTuple):
    """Where a classifier was loaded from, and restricted to which classes."""

    model: str | None
    device: str
    classes: tuple[str, ...] | None
    closed_set: bool


class Classifier:
    """Names the sounds of clips and streams with a trained model.

    It can be pickled when it was loaded from a file: where it lands, the model is opened again from
    the same place when it is first used.

    Args:
        engine: runs the model; it may be shared.

    Example:
        >>> classifier = earmark.load()
        >>> classifier.predict("dog.wav").label
        'Dog'
    """

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine | None = engine
        self._place: _Place | None = None  # see `load`
        self._describe(engine)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        device: str = "cpu",
        *,
        calibration: Calibration | str | Path | None = None,
        classes: Sequence[str] | None = None,
        closed_set: bool = False,
    ) -> Classifier:
        """Load a model: an ONNX file, a model directory, or a model of the package.

        Args:
            model: what `earmark export` or training wrote; None or "base": the model of fifty
                classes in the package; "esc10": the one of ten.
            device: a device of torch's; all but the CPU need torch, and so does a directory.
            calibration: takes the place of the model's own, or a file that holds one.
            classes: the only ones to answer with, see `earmark.decision.restriction`; None: all.
            closed_set: nothing but these classes sounds, so that their scores sum to 1.

        Raises:
            ModelError: there is no such model or calibration, or they are not usable.
            SettingsError: the model does not have one of the classes, or none was named.
        """
        engine = open_engine(model, device)
        if classes is not None:
            engine = RestrictedEngine(engine, classes, closed_set=closed_set)
        elif closed_set:
            raise SettingsError("closed_set says what sounds beside the classes named; name them")
        if isinstance(calibration, (str, Path)):
            info = engine.info
            calibration = read_calibration(Path(calibration), info.identity, classes=info.classes)
        if calibration is not None:
            engine = engine.with_calibration(calibration)
        made = cls(engine)
        place = bundled.name_of(model) or str(Path(str(model)).absolute())
        made._place = _Place(place, device, None if classes is None else made.classes, closed_set)
        return made

    def with_calibration(self, calibration: Calibration) -> Classifier:
        """Return a classifier of the same weights, which both share, under another calibration.

        Raises:
            ModelError: the calibration is of a model with another number of classes.
        """
        made = type(self)(self.engine.with_calibration(calibration))
        made._place = self._place
        return made

    @property
    def engine(self) -> Engine:
        """What runs the model; it is opened where it is not yet.

        Raises:
            ModelError: the classifier was sent here from elsewhere, and its model is not here, or
                is another one by now.
        """
        if self._engine is None:
            place = self._place or _Place(None, "cpu", None, False)
            model = place.model
            engine = open_engine(model, place.device)
            if engine.info.fingerprint != self.info.fingerprint:
                raise ModelError(
                    f"{model or bundled.BUNDLED}: is another model than the one that was loaded; "
                    "load it again"
                )
            if place.classes is not None:
                engine = RestrictedEngine(engine, place.classes, closed_set=place.closed_set)
            self._engine = engine.with_calibration(self.info.calibration)
        return self._engine

    @overload
    def predict(  # type: ignore[overload-overlap]  # text is a path, not many
        self, sounds: Sound, *, threshold: float = ...
    ) -> Prediction: ...

    @overload
    def predict(self, sounds: Iterable[Sound], *, threshold: float = ...) -> list[Prediction]: ...

    def predict(
        self, sounds: Sound | Iterable[Sound], *, threshold: float = 0.0
    ) -> Prediction | list[Prediction]:
        """Name the sound in one clip, or in each of many.

        Args:
            sounds: an audio file of any length, or a tuple of samples and their sample rate; or any
                number of these. Samples are `(samples,)`, `(samples, channels)` or
                `(channels, samples)`: floats with full scale at -1 to 1, or whole numbers with full
                scale at the ends of their type, as int16.
            threshold: score from which any class counts; 0: each class's own.

        Returns:
            A prediction, or a list of them in the order of the sounds.

        Raises:
            AudioError: a file that cannot be read, see `earmark.io.decode.read_blocks`; or no
                samples, NaN or infinite ones, an unsupported rate, or a shape that may be either
                way round. Silence is scored like any sound, but a fault to a model without
                thresholds of its own, which never met it.
            SettingsError: the threshold is no number from 0 to below 1.
        """
        policy = self._policy(threshold)
        single, named = _named(sounds)
        predictions = [self._predict_one(sound, policy, name) for name, sound in named]
        return predictions[0] if single else predictions

    def predict_proba(self, sounds: Sound | Iterable[Sound]) -> NDArray[np.float32]:
        """Return the probability of every class, in the order of `classes`.

        Args:
            sounds: see `predict`.

        Returns:
            `(classes,)` for one sound, `(sounds, classes)` for many.

        Raises:
            AudioError: see `predict`.
        """
        policy = self._policy(0.0)
        single, named = _named(sounds)
        predictions = [self._predict_one(sound, policy, name) for name, sound in named]
        scores = [[prediction.scores[name] for name in self.classes] for prediction in predictions]
        rows = np.array(scores, np.float32).reshape(-1, len(self.classes))
        return rows[0] if single else rows

    def embed(self, sounds: Sound | Iterable[Sound]) -> NDArray[np.float32]:
        """Return what the model's last layers make their scores of, for finding sounds alike.

        Args:
            sounds: see `predict`; each is one clip, however long. Silence is no fault.

        Returns:
            `(dimensions,)` for one sound, `(sounds, dimensions)` for many.

        Raises:
            AudioError: see `predict`.
            ModelError: the model is a file of an earlier version, which gives no embeddings.
        """
        single, named = _named(sounds)
        rows = [
            embed_clip(self.engine, self._blocks(sound, name, allow_silence=True))[0]
            for name, sound in named
        ]
        found = np.array(rows, np.float32).reshape(-1, self.embedding_size)
        return found[0] if single else found

    def embed_segments(self, sound: Sound, *, every_seconds: float = 1.0) -> Iterator[Embedding]:
        """Embed every second of a recording of any length, in bounded memory.

        Args:
            sound: an audio file, or a tuple of samples and their sample rate.
            every_seconds: length of a segment, up to a minute; 0: each step of the model.

        Yields:
            Segments in their order. Of a file with a fault in it, those before the fault, and then
            it is raised.

        Raises:
            ModelError: the model is bidirectional, or gives no embeddings.
            AudioError: see `events` and `predict`; silence is no fault.
            SettingsError: `every_seconds` is out of range.
        """
        if isinstance(sound, tuple):
            samples, sample_rate = sound
            stream = self.embedding_stream(
                sample_rate, every_seconds=every_seconds, source="samples"
            )
            return stream.embed([channels_last(samples, stream.source)])
        stream = self.embedding_stream(every_seconds=every_seconds, source=str(sound))
        return stream.embed(file_chunks(Path(sound), self.sample_rate))

    def embedding_stream(
        self,
        sample_rate: int | None = None,
        *,
        every_seconds: float = 1.0,
        source: str = "stream",
    ) -> EmbeddingStream:
        """Begin a stream whose every second is embedded.

        Args:
            sample_rate: sample rate of the stream; without it the model's.
            every_seconds: length of a segment, up to a minute; 0: each step of the model.
            source: name of the stream, for messages.

        Raises:
            ModelError: the model is bidirectional, or gives no embeddings.
            AudioError: a rate that is not supported.
            SettingsError: `every_seconds` is out of range.

        Example:
            >>> stream = earmark.load().embedding_stream(sample_rate=48_000)
            >>> for segment in stream.push(samples):
            ...     print(segment.onset, segment.vector)
        """
        return EmbeddingStream(
            self.engine,
            sample_rate or self.sample_rate,
            every_seconds=every_seconds,
            source=source,
        )

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding.

        Raises:
            ModelError: the model is a file of an earlier version, which gives no embeddings.
        """
        return self.engine.embedding_size

    def predict_samples(
        self,
        samples: NDArray[Any],
        sample_rate: int,
        *,
        name: str = "samples",
        threshold: float = 0.0,
    ) -> Prediction:
        """Name the sound in samples; the same as `predict` of them, under a name of their own.

        Args:
            samples: the samples, see `predict`.
            sample_rate: their sample rate.
            name: stands for a path in the prediction and in faults.
            threshold: score from which any class counts; 0: each class's own.

        Raises:
            AudioError, SettingsError: see `predict`.
        """
        return self._predict_one((samples, sample_rate), self._policy(threshold), name)

    def detect(self, sound: Sound, settings: EventSettings | None = None) -> list[Event]:
        """Find the events in one file or clip; `events` gives those of a long file as they end.

        Args:
            sound: an audio file, or a tuple of samples and their sample rate.
            settings: how scores become events.

        Raises:
            ModelError: see `stream`.
            AudioError: see `events` and `predict`; silence is no fault.
        """
        if not isinstance(sound, tuple):
            return list(self.events(sound, settings))
        samples, sample_rate = sound
        session = self.stream(
            sample_rate,
            settings=settings,
            source="samples",
            block_seconds=BLOCK_SECONDS,
        )
        return list(session.detect([channels_last(samples, session.source)]))

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

    def stream(
        self,
        sample_rate: int | None = None,
        *,
        settings: EventSettings | None = None,
        source: str = "stream",
        block_seconds: float = LIVE_BLOCK,
    ) -> Session:
        """Begin a stream.

        Args:
            sample_rate: sample rate of the stream; without it the model's.
            settings: how scores become events.
            source: name of the stream, for its events.
            block_seconds: about this much is scored at a time: the default costs two fifths of 0,
                which answers after every step of the model; files are scored 5 s at a time.

        Returns:
            A session of its own for each stream; the weights are shared.

        Raises:
            ModelError: the model is bidirectional and would need the future.
            AudioError: a rate that is not supported.

        Example:
            >>> session = earmark.load().stream(sample_rate=48_000)
            >>> for event in session.push(samples):
            ...     print(event.label, event.onset, event.offset)
        """
        settings = (settings or EventSettings()).with_lags(self.info.model.lags_seconds)
        scorer = self._scorers.get((settings, block_seconds))
        if scorer is None:
            scorer = StreamScorer(self.engine, settings, block_seconds=block_seconds)
            self._scorers[settings, block_seconds] = scorer
        return Session(scorer, sample_rate or self.sample_rate, settings, source)

    def calibrate(
        self,
        background: str | Path | Sequence[str | Path],
        *,
        false_alarms_per_hour: float,
        positives: str | Path | None = None,
        settings: EventSettings | None = None,
    ) -> BackgroundFit:
        """Fit thresholds to the place where the model is to listen; the weights stay as they are.

        Args:
            background: recordings of that place in which none of the classes sounds.
            false_alarms_per_hour: events that may be found in such background.
            positives: a dataset of clips of the classes, to see what the thresholds cost.
            settings: how scores become events; the rate holds for these.

        Returns:
            The calibration and how it was found; `with_calibration(found.calibration)` uses it.

        Raises:
            AudioError: a recording cannot be read, is silent, holds a class for most of its time,
                or all together are too short for the rate.
            SettingsError: a rate that is not above 0, or a threshold among the settings.
            DatasetError: the positives cannot be read, or the model does not have their classes.
            ModelError: the model is bidirectional, or a class is sure of itself in background.
        """
        from earmark.evaluation.background import fit_background

        given = [background] if isinstance(background, (str, Path)) else background
        return fit_background(
            self.engine,
            [Path(path) for path in given],
            false_alarms_per_hour=false_alarms_per_hour,
            settings=settings or EventSettings(),
            positives=None if positives is None else Path(positives),
        )

    def file_session(self, path: str | Path, settings: EventSettings | None = None) -> Session:
        """Return a session for a file, with longer blocks than one for a live stream."""
        return self.stream(settings=settings, source=str(path), block_seconds=BLOCK_SECONDS)

    def __getstate__(self) -> dict[str, Any]:
        if self._place is None:
            raise ModelError(
                f"{self.info.name or 'the model'}: stands in memory alone and cannot be sent to "
                "another process; save it, and load it from there"
            )
        return {"info": self.info, "place": self._place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._engine, self._place = None, state["place"]
        self._describe(state["info"])

    def _describe(self, described: Any) -> None:
        self.info = getattr(described, "info", described)
        self.classes = self.info.classes
        self.sample_rate = self.info.sample_rate
        self.rejects = bool(self.info.calibration.thresholds)
        self._scorers: dict[tuple[EventSettings, float], StreamScorer] = {}

    def _policy(self, threshold: float) -> Policy:
        one = EventSettings(threshold=threshold).threshold  # raises on what is no threshold
        return Policy.of_model(self.info.calibration.thresholds, len(self.classes), threshold=one)

    def _predict_one(self, sound: Sound, policy: Policy, name: str) -> Prediction:
        blocks = self._blocks(sound, name, allow_silence=self.rejects)
        scores, seconds = score_clip(self.engine, blocks)
        path = name if isinstance(sound, tuple) else str(sound)
        return Prediction.of_scores(path, seconds, self.classes, scores, policy)

    def _blocks(
        self, sound: Sound, name: str, *, allow_silence: bool
    ) -> Iterable[NDArray[np.float32]]:
        """Return a clip's samples at the model's rate, block by block."""
        if isinstance(sound, tuple):
            return [self._mono(*sound, name, allow_silence=allow_silence)]
        return decode.read_blocks(Path(sound), self.sample_rate, allow_silence=allow_silence)

    def _mono(
        self, samples: NDArray[Any], sample_rate: int, name: str, *, allow_silence: bool
    ) -> NDArray[np.float32]:
        """Return a clip's samples at the model's rate."""
        clip = channels_last(samples, name)
        mono = waveform.mono_recording(clip, sample_rate, name, needed=self.sample_rate)
        if mono.size == 0:
            raise AudioError(f"{name}: holds no samples")
        if not mono.any() and not allow_silence:
            raise AudioError(f"{name}: is silent, every sample is zero")
        if sample_rate != self.sample_rate:
            mono = soxr.resample(mono, sample_rate, self.sample_rate, quality="HQ")
        return mono


def open_engine(model: str | Path | None = None, device: str = "cpu") -> Engine:
    """Open what runs a model: onnxruntime for an ONNX file, torch for a model directory.

    Args:
        model: a file or directory, or what `bundled.name_of` takes for a model of the package.
        device: a device of torch's.

    Raises:
        ModelError: there is no such model, it is not usable, or torch is not installed.
    """
    path = Path(str(model))
    if name := bundled.name_of(model):
        path = bundled.FOLDERS[name]
        if device == "cpu":
            path = path / bundled.ONNX_NAME
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


def _named(sounds: Sound | Iterable[Sound]) -> tuple[bool, Iterator[tuple[str, Sound]]]:
    """Tell one sound from many; give each a name, for those that are samples.

    Raises:
        AudioError: samples without their rate.
    """
    if isinstance(sounds, np.ndarray):
        raise AudioError("samples need their sample rate; give (samples, sample_rate)")
    if _is_sound(sounds):
        return True, iter([("samples", sounds)])
    if isinstance(sounds, Iterable):
        return False, _numbered(sounds)
    raise AudioError(f"a {type(sounds).__name__} is no sound; {_SOUNDS}")


def _numbered(sounds: Iterable[Any]) -> Iterator[tuple[str, Sound]]:
    for number, sound in enumerate(sounds):
        if not _is_sound(sound):
            raise AudioError(f"sound {number} is a {type(sound).__name__}; {_SOUNDS}")
        yield f"samples {number}", sound


def _is_sound(sound: object) -> TypeGuard[Sound]:
    """Tell whether something is a path, or samples with their rate."""
    if isinstance(sound, tuple):
        return len(sound) == 2 and isinstance(sound[1], (int, np.integer))
    return isinstance(sound, (str, os.PathLike))
