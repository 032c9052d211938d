"""Runs a model that `earmark export` wrote, without torch.

Frames are computed in NumPy (`earmark.runtime.frames`) and given to the network; the front end in
the file is for those who have nothing but the file.

The file is read as data: it carries no code, and parts of it that would lie in other files are not
looked for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from earmark.config import Calibration, FrontEndSettings, ModelSettings, from_json
from earmark.decision.calibration import with_temperature
from earmark.errors import ModelError, SettingsError
from earmark.runtime.engine import (
    Floats,
    ModelInfo,
    State,
    joined,
    recalibrated,
    split_states,
)
from earmark.runtime.frames import MelFrames

SCHEMA = 4  # from this one on there are embeddings
PREFIX = "earmark."
FIELDS = (
    *("schema", "classes", "sample_rate", "step_samples", "front_end", "model", "calibration"),
    *("data", "fingerprint", "created"),
)
IDENTITY = "identity"  # a field that files of earlier versions lack
EMBEDDINGS = ("embedding", "clip_embedding")  # outputs that files before schema 4 lack
FRAMES = "frames"  # an input that need not be given, and that earlier files lack
_WINDOW = "window_less_one"
_EARLIER_RATE = "rate_hz"  # what schemas 1 and 2 called the sample rate
_KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class OnnxEngine:
    """Runs an exported model on the CPU, on one thread.

    Args:
        path: the file.
        own_front_end: let the file make its frames itself, as others who run it do.

    Raises:
        ModelError: it is no ONNX file, not one of ours, incomplete, of a newer schema, or needs a
            newer onnxruntime.
    """

    def __init__(self, path: Path, *, own_front_end: bool = False) -> None:
        self._path, self._session = path, _open(path)
        self.info = _info(path, self._session.get_modelmeta().custom_metadata_map)
        self._temperature = self.info.calibration.temperature  # which its scores have already
        self._states = {
            given.name: (given.shape, _KINDS[given.type])
            for given in self._session.get_inputs()
            if given.name != "samples"
        }
        optional = {given.name for given in self._session.get_overridable_initializers()}
        outside = FRAMES in optional and not own_front_end
        self._frames = MelFrames(self.info.front_end) if outside else None
        self._outputs = ["scores", "clip_scores", *(f"next_{name}" for name in self._states)]
        given = {output.name: output.shape for output in self._session.get_outputs()}
        self._embedding_size = given.get(EMBEDDINGS[0], [0])[-1]
        wanted = {*self._outputs, *(EMBEDDINGS if self._embedding_size else ())}
        if given.keys() != wanted or "steps" not in self._states:
            raise ModelError(f"{path}: does not have the inputs and outputs of an Earmark model")

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding; see `Engine`."""
        self._refuse_without_embeddings()
        return int(self._embedding_size)

    def initial_state(self, window: int) -> State:
        """Return the state of a stream before its first sample; see `Engine`."""
        sizes = {"batch": 1, _WINDOW: window - 1}
        return {
            name: np.zeros([sizes.get(length, length) for length in shape], kind)
            for name, (shape, kind) in self._states.items()
        }

    def with_calibration(self, calibration: Calibration) -> OnnxEngine:
        """Return an engine of the same file under another calibration; see `Engine`."""
        other = copy.copy(self)
        other.info = recalibrated(self.info, calibration)
        return other

    def step(self, samples: Floats, states: Sequence[State]) -> tuple[Floats, Floats, list[State]]:
        """Score the next samples of one or more streams; see `Engine`."""
        scores, clip_scores, after = self.advance(samples, joined(states))
        return scores, clip_scores, split_states(after)

    def advance(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Score the next samples of streams in one batch; see `Engine`."""
        scores, clip_scores, following = self._run(self._outputs, samples, state)
        return self._calibrated(scores), self._calibrated(clip_scores), following

    def embed(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Return what the head classifies, in place of the scores; see `Engine`."""
        self._refuse_without_embeddings()
        return self._run([*EMBEDDINGS, *self._outputs[2:]], samples, state)

    def _run(
        self, outputs: Sequence[str], samples: Floats, state: State
    ) -> tuple[Floats, Floats, State]:
        """Return the first two of these outputs, and the others as the new state."""
        if samples.shape[1] % self.info.step_samples or samples.shape[1] == 0:
            raise ModelError(
                f"{samples.shape[1]} samples are not a whole number of steps of "
                f"{self.info.step_samples}"
            )
        try:
            given = self._session.run(outputs, {**self._inputs(samples, state), **state})
        except Exception as error:  # onnxruntime's faults have no class in common
            self._refuse_other_shapes(len(samples), state)
            raise ModelError(f"onnxruntime failed: {' '.join(str(error).split())}") from None
        of_steps, so_far, *after = given
        return of_steps, so_far, dict(zip(self._states, after, strict=True))

    def _inputs(self, samples: Floats, state: State) -> dict[str, Floats]:
        """Return what the network needs of samples: their frames, or where it makes them, all."""
        if self._frames is None:
            return {"samples": samples}
        context = self.info.front_end.context_samples
        joined = np.concatenate([state["front_end"], samples], axis=1) if context else samples
        # The last of them are the next context, which the graph keeps.
        return {"samples": samples[:, -context:], FRAMES: self._frames.compute(joined)}

    def score_whole(self, samples: Floats) -> Floats:
        """Return the probabilities of a whole clip; see `Engine`. No bidirectional model is one."""
        return self.advance(self._whole_steps(samples), self.initial_state(1))[1]

    def embed_whole(self, samples: Floats) -> Floats:
        """Return the embedding of a whole clip; see `Engine`."""
        return self.embed(self._whole_steps(samples), self.initial_state(1))[1]

    def _whole_steps(self, samples: Floats) -> Floats:
        """Cut samples `(1, samples)` to whole steps; fill fewer up to one."""
        step = self.info.step_samples
        whole = samples[:, : max(step, samples.shape[1] // step * step)]
        return np.pad(whole, ((0, 0), (0, max(0, step - whole.shape[1]))))

    def _calibrated(self, scores: Floats) -> Floats:
        """Return scores at the temperature of now; those of the file have that of its export."""
        ratio = self.info.calibration.temperature / self._temperature
        if ratio == 1:
            return scores
        rows = scores.reshape(-1, scores.shape[-1])
        return with_temperature(rows, ratio).reshape(scores.shape)

    def _refuse_without_embeddings(self) -> None:
        """Refuse what a file of an earlier version cannot give.

        Raises:
            ModelError: it is one.
        """
        if not self._embedding_size:
            raise ModelError(
                f"{self._path}: was exported by an earlier version and gives no embeddings; export "
                "its model directory again, or give that"
            )

    def _refuse_other_shapes(self, streams: int, state: State) -> None:
        """Name the array of a state that is not as the model needs it.

        Raises:
            ModelError: there is one.
        """
        for name, (shape, _) in self._states.items():
            array = state.get(name)
            if array is None:
                raise ModelError(f"the state lacks {name}")
            wanted = [streams if length == "batch" else length for length in shape]
            alike = [w in (have, _WINDOW) for w, have in zip(wanted, array.shape, strict=False)]
            if len(wanted) != array.ndim or not all(alike):
                raise ModelError(
                    f"the state's {name} has the shape {array.shape}, the model needs {wanted}"
                )


def _open(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is said once, by us
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's faults have no class in common
        reason = " ".join(str(error).split())[:200]
        version = onnxruntime.__version__
        raise ModelError(
            f"{path}: onnxruntime {version} cannot run it ({reason}); give a file that earmark "
            "export wrote, or upgrade onnxruntime"
        ) from None


def _info(path: Path, metadata: dict[str, str]) -> ModelInfo:
    """Read what the file says of itself.

    Raises:
        ModelError: the metadata is of no Earmark model, incomplete, or of a newer schema.
    """
    if not any(name.startswith(PREFIX) for name in metadata):
        raise ModelError(f"{path}: is an ONNX model, but not one that earmark export wrote")
    if PREFIX + _EARLIER_RATE in metadata:
        metadata = {PREFIX + "sample_rate": metadata[PREFIX + _EARLIER_RATE], **metadata}
    if missing := [name for name in FIELDS if PREFIX + name not in metadata]:
        raise ModelError(f"{path}: lacks the metadata {', '.join(missing)}; export it again")
    try:
        values = {name: json.loads(metadata[PREFIX + name]) for name in FIELDS}
        schema = values["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise ModelError(
                f"{path}: has schema {schema}, this Earmark reads up to {SCHEMA}; upgrade earmark"
            )
        info = ModelInfo(
            name=path.stem,
            classes=tuple(map(str, values["classes"])),
            front_end=from_json(FrontEndSettings, values["front_end"]),
            model=from_json(ModelSettings, values["model"]),
            calibration=from_json(Calibration, values["calibration"]),
            data=dict(values["data"]),
            fingerprint=str(values["fingerprint"]),
            identity=str(json.loads(metadata.get(PREFIX + IDENTITY, '""'))),
        )
    except (SettingsError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: has metadata that is not valid ({error}); export it again"
        ) from None
    for name, mine in (("sample_rate", info.sample_rate), ("step_samples", info.step_samples)):
        if values[name] != mine:
            raise ModelError(
                f"{path}: says {name} is {values[name]!r}, its front end and model make it {mine}; "
                "export it again"
            )
    thresholds = len(info.calibration.thresholds)
    if len(info.classes) != info.model.num_classes or thresholds not in (0, len(info.classes)):
        raise ModelError(f"{path}: names other classes or thresholds than it has; export it again")
    return info
