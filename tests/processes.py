"""Running the command and the documented scripts as a user does."""

import subprocess
import sys
from pathlib import Path

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


def assert_one_line(done, *parts):
    """A fault of the input: a non-zero exit, one line on stderr, no traceback."""
    assert done.returncode not in (0, None), done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert str(part) in lines[0]
