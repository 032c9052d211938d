"""A WebSocket of uvicorn's that hands sound to a function, and need not look at each message.

By the standard way each message goes through a queue to a task that waits for it, and the socket is
not read meanwhile: ten times a second for each stream, that costs more than what the server does
with the samples before it scores them. So whoever takes the messages of a socket can ask, by the
extension `DIRECT` of its scope, for those of bytes to be given to a function instead. Text still
goes through the queue.

And where there are many streams, what comes is left with the kernel until a block is full: to be
woken for each message costs more than to read six at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

DIRECT = "earmark.direct"
_MOST_BYTES = 128 * 1024  # that are left with the kernel; a stream of 44.1 kHz has 56 KB in a block
Take = Callable[[bytes], object]
Patience = Callable[[], tuple[int, float]]
_LOW_WATER = getattr(socket, "SO_RCVLOWAT", None)  # some systems have none


class DirectSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose messages of bytes need no queue."""

    _take: Take | None = None
    _patience: Patience | None = None
    _least = 1  # bytes that must have come before the socket is read
    _until = 0.0  # or so long, by the clock of the loop
    _timer: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Any) -> None:
        """Offer the extension to the application, which begins to run after this."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[DIRECT] = self.take_directly

    def take_directly(self, take: Take, patience: Patience) -> Callable[[], None] | None:
        """Give messages of bytes to a function from now on, if none waits in the queue.

        Args:
            take: is given each.
            patience: is asked after each time that the socket was read: how many bytes are waited
                for, and for how many seconds at most.

        Returns:
            What asks for the patience anew, for when it was asked too early; None: what waits is to
            be received first.
        """
        if not self.queue.empty():
            return None
        self._take, self._patience = take, patience
        return self._ask

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        super().data_received(data)
        self._ask()

    def _ask(self) -> None:
        if self._patience is not None:
            self._wait(*self._patience())

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._patience = None
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def send_receive_event_to_app(self) -> None:
        """Give the application the message that is whole by now."""
        if self._take is None or self.curr_msg_data_type != "bytes" or self.close_sent:
            super().send_receive_event_to_app()
            return
        frames, self.frames = self.frames, []
        self._take(bytes(frames[0]) if len(frames) == 1 else b"".join(frames))

    def _wait(self, size: int, seconds: float) -> None:
        """Do not read the socket before so many bytes have come, or so many seconds gone by."""
        size = max(1, min(size, _MOST_BYTES))
        if size != self._least:
            self._set_least(size)
        if self._least > 1:
            self._until = self.loop.time() + seconds
            if self._timer is None:
                self._timer = self.loop.call_at(self._until, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        if self._least > 1 and self.loop.time() < self._until:
            self._timer = self.loop.call_at(self._until, self._lose_patience)
        elif self._least > 1:
            self._set_least(1)

    def _set_least(self, size: int) -> None:
        own = self.transport.get_extra_info("socket")
        if own is None or _LOW_WATER is None:
            return
        with contextlib.suppress(OSError):  # it is closed, or the system has no such setting
            own.setsockopt(socket.SOL_SOCKET, _LOW_WATER, size)
            self._least = size
