"""One WebSocket: a client's messages to its stream, and the stream's messages to the client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from earmark.decision.policy import NONE
from earmark.errors import EarmarkError
from earmark.live.chunk import Chunk
from earmark.serve import protocol
from earmark.serve.hub import Hub
from earmark.serve.pace import Pace
from earmark.serve.settings import RefusedError
from earmark.serve.stream import Message, Stream
from earmark.serve.visitors import Visitors
from earmark.serve.websocket import DIRECT

POLICY, TRY_LATER, DONE = 1008, 1013, 1000  # WebSocket close codes
_LATE_SECONDS = 0.1  # sound is waited for so much longer than it lasts
Open = Callable[["protocol.Start", "Outbox"], Stream]


class Outbox:
    """Messages for one client; a slow reader misses scores and pictures, never events.

    Args:
        most: messages kept for a slow reader.
        left_out: is told of each message that was left out.
    """

    def __init__(self, most: int, left_out: Callable[[], object]) -> None:
        self._most, self._left_out = most, left_out
        self._waiting: deque[Message] = deque()
        self._ready = asyncio.Event()
        self._closed = False
        self.short: Callable[[], None] = lambda: None  # for who leaves sound with the kernel

    def put(self, messages: Sequence[tuple[Message, bool]]) -> None:
        """Take messages, each with whether it may be left out."""
        for message, optional in messages:
            if optional and len(self._waiting) >= self._most:
                self._left_out()
            elif len(self._waiting) < 4 * self._most:
                self._waiting.append(message)
            else:  # not even events are read; `slow_seconds` ends this
                self._left_out()
        self._ready.set()

    def ended(self) -> None:
        """Take note that no more will come."""
        self._closed = True
        self._ready.set()

    async def take(self) -> Message | None:
        """Return the next message, or None at the end."""
        while not self._waiting:
            if self._closed:
                return None
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()


class Connection:
    """Serves one WebSocket from its handshake to its end.

    Args:
        socket: the WebSocket.
        hub: advances streams.
        open_stream: opens what a client asks for.
        visitors: counts the sessions of each address.
    """

    def __init__(self, socket: WebSocket, hub: Hub, open_stream: Open, visitors: Visitors) -> None:
        self._socket, self._hub, self._open, self._visitors = socket, hub, open_stream, visitors
        limits = hub.limits
        self._limits, self._pace = limits, Pace(limits, time.monotonic())
        self._out = Outbox(limits.unread_messages, hub.metrics.left_out.inc)
        self._start = protocol.Start()
        self._heard = time.monotonic()
        self._broken: asyncio.Future[None] | None = None  # gets the fault of a message of bytes
        self._sending: float | None = None  # since when a message is on its way

    async def serve(self) -> None:
        """Serve until the client leaves, the stream ends, or a rule is broken."""
        await self._socket.accept(subprotocol=self._subprotocol())
        stream: Stream | None = None
        client = self._socket.client
        try:
            with self._visitors.session(client.host if client else ""):
                stream = await self._begin()
                await self._talk(stream)
        except RefusedError as error:
            self._hub.metrics.refused.labels(error.code).inc()
            if stream is not None and stream.kind == "client":
                self._hub.finish(stream)
            await self._refuse(error)
        except EarmarkError as error:
            await self._refuse(RefusedError("audio", str(error)))
        except (WebSocketDisconnect, RuntimeError):  # the other side has gone
            pass
        finally:
            if stream is not None:
                self._hub.lose(stream, self._out)

    def _subprotocol(self) -> str | None:
        offered = self._socket.scope.get("subprotocols", [])
        return "earmark.v1" if "earmark.v1" in offered else None

    async def _begin(self) -> Stream:
        try:
            first = await asyncio.wait_for(self._receive(), self._limits.start_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise RefusedError("start", "nothing was asked for; send start first", 408) from None
        if not isinstance(first, str):
            raise RefusedError("start", "the first message must be of the type start")
        self._start = protocol.parse_start(
            protocol.parse(first), self._hub.model.classifier.classes
        )
        return self._resumed() or self._open(self._start, self._out)

    def _resumed(self) -> Stream | None:
        """Return the stream that a lost connection had, if it is kept still."""
        stream = self._hub.find(self._start.resume) if self._start.resume else None
        if stream is None or stream.kind != "client" or stream.lost_at is None or stream.ending:
            return None
        if stream.start.sample_rate != self._start.sample_rate:
            return None
        stream.lost_at = None
        stream.sinks.add(self._out)
        return stream

    async def _talk(self, stream: Stream) -> None:
        self._out.put([(protocol.dump(ready_message(stream, self._hub)), False)])
        for event in list(stream.events):  # of a source that others heard before
            self._out.put([(protocol.dump(event), False)])
        self._broken = asyncio.get_running_loop().create_future()
        tasks = [
            asyncio.create_task(self._write()),
            asyncio.create_task(self._read(stream)),
            asyncio.create_task(self._watch(stream)),
            self._broken,
        ]
        writing = tasks[0]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if writing not in done:  # the client said that it is at its end
                await asyncio.wait_for(writing, self._limits.slow_seconds)
            await self._socket.close(DONE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, stream: Stream) -> None:
        """Give up on a client that sends no sound, or reads nothing.

        Raises:
            RefusedError: it does so for too long.
        """
        limits = self._limits
        while True:  # one look for all messages costs less than a timer for each
            await asyncio.sleep(min(limits.idle_seconds, limits.slow_seconds) / 4)
            now = time.monotonic()
            if stream.kind == "client" and now - self._heard > limits.idle_seconds:
                raise RefusedError("idle", "no sound came for a while; begin again", 408)
            if self._sending is not None and now - self._sending > limits.slow_seconds:
                raise RefusedError("slow", "the client reads nothing", 408)

    async def _read(self, stream: Stream) -> None:
        """Take messages until the client says that it is at its end."""
        take_directly = self._socket.scope.get("extensions", {}).get(DIRECT)
        ask_again = None
        while True:
            if take_directly is not None and ask_again is None:
                ask_again = take_directly(
                    lambda message: self._take_or_break(stream, message),
                    lambda: self._patience(stream),
                )
                self._out.short = ask_again or self._out.short
            message = await self._receive()
            if isinstance(message, bytes):
                self._take(stream, message)
                continue
            self._pace.message(time.monotonic())
            if self._control(stream, message):
                return

    def _take_or_break(self, stream: Stream, message: bytes) -> None:
        """Take a message of bytes, outside of all tasks; a fault in it ends the connection."""
        if self._broken is None or self._broken.done():
            return
        try:
            self._take(stream, message)
        except Exception as error:  # whatever it is, who serves this connection is to know
            self._broken.set_exception(error)

    async def _receive(self) -> Message:
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        if data is not None:
            return bytes(data)
        text = str(message.get("text") or " ")
        if len(text) > self._limits.control_bytes:
            raise RefusedError(
                "size", f"a message of text is longer than {self._limits.control_bytes} bytes", 413
            )
        return text

    def _patience(self, stream: Stream) -> tuple[int, float]:
        """Return how many bytes the stream waits for, and for how many seconds at most."""
        if not self._hub.crowded or stream.kind != "client":
            return 1, 0.0
        missing = stream.samples_missing
        return missing * self._start.sample_bytes, missing / self._start.sample_rate + _LATE_SECONDS

    def _take(self, stream: Stream, message: bytes) -> None:
        """Give samples to the stream, with what is missing before them.

        Raises:
            RefusedError: they are not as the protocol has it, or come too fast.
        """
        now = self._heard = time.monotonic()
        self._pace.message(now)
        if stream.kind != "client":
            raise RefusedError("audio", "this session takes its sound from elsewhere")
        sequence, first, samples = protocol.parse_samples(message, self._start)
        missing = first - stream.expected
        rate = self._start.sample_rate
        if missing < 0:
            raise RefusedError("order", "samples came that had come before")
        if missing > self._limits.gap_seconds * rate:
            raise RefusedError("gap", "too much sound is missing; begin a new session")
        self._pace.sound((missing + len(samples)) / rate, now)
        stream.expected = first + len(samples)
        stream.next_sequence = sequence + 1
        if missing:
            self._hub.metrics.missed_seconds.inc(missing / rate)
        self._hub.put(stream, Chunk(samples, rate, missing))

    def _control(self, stream: Stream, text: str) -> bool:
        """Do what a message of text asks for; tell whether it was the last.

        Raises:
            RefusedError: it asks for what there is not.
        """
        message = protocol.parse(text)
        kind = message["type"]
        if kind == "end":
            if stream.kind != "server":
                self._hub.finish(stream)
            else:
                self._out.ended()
            return True
        if kind == "rules":
            if stream.kind == "server":
                raise protocol.shared()
            classes = stream.session.classes
            stream.set_rules(*protocol.parse_rules(message, classes))
            rules = {"type": "rules", "thresholds": stream.thresholds}
            self._out.put([(protocol.dump(rules), False)])
        elif kind == "ping":
            self._out.put([(protocol.dump({"type": "pong"}), False)])
        else:
            raise RefusedError("message", "a message is of a type that is not known")
        return False

    async def _write(self) -> None:
        """Send messages as they come."""
        while (message := await self._out.take()) is not None:
            self._sending = time.monotonic()
            if isinstance(message, str):
                await self._socket.send_text(message)
            else:
                await self._socket.send_bytes(message)
            self._sending = None

    async def _refuse(self, error: RefusedError) -> None:
        message = {"type": "error", "code": error.code, "text": str(error)}
        code = TRY_LATER if error.status in (429, 503) else POLICY
        with contextlib.suppress(Exception):  # it may have gone, or read nothing
            await asyncio.wait_for(self._socket.send_text(protocol.dump(message)), 2.0)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._socket.close(code, str(error)[:120]), 2.0)


def ready_message(stream: Stream, hub: Hub) -> dict[str, Any]:
    """Return what the server says first."""
    scorer, view = stream.session.scorer, stream.view
    return {
        "type": "ready",
        "protocol": protocol.VERSION,
        "session": stream.id,
        "name": stream.name,
        "kind": stream.kind,
        "sample_rate": stream.start.sample_rate or scorer.sample_rate,
        "classes": list(stream.session.classes),
        "none": NONE,
        "thresholds": stream.thresholds,
        "rules": stream.kind != "server",
        "block_seconds": round(scorer.block_samples / scorer.sample_rate, 4),
        "step_seconds": round(scorer.step_seconds, 4),
        "columns_per_second": round(view.per_second, 4),
        "bands": view.bands,
        "at": round(stream.expected / (stream.start.sample_rate or scorer.sample_rate), 3),
        "expected": stream.expected,
        "fingerprint": scorer.info.fingerprint,
        "limits": {
            "message_bytes": hub.limits.message_bytes,
            "messages_per_second": hub.limits.messages_per_second,
        },
    }
