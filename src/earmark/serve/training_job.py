"""The training that the page asked for: one at a time, in a process, with its progress."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError
from earmark.serve.settings import RefusedError
from earmark.serve.sounds import MODELS, SoundsFolder

PROGRAM = (sys.executable, "-m", "earmark.serve.training_process")
_NICE = 10  # live streams come first
_KILL_SECONDS = 5.0


class TrainingJob:
    """Runs trainings of one folder of sounds.

    Args:
        sounds: the folder.
        recipe: how to train.
        program: the first words of the command line; see `earmark.serve.training_process`.

    Attributes:
        status: what the page shows: `state` ("idle", "running", "done", "failed"), `stage`, `done`
            (0 to 1), `text`, and `model`, the name of what was trained.
    """

    def __init__(self, sounds: SoundsFolder, recipe: str, program: Sequence[str] = PROGRAM) -> None:
        self._sounds, self._recipe, self.program = sounds, recipe, tuple(program)
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.status: dict[str, Any] = {"state": "idle"}

    def start(self, old: str | None) -> None:
        """Begin a training.

        Args:
            old: the model that is used now.

        Raises:
            RefusedError: one is running.
        """
        with self._lock:
            if self.status["state"] == "running":
                raise RefusedError("training", "a training is running; wait for it or stop it", 409)
            name = self._sounds.new_model()
            folder = self._sounds.folder / MODELS / name
            words = [*self.program, str(self._sounds.table), str(folder), "--recipe", self._recipe]
            if old:
                words += ["--old", old]
            self._process = process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is the server's
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            if hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
            self.status = {"state": "running", "stage": "reading", "done": 0.0, "model": name}
            self._thread = threading.Thread(
                target=self._follow, args=(process, name, folder), daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End a training that is running, and leave nothing of it."""
        process, thread = self._process, self._thread
        if process is not None and process.poll() is None:
            _signal(process, "SIGTERM")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_SECONDS)
            _signal(process, "SIGKILL")  # also what it started and that goes on
        if thread is not None:
            thread.join(_KILL_SECONDS)

    def forget(self) -> None:
        """Show no training any more, once its model was taken or left."""
        if self.status["state"] != "running":
            self.status = {"state": "idle"}

    def _follow(self, process: subprocess.Popen[str], name: str, folder: Path) -> None:
        fault = ""
        for line in process.stdout or ():
            try:
                message = json.loads(line)
            except ValueError:
                continue  # some library's own line
            if "error" in message:
                fault = str(message["error"])
            elif "stage" in message:
                self.status = {**self.status, **message}
        code = process.wait()
        if code == 0:
            self.status = {"state": "done", "model": name, "done": 1.0}
            return
        shutil.rmtree(folder, ignore_errors=True)
        if code < 0:
            self.status = {"state": "idle"}
        else:
            text = fault or (
                f"the training ended without a word; earmark train {self._sounds.table.name}, in "
                "the folder of the sounds, says more"
            )
            self.status = {"state": "failed", "text": text}


def _signal(process: subprocess.Popen[str], name: str) -> None:
    """End a training and all that it has started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, getattr(signal, name))
        else:
            process.terminate()


def refuse_untrainable(sounds: SoundsFolder) -> None:
    """Refuse before a process is started what would be refused in it.

    Raises:
        RefusedError: there are too few clips.
    """
    from earmark.serve.training_process import count_folds

    try:
        count_folds(sounds)
    except EarmarkError as error:
        raise RefusedError("clips", str(error), 409) from None
