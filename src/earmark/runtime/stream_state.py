"""Where a stream stands, as a value and as a file.

The file is NumPy's: arrays, and a record as JSON. It holds no code. Files of schema 3, which
earlier versions wrote, are read too.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings, from_json, to_json
from earmark.errors import ModelError, SettingsError
from earmark.io.files import write_bytes
from earmark.io.resample import ResamplerState
from earmark.runtime.engine import ModelInfo
from earmark.runtime.events import EventState, Ongoing
from earmark.runtime.scorer import ScorerState

if TYPE_CHECKING:
    from earmark.runtime.core import StreamCore

_SCHEMA = 4
_OLDEST = 3
_EARLIER_NAMES = {"rate_hz": "sample_rate", "heard": "taken", "model": "fingerprint"}
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


def write_state(path: Path, core: StreamCore, state: StreamState) -> None:
    """Write where a stream stands to one file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    info, ongoing = core.scorer.info, state.events.ongoing
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
        "fingerprint": info.fingerprint,
        "identity": info.identity,
        "classes": list(info.classes),
        "settings": to_json(core.settings),
        "block_samples": core.scorer.block_samples,
        "sample_rate": state.sample_rate,
        "taken": state.resampler.taken,
        "given": state.resampler.given,
        "steps": state.events.steps,
        "ongoing": {n: [known.first, known.last, known.highest] for n, known in ongoing.items()},
    }
    data = io.BytesIO()
    np.savez(data, record=np.array(json.dumps(record)), **arrays)
    write_bytes(path, data.getvalue())


def read_state(path: Path, core: StreamCore) -> StreamState:
    """Read where a stream of the same weights and settings stood.

    The calibration may be another one than it was.

    Raises:
        ModelError: the file is no such state, or that of another model or other settings.
        OSError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            record, arrays = json.loads(str(file["record"])), dict(file)
        if record["schema"] not in range(_OLDEST, _SCHEMA + 1):
            raise ModelError(
                f"{path}: was written by another version of Earmark; begin the stream anew"
            )
        record = {_EARLIER_NAMES.get(name, name): value for name, value in record.items()}
        settings = from_json(EventSettings, record["settings"])
        same = (settings, record["block_samples"]) == (core.settings, core.scorer.block_samples)
        if not same or not _of_model(record, core.scorer.info):
            raise ModelError(
                f"{path}: is the state of a stream of another model or with other settings"
            )
        if record.get("classes", list(core.classes)) != list(core.classes):
            raise ModelError(
                f"{path}: is the state of a stream with other classes; restrict the model to "
                "the same ones, or begin the stream anew"
            )
        return _state(record, arrays, core)
    except _UNREADABLE as error:
        raise ModelError(f"{path}: is no state of a stream ({error})") from None


def _of_model(record: dict[str, Any], info: ModelInfo) -> bool:
    """Tell whether a state is one of these weights, whatever the calibration."""
    same_weights = bool(info.identity) and record.get("identity") == info.identity
    return same_weights or record["fingerprint"] == info.fingerprint


def _state(
    record: dict[str, Any], arrays: dict[str, NDArray[Any]], core: StreamCore
) -> StreamState:
    start = core.scorer.initial_state()
    recent = _like(arrays["recent_scores"], core.finder.initial_state().recent)
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
        ResamplerState(int(record["taken"]), int(record["given"]), arrays["resampler"]),
        ScorerState(arrays["samples"], model),
        EventState(recent, int(record["steps"]), ongoing),
    )


def _like(array: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"an array is {array.dtype} {array.shape}, not {wanted.dtype} {wanted.shape}"
        )
    return array
