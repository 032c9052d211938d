"""Alerts handed to a program: as JSON on its standard input, and as environment variables.

The program is started from a list of words, never by a shell, and no value of an alert stands among
them: whatever a class is called, it cannot become an argument. The variables that hold secrets of
targets are taken out of its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from typing import BinaryIO

from earmark.alerts.alert import Alert, title_of
from earmark.alerts.sender import DeliveryError, StoppedError
from earmark.alerts.settings import CommandSettings

_VALUES = (
    "id",
    "event",
    "rule",
    "label",
    "score",
    "level_db",
    "hits",
    "when",
    "time",
    "end",
    "clip",
    "source",
)
_SAID_CHARACTERS, _LOOK_BYTES = 200, 4096
_LOOK_SECONDS = 0.1


class CommandLine:
    """Runs a program for each alert.

    Args:
        settings: the program.
        secrets: environment variables that it does not get.
    """

    def __init__(self, settings: CommandSettings, secrets: Iterable[str] = ()) -> None:
        self.name, self.tries = settings.name, settings.tries
        self._command, self._timeout = settings.command, settings.timeout_seconds
        self._secrets = frozenset(secrets)

    def start(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def deliver(self, alert: Alert, stop: threading.Event) -> None:
        """Run the program; an exit code of 0 takes the alert.

        Raises:
            DeliveryError: it failed, could not be started, or took too long.
            StoppedError: `stop` was set first; the program was ended.
        """
        kept = {key: value for key, value in os.environ.items() if key not in self._secrets}
        data = (json.dumps(alert, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        # Files, because a pipe would be held open by whatever the program leaves running.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(data)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env={**kept, **variables_of(alert)},
                    start_new_session=os.name == "posix",
                )
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise DeliveryError(f"{self._command[0]} cannot be started ({reason})") from None
            self._wait(process, stop)
            if process.returncode:
                last = _last_line(said)
                more = f" ({last})" if last else ""
                raise DeliveryError(f"{self._command[0]} ended with {process.returncode}{more}")

    def _wait(self, process: subprocess.Popen[bytes], stop: threading.Event) -> None:
        """Wait for a program to end."""
        until = time.monotonic() + self._timeout
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
                return
            if stop.is_set():
                _end(process)
                raise StoppedError(self.name)
            if time.monotonic() >= until:
                _end(process)
                raise DeliveryError(
                    f"{self._command[0]} took longer than {self._timeout:g} s and was ended"
                )


def _last_line(said: BinaryIO) -> str:
    """Return the last line that a program wrote, if any."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _LOOK_BYTES))
    lines = [" ".join(line.split()) for line in said.read().decode("utf-8", "replace").split("\n")]
    return next((line for line in reversed(lines) if line), "")[:_SAID_CHARACTERS]


def variables_of(alert: Alert) -> dict[str, str]:
    """Return an alert as environment variables."""
    values = {"EARMARK_TITLE": title_of(alert)}
    for name in _VALUES:
        value = alert.get(name)
        values[f"EARMARK_{name.upper()}"] = "" if value is None else str(value)
    # No variable can hold the sign that ends it.
    return {
        name: value.replace("\0", "").encode("utf-8", "replace").decode()
        for name, value in values.items()
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it has started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
