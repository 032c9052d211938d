"""A session for one stream: samples of any rate in, events out.

    session = classifier.stream(sample_rate=48_000)
    for event in session.push(samples):
        ...

A session belongs to one stream and one thread at a time; the weights are shared by all sessions and
only read. All that it knows of its stream is one value, `session.state`, which can be kept, written
to a file and gone on from.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings, from_json, to_json
from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.errors import AudioError, ModelError, SettingsError
from earmark.io import decode
from earmark.io.files import write_bytes
from earmark.io.resample import Resampler, ResamplerState
from earmark.runtime.events import Event, EventFinder, EventState, Ongoing
from earmark.runtime.scorer import ScorerState, StreamScorer

_SCHEMA = 3
_UNREADABLE = (
    SettingsError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
)


class StreamState(NamedTuple):
    """Everything that a stream's next scores and events follow from.

    Attributes:
        sample_rate: sample rate of what comes in.
        resampler: where the change to the model's rate stands.
        scorer: where front end and model stand.
        events: where the search for events stands.
    """

    sample_rate: int
    resampler: ResamplerState
    scorer: ScorerState
    events: EventState


class Session:
    """Hears one stream.

    Args:
        scorer: scores segments with a model; sessions share it.
        sample_rate: sample rate of the stream.
        settings: how scores become events.
        source: name of the stream, for its events and messages.

    Raises:
        AudioError: a rate that is not supported.

    Attributes:
        rows: the scores `(steps, classes)` that the last `push` gave, a row for each segment.
    """

    def __init__(
        self,
        scorer: StreamScorer,
        sample_rate: int,
        settings: EventSettings,
        source: str = "stream",
    ) -> None:
        info = scorer.info
        self.classes, self.source, self.settings = info.classes, source, settings
        self.scorer = scorer
        self.finder = EventFinder(
            info.classes,
            info.calibration.thresholds,
            scorer.step_seconds,
            settings,
            info.fingerprint,
        )
        self._resampler = self._resampler_from(sample_rate)
        self._state = scorer.initial_state()
        self._events = self.finder.initial_state()
        self._ended = False
        self.rows: NDArray[np.float32] = np.zeros((0, len(self.classes)), np.float32)
        self._last: NDArray[np.float32] | None = None

    @property
    def sample_rate(self) -> int:
        """Sample rate of what comes in."""
        return self._resampler.from_hz

    @property
    def seconds(self) -> float:
        """Length of what was heard so far."""
        waiting = len(self._state.samples) / self.scorer.sample_rate
        return self._events.steps * self.scorer.step_seconds + waiting

    @property
    def scores(self) -> dict[str, float]:
        """The latest scores by class, most likely first; empty before the first."""
        if self._last is None:
            return {}
        pairs = zip(self.classes, self._last.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    @property
    def active_now(self) -> list[str]:
        """The classes that are being heard, for those who cannot wait for an event's end."""
        ongoing, latest = self._events.ongoing, self._events.steps - 1
        return [
            self.classes[number] for number in sorted(ongoing) if ongoing[number].last == latest
        ]

    def push(self, samples: NDArray[Any], sample_rate: int | None = None) -> list[Event]:
        """Hear the next samples.

        Args:
            samples: `(samples,)` or `(samples, channels)`, any number, none included; floats with
                full scale at -1 to 1, or signed whole numbers with full scale at their ends.
            sample_rate: their sample rate, when it has changed.

        Returns:
            The events that have ended.

        Raises:
            AudioError: NaN or infinite samples, another shape or type, a rate that is not
                supported, or a stream that has ended. The stream is as it was before.
        """
        if self._ended:
            raise AudioError(f"{self.source}: has ended; begin another stream")
        mono = decode.mono(samples, f"{self.source}, after {self.seconds:.1f} s")
        if sample_rate is None or sample_rate == self.sample_rate:
            return self._process(self._resampler.push(mono))
        following = self._resampler_from(sample_rate)
        rest = self._resampler.finish()
        self._resampler = following
        return self._process(np.concatenate([rest, following.push(mono)]))

    def detect_file(self, path: Path) -> Iterator[Event]:
        """Hear a whole file, at the model's rate, as this stream; see `Classifier.events`.

        Yields:
            Events as they end.

        Raises:
            AudioError: see `earmark.io.decode.read_blocks`; what came before the fault was heard.
        """
        return self.hear(file_chunks(path, self.sample_rate))

    def hear(self, chunks: Iterable[NDArray[Any]]) -> Iterator[Event]:
        """Hear chunks to their end, or to a fault in them, which is raised after all events."""
        fault = None
        try:
            for chunk in chunks:
                yield from self.push(chunk)
        except AudioError as error:
            fault = error
        yield from self.finish()
        if fault:
            raise fault

    def finish(self) -> list[Event]:
        """End the stream: hear what the resampler still holds, and end all events.

        What does not fill one step of the model at the very end is not heard.
        """
        if self._ended:
            return []
        events = self._process(self._resampler.finish())
        rest, self._state = self.scorer.finish(self._state)
        events += self._found(rest)
        self.rows = np.concatenate([self.rows, rest])
        self._ended = True
        return events + self.finder.finish(self._events, self.source)

    @property
    def state(self) -> StreamState:
        """Where the stream stands, as a value."""
        return StreamState(self.sample_rate, self._resampler.state, self._state, self._events)

    @state.setter
    def state(self, state: StreamState) -> None:
        self._resampler, ahead = Resampler.resumed(
            state.sample_rate, self.scorer.sample_rate, state.resampler
        )
        samples = np.concatenate([state.scorer.samples, ahead])
        self._state, self._events = state.scorer._replace(samples=samples), state.events
        self._ended = False

    def save(self, path: Path) -> None:
        """Write where the stream stands to one file, whole or not at all; it holds no code.

        The file is NumPy's: arrays, and a record as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        state, ongoing = self.state, self.state.events.ongoing
        arrays: dict[str, Any] = {
            "resampler": state.resampler.recent,
            "samples": state.scorer.samples,
            "recent_scores": state.events.recent,
            **{f"model.{name}": array for name, array in state.scorer.model.items()},
            **{f"total.{number}": known.total for number, known in ongoing.items()},
            **{f"pending.{number}": known.pending for number, known in ongoing.items()},
        }
        record = {
            "schema": _SCHEMA,
            "model": self.finder.model,
            "settings": to_json(self.settings),
            "block_samples": self.scorer.block_samples,
            "sample_rate": state.sample_rate,
            "heard": state.resampler.taken,
            "given": state.resampler.given,
            "steps": state.events.steps,
            "ongoing": {
                n: [known.first, known.last, known.highest] for n, known in ongoing.items()
            },
        }
        data = io.BytesIO()
        np.savez(data, record=np.array(json.dumps(record)), **arrays)
        write_bytes(path, data.getvalue())

    def restore(self, path: Path) -> None:
        """Go on from where `save` left a stream of the same model and settings.

        Raises:
            ModelError: the file is no such state, or that of another model or other settings.
            OSError: the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                record, arrays = json.loads(str(file["record"])), dict(file)
            if record["schema"] != _SCHEMA:
                raise ModelError(
                    f"{path}: was written by another version of Earmark; begin the stream anew"
                )
            mine = (self.finder.model, self.settings, self.scorer.block_samples)
            settings = from_json(EventSettings, record["settings"])
            its = (record["model"], settings, record["block_samples"])
            if mine != its:
                raise ModelError(
                    f"{path}: is the state of a stream of another model or with other settings"
                )
            self.state = self._read(record, arrays)
        except _UNREADABLE as error:
            raise ModelError(f"{path}: is no state of a stream ({error})") from None

    def _read(self, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> StreamState:
        start = self.scorer.initial_state()
        recent = _like(arrays["recent_scores"], self.finder.initial_state().recent)
        model = {name: _like(arrays[f"model.{name}"], array) for name, array in start.model.items()}
        ongoing = {
            int(number): Ongoing(
                int(first),
                int(last),
                float(highest),
                arrays[f"total.{number}"],
                arrays[f"pending.{number}"],
            )
            for number, (first, last, highest) in record["ongoing"].items()
        }
        return StreamState(
            int(record["sample_rate"]),
            ResamplerState(int(record["heard"]), int(record["given"]), arrays["resampler"]),
            ScorerState(arrays["samples"], model),
            EventState(recent, int(record["steps"]), ongoing),
        )

    def _resampler_from(self, sample_rate: int) -> Resampler:
        if not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
            raise AudioError(f"{self.source}: has an unsupported sample rate of {sample_rate} Hz")
        return Resampler(sample_rate, self.scorer.sample_rate)

    def _process(self, samples: NDArray[np.float32]) -> list[Event]:
        self.rows, self._state = self.scorer.step(samples, self._state)
        return self._found(self.rows)

    def _found(self, rows: NDArray[np.float32]) -> list[Event]:
        if len(rows) == 0:
            return []
        self._last = rows[-1]
        events, self._events = self.finder.step(rows, self._events, self.source)
        return events


def file_chunks(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    """Read a file as a stream is heard: silence is no fault, and of a cut file what is there."""
    return decode.read_blocks(
        path, sample_rate, block_seconds=1.0, allow_silence=True, keep_truncated=True
    )


def _like(array: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"an array is {array.dtype} {array.shape}, not {wanted.dtype} {wanted.shape}"
        )
    return array
