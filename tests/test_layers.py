"""The layering of docs/architecture.md: a module imports only from layers before its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import earmark

ROOT = Path(earmark.__file__).parent
# In order: a module may import from every layer before its own, and from its own package.
LAYERS = (
    "errors",
    "provenance",
    "config",
    "bundled",
    "io",
    "decision",
    "nn",
    "data",
    "model_directory",
    "runtime",
    "evaluation",
    "training",
    "export",
    "output",
    "live",
    "alerts",
    "classifier",
    "archive",
    "api",
    "serve",
    "commands",
    "cli",
    "__main__",
)
# What predicts without torch; the classifier and the commands import the rest when they need it.
WITHOUT_TORCH = (
    "errors",
    "provenance",
    "config",
    "config.recipes",
    "bundled",
    "io.files",
    "io.decode",
    "io.outputs",
    "io.paths",
    "io.resample",
    "decision.calibration",
    "decision.poisson",
    "decision.policy",
    "decision.restriction",
    "decision.prediction",
    "data.readers",
    "nn.mel",
    "export",
    "io.channels",
    "decision.calibration_file",
    "runtime.restricted",
    "runtime.engine",
    "runtime.frames",
    "runtime.onnx_engine",
    "runtime.scorer",
    "runtime.core",
    "runtime.stream_state",
    "runtime.session",
    "runtime.pool",
    "runtime.clip",
    "runtime.workers",
    "runtime.embedding",
    "runtime.events",
    "evaluation.background",
    "output.embeddings",
    "output.events",
    "output.predictions",
    "output.dataframe",
    "live.pipe",
    "live.sources",
    "live.capture",
    "live.keeper",
    "alerts.station",
    "classifier",
    "api",
    "serve",
    "serve.app",
    "serve.hub",
    "serve.server",
    "cli",
)


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """The modules of Earmark that a module imports, without `earmark.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "earmark":
            base = (node.module or "").removeprefix("earmark").lstrip(".")
            yield from ([base] if base else [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("earmark."):
                    yield alias.name.removeprefix("earmark.")


def layer(name):
    return name.split(".")[0]


def test_every_module_has_a_layer_and_every_layer_a_module():
    assert {layer(name) for name, _ in modules()} == set(LAYERS)


def test_modules_import_only_from_layers_before_their_own():
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for target in imports(tree)
        if target != "__version__" and layer(target) != layer(name)
        if LAYERS.index(layer(target)) > LAYERS.index(layer(name))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("words", "home"),
    [
        ("fcntl.flock", "io/lock.py"),
        ("sched_getaffinity", "runtime/workers.py"),
        ("[kmgt]", "io/sizes.py"),
    ],
)
def test_what_stands_once(words, home):
    at = [path for path in sorted(ROOT.rglob("*.py")) if words in path.read_text(encoding="utf-8")]
    assert at == [ROOT / home]


def test_no_command_imports_another():
    shared = (
        "commands.flags",
        "commands.datasets",
        "commands.following",
        "commands.live_display",
        "commands.printing",
        "commands.recipes",
        "commands.reviewing",
    )
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for target in imports(tree)
        if layer(name) == layer(target) == "commands" and target not in shared
    ]
    assert wrong == []


def test_light_modules_load_no_torch():
    """One process imports all of them in turn: a start of Python for each costs a minute."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(name + ' loads torch')"
    )
    names = ["earmark", *(f"earmark.{name}" for name in WITHOUT_TORCH)]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
