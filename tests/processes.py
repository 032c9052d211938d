"""Running the command and the documented scripts as a user does."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from earmark import cli

ROOT = Path(__file__).parents[1]


def call(*words, cwd, **options):
    """Run a command; a script is named by its file, the package's command by `earmark`."""
    program = [str(ROOT / words[0])] if words[0].endswith(".py") else ["-m", "earmark.cli"]
    return subprocess.run(
        [sys.executable, *program, *map(str, words[1:])],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def call_here(*words, cwd):
    """As `call`, but in this process, which saves seconds where a fault is found at once."""
    starts = {
        "earmark": cli.main,
        "lstm_classifier_train.py": lambda argv: cli.train_main(argv, beside=ROOT),
    }
    before, said, faults = Path.cwd(), io.StringIO(), io.StringIO()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(faults):
            code = starts[words[0]]([str(word) for word in words[1:]])
    except SystemExit as end:  # a flag that the parser refuses
        code = int(end.code or 0)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(words, code, said.getvalue(), faults.getvalue())


def assert_one_line(done, *parts):
    """A fault of the input: a non-zero exit, one line on stderr, no traceback."""
    assert done.returncode not in (0, None), done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert str(part) in lines[0]
