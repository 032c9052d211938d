"""Running the command and the documented scripts as a user does.

`call_here` runs one in this process, which saves the seconds that importing torch takes; `call`
starts a process of its own, for the facts that only a process can show.
"""

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from earmark import cli

ROOT = Path(__file__).parents[1]
STARTS = {
    "earmark": cli.main,
    "lstm_classifier_train.py": lambda: cli.train_main(beside=ROOT),
    "lstm_inference.py": lambda: cli.inference_main(beside=ROOT),
}


@dataclasses.dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def call(*words, cwd, **options):
    """Run a command; a script is named by its file, the package's command by `earmark`."""
    return subprocess.run(
        [*program(words[0]), *map(str, words[1:])],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def start(*words, cwd, **options):
    """Start a command and return its process, with pipes for all that goes in and comes out."""
    return subprocess.Popen(
        [*program(words[0]), *map(str, words[1:])],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def program(name):
    """Return the first words of a command line that starts a script or the package's command."""
    file = [str(ROOT / name)] if name.endswith(".py") else ["-m", "earmark"]
    return [sys.executable, *file]


def call_here(*words, cwd, data=b"", encoding="utf-8"):
    """As `call`, but in this process.

    Args:
        words: the command line.
        cwd: folder to run it in.
        data: what comes on its standard input.
        encoding: what its terminal can show.
    """
    said = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True, newline="\n")
    faults = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True, newline="\n")
    with _like_a_process(words, cwd, data):
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(faults):
                code = STARTS[words[0]]()
        except SystemExit as end:  # a flag that the parser refuses, or --help
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(code, *(text.buffer.getvalue().decode(encoding) for text in (said, faults)))


@contextlib.contextmanager
def _like_a_process(words, cwd, data) -> Iterator[None]:
    """Give a command what a new process has, and take back what it changes."""
    threads = set(threading.enumerate())
    before = Path.cwd(), sys.argv, sys.stdin, list(sys.path), dict(os.environ)
    with tempfile.TemporaryFile() as given, warnings.catch_warnings():
        given.write(data)
        given.seek(0)
        sys.argv, sys.stdin = list(map(str, words)), io.TextIOWrapper(given)
        os.chdir(cwd)
        _forget_accelerate()
        try:
            yield
        finally:
            _forget_accelerate()
            for thread in set(threading.enumerate()) - threads:
                if thread.name != "tqdm_monitor":  # which stays for good
                    thread.join(5)  # one may still read the standard input that is closed next
            os.chdir(before[0])
            sys.argv, sys.stdin, sys.path[:] = before[1:4]
            os.environ.clear()
            os.environ.update(before[4])


def _forget_accelerate():
    """Accelerate keeps device and precision for as long as a process lives."""
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


def assert_one_line(done, *parts):
    """A fault of the input: a non-zero exit, one line on stderr, no traceback."""
    assert done.returncode not in (0, None), done.stdout
    said = done.stderr.strip().splitlines()
    lines = [line for line in said if not line.startswith("warning: ")]  # about other things
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert str(part) in lines[0]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that a command does answers it."""


@contextlib.contextmanager
def stopped_after(file, times=1, by=KeyboardInterrupt) -> Iterator[None]:
    """Within, raise `by` as soon as files of this name have been written so often."""
    replace, written = Path.replace, 0

    def counted(path, target):
        nonlocal written
        moved = replace(path, target)
        written += Path(target).name == file
        if written == times and Path(target).name == file:
            raise by
        return moved

    with mock.patch.object(Path, "replace", counted):
        yield
