"""The process of the server: uvicorn with limits on connections that say nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from earmark.errors import SettingsError
from earmark.serve.app import Site, guarded, make_app
from earmark.serve.settings import Access
from earmark.serve.visitors import network_of
from earmark.serve.websocket import DirectSocket

_SILENT_SECONDS = 15.0  # a connection that has made no whole request by then is closed
_SILENT_OF_ONE = 32  # such connections of one address; the oldest is closed for one more
_HTTP_OF_ONE = 64  # connections of one address beside those of streams; this machine: any number
_OTHERS = 256  # connections beside those of streams
_HEADER_BYTES = 32 * 1024
_PROXIES = "FORWARDED_ALLOW_IPS"  # names proxies elsewhere, which stand for many addresses


class PatientNoMore(H11Protocol):
    """HTTP that closes connections on which no request arrives, or of which one has too many."""

    _timer: asyncio.TimerHandle | None = None
    address = network = ""  # of the other side; no network: this machine, or a proxy's
    number = 0  # counts connections

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, where the address has not too many connections."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(_SILENT_SECONDS, self._give_up)
        self.address = self.client[0] if self.client else ""
        if not os.environ.get(_PROXIES):
            self.network = network_of(self.address)
        others = [
            one
            for one in self.connections
            if isinstance(one, PatientNoMore) and one is not self and not one.transport.is_closing()
        ]
        self.number = 1 + max((one.number for one in others), default=0)
        silent = [one for one in others if one.address == self.address and one.cycle is None]
        if len(silent) >= _SILENT_OF_ONE:
            min(silent, key=lambda one: one.number).transport.close()
        same = sum(one.network == self.network for one in others)
        if self.network and same >= _HTTP_OF_ONE:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop waiting; the stream has limits of its own."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bind(access: Access) -> socket.socket:
    """Return the socket that is listened on.

    Raises:
        SettingsError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((access.host, access.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{access.host}, port {access.port}: cannot be listened on "
            f"({error.strerror or error}); choose another with --port"
        ) from None
    return listener


def address(access: Access, listener: socket.socket) -> str:
    """Return the address to open, with the token where there is one."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    scheme = "https" if access.certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    token = f"?token={access.token}" if access.token else ""
    return f"{scheme}://{shown}:{port}/{token}"


def make_server(site: Site) -> uvicorn.Server:
    """Return the server of a site; see `serving`."""
    return serving(make_app(site), site.access)


def serving(app: FastAPI, access: Access) -> uvicorn.Server:
    """Return the server of an application.

    Raises:
        SettingsError: the certificate cannot be used.
    """
    limits = access.limits
    config = uvicorn.Config(
        guarded(app, access),
        http=PatientNoMore,
        ws=DirectSocket,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,  # sound does not shrink, and inflating costs
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=limits.sessions + _OTHERS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=3,
        ssl_certfile=access.certificate or None,
        ssl_keyfile=access.key or None,
    )
    try:
        config.load()
    except OSError as error:
        raise SettingsError(
            f"{access.certificate}: is no certificate that can be used ({error}); give a PEM file"
        ) from None
    return uvicorn.Server(config)
