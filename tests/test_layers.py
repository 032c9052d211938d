"""The layering of docs/architecture.md: a module imports only from lower layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import earmark

ROOT = Path(earmark.__file__).parent
LAYERS = {
    "errors": 0,
    "files": 0,
    "settings": 0.5,
    "recipe": 0.6,
    "audio": 1,
    "evaluation.metrics": 1,
    "evaluation.calibration": 1,
    "evaluation.pictures": 1,
    "features": 2,
    "data.readers": 3,
    "data.folds": 3.1,
    "data.inert": 3,
    "data.foreign": 3,
    "data.splits": 3.1,
    "data.synthesis": 3,
    "data.backgrounds": 3.1,
    "data.synthetic": 3.1,
    "data.prepare": 3.2,
    "model": 4,
    "artifact": 4.5,
    "evaluation.scoring": 5,
    "evaluation.provenance": 5,
    "evaluation.results": 5.5,
    "evaluation.crossval": 5.5,
    "inference.events": 1,
    "inference.tables": 1.1,
    "inference.sources": 1,
    "inference.engine": 0.9,
    "inference.onnx_engine": 1.1,
    "inference.stream": 1.2,
    "inference.session": 1.3,
    "inference.recognizer": 5.2,
    "inference.torch_engine": 5,
    "export": 6,
    "training.batches": 6,
    "training.state": 6,
    "training.objective": 6.2,
    "training.start": 6.2,
    "training.loop": 6.5,
    "training.fit": 6.6,
    "training.crossval": 6.7,
    "commands.flags": 7,
    "commands.hearing": 7,
    "commands.output": 7,
    "commands.prepare": 7.1,
    "commands.train": 7.1,
    "commands.predict": 7.1,
    "commands.crossval": 7.1,
    "commands.export": 7.1,
    "commands.stream": 7.1,
    "commands.evaluate": 7.1,
    "cli": 8,
}
# Above these layers lies torch; what is below stays light, and cli and the recognizer import late.
WITHOUT_TORCH = [name for name, layer in LAYERS.items() if layer < 2]
WITHOUT_TORCH += ["data.readers", "inference.recognizer"]


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name != "__init__.py":
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("earmark"):
            base = (node.module or "").removeprefix("earmark").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                yield full if full in LAYERS else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("earmark."):
                    yield alias.name.removeprefix("earmark.")


def test_every_module_has_a_layer():
    assert {name for name, _ in modules()} == LAYERS.keys()


def test_modules_import_only_from_lower_layers():
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for target in imports(tree)
        if target and LAYERS[target] >= LAYERS[name]
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["", *WITHOUT_TORCH, "cli"])
def test_light_modules_load_no_torch(name):
    module = f"earmark.{name}".rstrip(".")
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
