"""How fast a client may send: samples near real time, messages at a bearable rate."""

from __future__ import annotations

from earmark.serve.settings import Limits, RefusedError


class Pace:
    """Watches one session.

    Args:
        limits: how much is too much.
        begun: when the session began, in seconds of any clock.
    """

    def __init__(self, limits: Limits, begun: float) -> None:
        self._limits = limits
        self._begun = self._since = begun
        self._seconds, self._messages = 0.0, 0.0

    def message(self, now: float) -> None:
        """Count a message that came now, by the same clock.

        Raises:
            RefusedError: there were too many.
        """
        most = self._limits.messages_per_second
        self._messages = max(0.0, self._messages - (now - self._since) * most) + 1
        self._since = now
        if self._messages > 2 * most:
            raise RefusedError(
                "rate", f"more than {most} messages a second; send more sound in each", 429
            )

    def sound(self, seconds: float, now: float) -> None:
        """Count sound that came now, gaps included.

        Raises:
            RefusedError: it came much faster than real time.
        """
        self._seconds += seconds
        allowed = (now - self._begun) * self._limits.realtime_factor
        if self._seconds > allowed + self._limits.ahead_seconds:
            raise RefusedError(
                "rate",
                "sound comes faster than it sounds; send live sound live, and upload files",
                429,
            )
