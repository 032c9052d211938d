"""Pickles read without running code.

The unpickler answers a dozen names with stand-ins of ours that build arrays and tensors from plain
values, and refuses every other name. No real class, dtype or function is handed to a file: NumPy's
own dtypes would follow pointers out of a file's bytes, and a pickle can change what it is given.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SplitError


def read_inert(path: Path) -> Any:
    """Unpickle arrays, tensors and plain values; nothing in the file can run code.

    Raises:
        SplitError: the file is unreadable, is not a pickle, or asks for any other name.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise SplitError("was written by torch.save; write it with pickle.dump")
            file.seek(0)
            return _resolved(_InertUnpickler(file).load())
    except SplitError as error:
        raise SplitError(f"{path}: {error}") from None
    except OSError as error:
        raise SplitError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle fails in many ways; none of them is ours
        raise SplitError(
            f"{path}: is not a readable pickle ({type(error).__name__}); it may be truncated; "
            "write it again with: earmark prepare DATASET"
        ) from None


class _Name:
    """Stands for a name in a pickle: calling it builds data, and no file can change it."""

    __slots__ = ("_build",)
    _build: Callable[..., Any]

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise SplitError(f"tries to change {name} of the program")

    def __setstate__(self, state: object) -> None:
        raise SplitError("tries to change a name of the program")


class _Dtype:
    """A NumPy dtype in a pickle, taken for its kind, size and byte order only.

    NumPy's own dtype would accept any state a file gives it, fields and object flags included,
    and then follow pointers out of the file's bytes.
    """

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufSU]\d+|O8?", code):
            raise SplitError(f"has an array of type {code!r}; numbers and strings are read")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2:5] != (None, None, None) or state[1] not in ("<", ">", "=", "|"):
            raise SplitError("has an array of a structured type; numbers and strings are read")
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        """Return the dtype it stands for, which holds no objects."""
        if self.code.startswith("O"):
            raise SplitError("has an array of objects where numbers are needed")
        order = "" if self.order == "|" else self.order
        return np.dtype(order + self.code)


class _Array:
    """A NumPy array in a pickle, rebuilt from plain bytes or, for objects, from a list."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[Any] | list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, list):  # an array of objects is read as the list it is
            self.value = data
            return
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, which old NumPy pickles use for bytes, and only for that."""
    if encoding not in ("latin1", "latin-1"):
        raise SplitError(f"asks for the codec {encoding!r}, which arrays do not need")
    return text.encode("latin1")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.real(), count=1)[0]


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> NDArray[Any]:
    flat = np.frombuffer(data, dtype.real()).copy()  # the file's bytes are not to be written to
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _torch_storage(data: bytes) -> Any:
    """Stand in for torch's storage loader, which would itself unpickle anything."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _torch_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Any:
    from torch._utils import _rebuild_tensor_v2

    return _rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())


# Every name is answered by code of ours that builds data and calls nothing it is given. NumPy
# moved numpy.core to numpy._core in version 2; files from both are read.
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    ("torch.storage", "_load_from_bytes"): _torch_storage,
    ("torch._utils", "_rebuild_tensor_v2"): _torch_tensor,
    **{
        (f"numpy.{core}.{home}", name): build
        for core in ("core", "_core")
        for home, name, build in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _InertUnpickler(pickle.Unpickler):
    """An unpickler that answers the names in `_ALLOWED` with stand-ins, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict  # built in; a file cannot change it
        if (module, name) == ("torch.utils.data.dataset", "TensorDataset"):
            return type("TensorDataset", (), {})  # a class of this file's own
        build = _ALLOWED.get((module, name))
        if build is None:
            raise SplitError(
                f"asks for {module}.{name}, which could run code; only arrays, tensors, strings "
                "and numbers are read"
            )
        return _Name(build)


def _resolved(value: Any) -> Any:
    """Replace the stand-ins in what was read by the arrays they hold."""
    if isinstance(value, _Array):
        return _resolved(value.value)
    if isinstance(value, (_Name, _Dtype)):
        raise SplitError("holds a name where data is needed")
    if isinstance(value, dict):
        return {_resolved(key): _resolved(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_resolved(item) for item in value)
    if type(value).__name__ == "TensorDataset":
        value.tensors = tuple(value.tensors)
    return value
