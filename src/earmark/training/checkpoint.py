"""The checkpoint: what a training run needs to go on after a kill.

One safetensors file beside the model, replaced whole after every epoch: weights, their
running average, the best average so far, the optimizer's moments, and as text the recipe, the
epoch and the history. Random numbers need no state: every epoch draws its own from the seed and
its number, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from earmark.errors import RunError
from earmark.io.files import write_bytes

RESUME_FOLDER = "resume"
_FILE = "state.safetensors"
_SCHEMA = 2

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A run between two epochs.

    Attributes:
        record: recipe, split, epochs done, history, best epoch; plain JSON values.
        tensors: groups of tensors by name: weights, average, best, optimizer.
    """

    record: Mapping[str, Any]
    tensors: Mapping[str, Tensors]


def write_checkpoint(run: Path, checkpoint: Checkpoint) -> None:
    """Replace a run's checkpoint, whole or not at all."""
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, members in checkpoint.tensors.items()
        for name, tensor in members.items()
    }
    record = json.dumps({"schema": _SCHEMA, **checkpoint.record}, allow_nan=False)
    write_bytes(run / RESUME_FOLDER / _FILE, save_tensors(flat, metadata={"record": record}))


def has_checkpoint(run: Path) -> bool:
    """Tell whether a run's folder holds a checkpoint."""
    return (run / RESUME_FOLDER / _FILE).is_file()


def read_checkpoint(run: Path) -> Checkpoint:
    """Read a run's checkpoint.

    Raises:
        RunError: there is none, it is damaged, or another version wrote it.
    """
    path = run / RESUME_FOLDER / _FILE
    if not run.is_dir():
        raise RunError(f"{run}: no such run to resume; give a folder that training wrote")
    if not path.is_file():
        raise RunError(f"{run}: has no checkpoint; it finished, or never ended an epoch")
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["record"])
            groups: dict[str, Tensors] = {}
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise RunError(f"{path}: is damaged ({error}); start a new run") from None
    if record.pop("schema", None) != _SCHEMA:
        raise RunError(f"{path}: was written by another version of Earmark; start a new run")
    return Checkpoint(record, groups)


def remove_checkpoint(run: Path) -> None:
    """Remove a finished run's checkpoint."""
    folder = run / RESUME_FOLDER
    if folder.is_dir():
        (folder / _FILE).unlink(missing_ok=True)
        for part in folder.glob(f".{_FILE}.*.part"):  # what a kill while writing left
            part.unlink(missing_ok=True)
        folder.rmdir()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return an optimizer's moments, named by parameter number and kind."""
    state = optimizer.state_dict()["state"]
    return {f"{i}/{kind}": value for i, kinds in state.items() for kind, value in kinds.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the moments that `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, kind = key.split("/")
        state.setdefault(int(number), {})[kind] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
