"""A session for one stream: samples of any rate in, events out. Layer 5.1: torch.

    session = recognizer.stream(rate_hz=48_000)
    for event in session.push(samples):
        ...

A session belongs to one stream and one thread at a time; the weights are shared by all sessions and
only read. All that it knows of its stream is one value, `session.state`, which can be kept, written
to a file and gone on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from earmark import audio
from earmark.artifact import TrainedModel
from earmark.audio import Resampler, ResamplerState
from earmark.errors import AudioError, ModelError
from earmark.files import write_bytes
from earmark.inference.events import Event, EventFinder, EventState, Ongoing
from earmark.inference.stream import Hearing, HearingState
from earmark.model import ModelState
from earmark.settings import EventSettings, to_json

_SCHEMA = 1


class StreamState(NamedTuple):
    """Everything that a stream's next scores and events follow from.

    Attributes:
        rate_hz: sample rate of what comes in.
        resampler: where the change to the model's rate stands.
        hearing: where front end and model stand.
        events: where the search for events stands.
    """

    rate_hz: int
    resampler: ResamplerState
    hearing: HearingState
    events: EventState


class Session:
    """Hears one stream.

    Args:
        trained: the model; it is only read.
        hearing: scores moments with that model; sessions share it.
        rate_hz: sample rate of the stream.
        settings: how scores become events.
        source: name of the stream, for its events and messages.

    Raises:
        AudioError: a rate that is not supported.

    Attributes:
        rows: the scores `(steps, classes)` that the last `push` gave, a row for each moment.
    """

    def __init__(
        self,
        trained: TrainedModel,
        hearing: Hearing,
        rate_hz: int,
        settings: EventSettings,
        source: str = "stream",
    ) -> None:
        self.classes, self.source, self.settings = trained.classes, source, settings
        self.hearing = hearing
        self.finder = EventFinder(
            trained.classes,
            trained.calibration.thresholds,
            hearing.step_seconds,
            settings,
            trained.fingerprint,
        )
        self._resampler = self._resampler_from(rate_hz)
        self._state = hearing.initial_state()
        self._events = self.finder.initial_state()
        self._ended = False
        self.rows: NDArray[np.float32] = np.zeros((0, len(self.classes)), np.float32)
        self._last: NDArray[np.float32] | None = None

    @property
    def rate_hz(self) -> int:
        """Sample rate of what comes in."""
        return self._resampler.from_hz

    @property
    def seconds(self) -> float:
        """Length of what was heard so far."""
        waiting = len(self._state.samples) / self.hearing.rate_hz
        return self._events.steps * self.hearing.step_seconds + waiting

    @property
    def scores(self) -> dict[str, float]:
        """The latest scores by class, most likely first; empty before the first."""
        if self._last is None:
            return {}
        pairs = zip(self.classes, self._last.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    @property
    def heard_now(self) -> list[str]:
        """The classes that are being heard, for those who cannot wait for an event's end."""
        ongoing, latest = self._events.ongoing, self._events.steps - 1
        return [
            self.classes[number] for number in sorted(ongoing) if ongoing[number].last == latest
        ]

    def push(self, samples: NDArray[Any], rate_hz: int | None = None) -> list[Event]:
        """Hear the next samples.

        Args:
            samples: `(samples,)` or `(samples, channels)`, any number, none included; floats with
                full scale at -1 to 1, or signed whole numbers with full scale at their ends.
            rate_hz: their sample rate, when it has changed.

        Returns:
            The events that have ended.

        Raises:
            AudioError: NaN or infinite samples, another shape or type, a rate that is not
                supported, or a stream that has ended. The stream is as it was before.
        """
        if self._ended:
            raise AudioError(f"{self.source}: has ended; begin another stream")
        mono = audio.mono(samples, f"{self.source}, after {self.seconds:.1f} s")
        parts = []
        if rate_hz is not None and rate_hz != self.rate_hz:
            following = self._resampler_from(rate_hz)
            parts.append(self._resampler.finish())
            self._resampler = following
        parts.append(self._resampler.push(mono))
        return self._hear(np.concatenate(parts))

    def hear_file(self, path: Path) -> Iterator[Event]:
        """Hear a whole file, at the model's rate, as this stream; see `Recognizer.events`.

        Yields:
            Events as they end.

        Raises:
            AudioError: see `earmark.audio.read_blocks`; what came before the fault was heard.
        """
        return self.hear(file_chunks(path, self.rate_hz))

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
        events = self._hear(self._resampler.finish())
        rest, self._state = self.hearing.finish(self._state)
        events += self._found(rest)
        self.rows = np.concatenate([self.rows, rest])
        self._ended = True
        return events + self.finder.finish(self._events, self.source)

    @property
    def state(self) -> StreamState:
        """Where the stream stands, as a value."""
        return StreamState(self.rate_hz, self._resampler.state, self._state, self._events)

    @state.setter
    def state(self, state: StreamState) -> None:
        self._resampler, ahead = Resampler.resumed(
            state.rate_hz, self.hearing.rate_hz, state.resampler
        )
        waiting = state.hearing.samples
        samples = torch.cat([waiting, torch.from_numpy(ahead).to(waiting.device)])
        self._state, self._events = state.hearing._replace(samples=samples), state.events
        self._ended = False

    def save(self, path: Path) -> None:
        """Write where the stream stands to one file, whole or not at all; it holds no code.

        Raises:
            OSError: the file cannot be written.
        """
        state = self.state
        tensors: dict[str, Tensor] = {
            "resampler": torch.from_numpy(state.resampler.recent),
            "samples": state.hearing.samples,
            "front_end": state.hearing.front_end,
            "recent_scores": torch.from_numpy(state.events.recent),
        }
        for name, value in state.hearing.model._asdict().items():
            if isinstance(value, Tensor):
                tensors[f"model.{name}"] = value
        for number, context in enumerate(state.hearing.model.contexts):
            tensors[f"context.{number}"] = context
        for number, known in state.events.ongoing.items():
            tensors[f"total.{number}"] = torch.from_numpy(known.total)
            tensors[f"pending.{number}"] = torch.from_numpy(known.pending)
        ongoing = {
            number: [known.first, known.last, known.highest]
            for number, known in state.events.ongoing.items()
        }
        record = {
            "schema": _SCHEMA,
            "model": self.finder.model,
            "settings": to_json(self.settings),
            "block_samples": self.hearing.block_samples,
            "rate_hz": state.rate_hz,
            "heard": state.resampler.heard,
            "given": state.resampler.given,
            "model_steps": state.hearing.model.steps,
            "steps": state.events.steps,
            "ongoing": ongoing,
        }
        flat = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        write_bytes(path, save_tensors(flat, metadata={"stream": json.dumps(record)}))

    def restore(self, path: Path) -> None:
        """Go on from where `save` left a stream of the same model and settings.

        Raises:
            ModelError: the file is no such state, or that of another model or other settings.
            OSError: the file cannot be read.
        """
        try:
            with safe_open(path, framework="pt") as file:
                record = json.loads((file.metadata() or {})["stream"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            device = self.hearing.initial_state().front_end.device
            mine = (_SCHEMA, self.finder.model, to_json(self.settings), self.hearing.block_samples)
            its = tuple(record[key] for key in ("schema", "model", "settings", "block_samples"))
            if mine != its:
                raise ModelError(
                    f"{path}: is the state of a stream of another model or with other settings"
                )
            self.state = self._read(record, tensors, device)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: is no state of a stream ({error})") from None

    def _read(
        self, record: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> StreamState:
        start = self.hearing.initial_state()
        model: dict[str, Any] = {}
        for name, value in start.model._asdict().items():
            if isinstance(value, Tensor):
                model[name] = tensors[f"model.{name}"].to(device)
                if name != "frames":  # none of them before the first
                    _same_shape(model[name], value)
        contexts = [
            tensors[f"context.{number}"].to(device) for number in range(len(start.model.contexts))
        ]
        for context, value in zip(contexts, start.model.contexts, strict=True):
            _same_shape(context, value)
        _same_shape(tensors["front_end"], start.front_end)
        model["contexts"] = tuple(contexts)
        ongoing = {
            int(number): Ongoing(
                int(first),
                int(last),
                float(highest),
                tensors[f"total.{number}"].numpy(),
                tensors[f"pending.{number}"].numpy(),
            )
            for number, (first, last, highest) in record["ongoing"].items()
        }
        return StreamState(
            int(record["rate_hz"]),
            ResamplerState(
                int(record["heard"]), int(record["given"]), tensors["resampler"].numpy()
            ),
            HearingState(
                tensors["samples"].to(device),
                tensors["front_end"].to(device),
                ModelState(**model, steps=int(record["model_steps"])),
            ),
            EventState(tensors["recent_scores"].numpy(), int(record["steps"]), ongoing),
        )

    def _resampler_from(self, rate_hz: int) -> Resampler:
        if not audio.LOWEST_RATE_HZ <= rate_hz <= audio.HIGHEST_RATE_HZ:
            raise AudioError(f"{self.source}: has an unsupported sample rate of {rate_hz} Hz")
        return Resampler(rate_hz, self.hearing.rate_hz)

    def _hear(self, samples: NDArray[np.float32]) -> list[Event]:
        self.rows, self._state = self.hearing.step(samples, self._state)
        return self._found(self.rows)

    def _found(self, rows: NDArray[np.float32]) -> list[Event]:
        if len(rows):
            self._last = rows[-1]
        events, self._events = self.finder.step(rows, self._events, self.source)
        return events


def file_chunks(path: Path, rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Read a file as a stream is heard: silence is no fault, and of a cut file what is there."""
    return audio.read_blocks(path, rate_hz, block_seconds=1.0, allow_silence=True, hear_cut=True)


def _same_shape(tensor: Tensor, wanted: Tensor) -> None:
    if (tensor.shape, tensor.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"a tensor is {tuple(tensor.shape)}, not {tuple(wanted.shape)}")
