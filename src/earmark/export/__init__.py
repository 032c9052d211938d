"""A trained model -> one ONNX file: `export`, in `earmark.export.build`.

    graph       writes nodes, constants, inputs, outputs and states
    front_end, encoders, lstm, pooling      what is written for each block of the network
    build       the whole file
    verify      whether it gives torch's scores

Importing this package loads nothing; its names are fetched when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.export.build import MOST_DIFFERENCE, OPSET, export
    from earmark.export.verify import measure_difference

__all__ = ["MOST_DIFFERENCE", "OPSET", "export", "measure_difference"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "earmark.export.verify" if name == "measure_difference" else "earmark.export.build"
    return getattr(import_module(module), name)
