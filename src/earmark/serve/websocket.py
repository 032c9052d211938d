"""A WebSocket of uvicorn's that can hand sound to a function where it arrives.

By the standard way each message goes through a queue to a task that waits for it, and the socket is
not read meanwhile: ten times a second for each stream, that costs more than what the server does
with the samples before it scores them. So whoever takes the messages of a socket can ask, by the
extension `DIRECT` of its scope, for those of bytes to be given to a function instead. Text still
goes through the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

DIRECT = "earmark.direct"
Take = Callable[[bytes], object]


class DirectSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose messages of bytes need no queue."""

    _take: Take | None = None

    def handle_connect(self, event: Any) -> None:
        """Offer the extension to the application, which begins to run after this."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[DIRECT] = self.take_directly

    def take_directly(self, take: Take) -> bool:
        """Give messages of bytes to a function from now on, if none waits in the queue.

        Returns:
            Whether that is so; if not, what waits is to be received first.
        """
        if self.queue.empty():
            self._take = take
        return self._take is not None

    def send_receive_event_to_app(self) -> None:
        """Give the application the message that is whole by now."""
        if self._take is None or self.curr_msg_data_type != "bytes" or self.close_sent:
            super().send_receive_event_to_app()
            return
        frames, self.frames = self.frames, []
        self._take(bytes(frames[0]) if len(frames) == 1 else b"".join(frames))
