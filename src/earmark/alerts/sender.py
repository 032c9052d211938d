"""A thread for each target: it hands on what waits in the outbox, until it is taken.

An alert leaves the outbox when its target has said that it has it. Whatever fails is tried again,
later and later; a target that is away is reported once, and once more when it is back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from earmark.alerts.alert import Alert
from earmark.alerts.outbox import Entry, Outbox
from earmark.errors import EarmarkError

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between two tries; each wait is twice the last
_LONGEST_ASKED = 3600.0  # that a target may ask for
_LOOK_SECONDS = 0.5

Report = Callable[[str], object]


class DeliveryError(EarmarkError):
    """An alert was not taken.

    Args:
        message: why, without secrets; what the other side said in it is made fit for a terminal.
        again: whether another try may help.
        after: seconds that the target asks to be left alone for.
    """

    def __init__(self, message: str, *, again: bool = True, after: float = 0.0) -> None:
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in message).split()))
        self.again, self.after = again, after


class StoppedError(EarmarkError):
    """The sender was stopped while its target had not answered."""


class Target(Protocol):
    """Takes alerts.

    Attributes:
        name: what it is called in messages.
        tries: an alert is given up after so many; 0: never.
    """

    name: str
    tries: int

    def start(self) -> None:
        """Begin, as by connecting."""

    def deliver(self, alert: Alert, stop: threading.Event) -> None:
        """Hand on one alert; return when it has been taken.

        Raises:
            DeliveryError: it was not.
            StoppedError: `stop` was set first.
        """

    def close(self) -> None:
        """End."""


class Sender:
    """Delivers what waits.

    Args:
        outbox: what waits.
        target: who takes it.
        report: is told in a line what goes wrong, and when it is over.
        max_age: alerts that have waited for so many seconds are dropped.
        pause: waits for so many seconds, or until the event is set.
        clock: gives the time in seconds since 1970.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        *,
        report: Report,
        max_age: float,
        pause: Callable[[threading.Event, float], object] = threading.Event.wait,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.outbox, self._target, self._report = outbox, target, report
        self._max_age, self._pause, self._clock = max_age, pause, clock
        self._stop = threading.Event()
        self._failures = self._tries = 0  # in a row, and of the alert that is first
        self._jitter = random.Random()
        self._thread = threading.Thread(target=self._run, name=f"alerts-{target.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        if waiting := len(self.outbox):
            name = self._target.name
            self._report(f"{name}: {waiting} alert(s) of an earlier run wait; they go first")
        self._target.start()
        self._thread.start()

    def close(self, seconds: float) -> int:
        """Go on for so long at most while alerts wait, then end; return how many still wait."""
        self.outbox.wait_until_empty(seconds)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._target.close()
        self.outbox.close()
        return len(self.outbox)

    def _run(self) -> None:
        while not self._stop.is_set():
            entry = self.outbox.wait(_LOOK_SECONDS)
            if entry is None:
                continue
            wait = self._try(entry)
            if wait:
                self._pause(self._stop, wait)

    def _try(self, entry: Entry) -> float:
        """Try to deliver an alert; return how long to wait before the next."""
        if self._clock() - entry.put_at > self._max_age:
            self._report(f"{self._target.name}: an alert of {entry.alert.get('time')} is too old")
            self.outbox.take_out(entry.id, "expired")
            return 0.0
        try:
            self._target.deliver(entry.alert, self._stop)
        except StoppedError:
            return 0.0
        except DeliveryError as error:
            return self._failed(entry, error)
        except Exception as error:  # whatever it is, detection and the other targets go on
            said = " ".join(str(error).split())[:200]
            fault = DeliveryError(f"failed with {type(error).__name__} ({said}); please report it")
            return self._failed(entry, fault)
        self.outbox.take_out(entry.id, "delivered")
        if self._failures:
            self._report(f"{self._target.name}: takes alerts again")
        self._failures = self._tries = 0
        return 0.0

    def _failed(self, entry: Entry, error: DeliveryError) -> float:
        self._tries += 1
        if not error.again or (self._target.tries and self._tries >= self._target.tries):
            self._report(
                f"{self._target.name}: {error}; the alert {entry.id} is given up after "
                f"{self._tries} tries"
            )
            self.outbox.take_out(entry.id, "given up")
            self._tries = 0
            return 0.0
        if not self._failures:
            self._report(f"{self._target.name}: {error}; alerts wait and are tried again")
        self._failures += 1
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures - 1, 10))
        wait *= self._jitter.uniform(0.8, 1.0)
        return max(wait, min(error.after, _LONGEST_ASKED))
