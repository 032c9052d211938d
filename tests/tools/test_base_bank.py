"""A bank: what a second teacher says of its crops."""

import json
import sys
import types
from typing import Any

import numpy as np
from tools.base_bank import Bank, YamnetWriter
from tools.base_network import CROP_SAMPLES

LENGTH = 15_600  # samples of a window


class Interpreter:
    """Gives the mean of the window as both numbers of an embedding, in steps of a half."""

    def __init__(self, *_, **__):
        self.window = np.zeros(LENGTH, np.float32)

    def allocate_tensors(self):
        pass

    def get_tensor_details(self):
        shape = np.array([1, 2], np.int32)  # as the library gives it
        return [
            {"name": "x/reduce_mean", "shape": shape, "index": 7, "quantization": (0.5, 3)},
        ]

    def get_input_details(self):
        return [{"shape": np.array([LENGTH], np.int32), "index": 0}]

    def set_tensor(self, _, samples):
        self.window = samples

    def invoke(self):
        pass

    def get_tensor(self, index):
        assert index == 7
        return np.full((1, 2), round(3 + 2 * float(np.mean(self.window))), np.int8)


def test_embeddings_of_a_second_teacher_are_read_back(tmp_path, monkeypatch):
    library = types.SimpleNamespace(Interpreter=Interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", library)
    rows: list[dict[str, Any]] = [
        {"fold": 1, "clips": [0], "free": True},
        {"fold": 0, "clips": [], "free": True},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    for name, shape in (("early", (2, 128, 32, 16)), ("steps", (2, 16, 384))):
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, np.float16))
    writer = YamnetWriter(tmp_path, tmp_path / "yamnet.tflite")
    for row, level in zip(rows, (1.0, 2.0), strict=True):
        writer.add(np.full(CROP_SAMPLES, level, np.float32), **row)
    del writer
    found = Bank([tmp_path]).read_yamnet(np.array([1, 0]))
    np.testing.assert_allclose(found, [[2, 2], [1, 1]])
