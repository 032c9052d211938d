"""How the command begins: Ctrl-C while Python still imports it."""

import os
import sys

import pytest

from tests.processes import call

# Every Python of a process imports this file first; it presses Ctrl-C when a module is asked for.
INTERRUPTS = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "{name}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there os.kill ends a process at once")
@pytest.mark.parametrize("name", ["earmark.cli", "argparse", "earmark.commands.train", "numpy"])
def test_ctrl_c_while_modules_are_imported_is_quiet(tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS.format(name=name))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = call("earmark", "predict", "x.wav", cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 130
    assert done.stderr in ("", "earmark: interrupted\n")
