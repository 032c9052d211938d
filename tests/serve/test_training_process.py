"""The training in a process of its own: what is said where it cannot begin."""

import json
import os
import subprocess
import sys


def test_without_torch_it_says_what_to_install(tmp_path):
    stub = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    (tmp_path / "torch.py").write_text(stub)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    words = (tmp_path / "labels.csv", tmp_path / "out", "--recipe", "finetune")
    done = subprocess.run(
        [sys.executable, "-m", "earmark.serve.training_process", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (said,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == {
        "error": "training needs torch, which is missing: pip install 'earmark[train]'",
    }
    assert done.returncode == 1
