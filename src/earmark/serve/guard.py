"""What stands before every request: prefix, host, origin, token, and the headers of every answer.

Loopback is open to every page that a browser on this machine shows, so names and origins are
checked there too: a page from elsewhere must not reach the server under a name of its own (DNS
rebinding), nor open a WebSocket, which browsers allow across origins.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from earmark.serve.settings import LOOPBACK_NAMES, Access

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_COOKIE = "earmark_token"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
    'content="light dark"><title>Earmark</title><h1>Earmark</h1><p>{}.</p></html>\n'
)
_OPEN = "open the address that earmark serve printed; it holds the token"


class Guard:
    """Lets through what may come, and puts the headers on every answer.

    Args:
        app: what is guarded.
        access: who may come.
        count: is told of the code of each refusal.
    """

    def __init__(
        self, app: App, access: Access, count: Callable[[str], object] | None = None
    ) -> None:
        self._app, self._access, self._count = app, access, count
        names = {*LOOPBACK_NAMES, access.host.lower(), *(name.lower() for name in access.hosts)}
        if not access.loopback:
            own = socket.gethostname().lower()
            names |= {own, f"{own}.local"}
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        _take_prefix(scope, headers)
        refused = self._refuse(scope, headers)
        if refused is None and self._gives_token(scope):
            await _redirect(send, self._cookie(scope))
            return
        if refused is not None:
            if self._count is not None:
                self._count(refused[1])
            await _answer(scope, receive, send, *refused)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        policy = _policy(headers.get("host", ""), secure=scope.get("scheme") == "https")

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *policy]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, str] | None:
        """Return status, code and reason, where a request may not come."""
        host = headers.get("host", "")
        name = _name_of(f"//{host}")
        if not self._known(name):
            return 421, "host", f"{name or 'no name'} is no name of this server; see --allow_host"
        origin = headers.get("origin")
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if unsafe and origin is not None and not self._same_origin(origin, headers):
            return 403, "origin", "a page of another origin may not use this server"
        if headers.get("sec-fetch-site") == "cross-site" and unsafe:
            return 403, "origin", "a page of another site may not use this server"
        if not self._shows_token(scope, headers) and scope["path"] != "/healthz":
            return 401, "token", _OPEN
        return None

    def _known(self, name: str) -> bool:
        if name in self._names:
            return True
        if self._access.loopback:
            return False
        try:  # a name that resolves here could be anyone's; an address cannot be rebound
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _same_origin(self, origin: str, headers: dict[str, str]) -> bool:
        if origin in self._access.origins:
            return True
        try:
            there = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(there) and there in (
            headers.get("host", "").lower(),
            # No page can set this header without being asked for leave first, which is not given.
            headers.get("x-forwarded-host", "").lower(),
        )

    def _shows_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        token = self._access.token
        if not token:
            return True
        shown = [headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            shown.append(cookie.value)
        if scope["type"] == "http" and scope["path"] == "/":
            shown += parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return any(hmac.compare_digest(one.encode(), token.encode()) for one in shown)

    def _gives_token(self, scope: Scope) -> bool:
        """Tell whether the token stands in the address, from where a cookie takes it."""
        return bool(
            self._access.token
            and scope["type"] == "http"
            and scope["path"] == "/"
            and b"token=" in scope["query_string"]
        )

    def _cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        path = scope.get("earmark.prefix") or "/"
        # Lax, so that the first visit by a link keeps it; the origin is checked besides.
        return f"{_COOKIE}={self._access.token}; Path={path}; HttpOnly; SameSite=Lax{secure}"


def _take_prefix(scope: Scope, headers: dict[str, str]) -> None:
    """Note the prefix that a proxy serves this under, and take it off where it was left on."""
    prefix = headers.get("x-ingress-path") or headers.get("x-forwarded-prefix") or ""
    prefix = prefix.rstrip("/")
    if not _PREFIX.fullmatch(prefix) or "/.." in prefix:
        return
    if scope["path"] == prefix or scope["path"].startswith(prefix + "/"):
        scope["path"] = scope["path"][len(prefix) :] or "/"
        scope["raw_path"] = scope["path"].encode()
    # Addresses in the page are relative; only the cookie's path needs the prefix.
    scope["earmark.prefix"] = prefix


def _name_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _policy(host: str, *, secure: bool) -> list[tuple[bytes, bytes]]:
    socket_address = f"{'wss' if secure else 'ws'}://{host}"
    rules = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "worker-src 'self'",
        f"connect-src 'self' {socket_address}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
    return [
        (b"content-security-policy", "; ".join(rules).encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    ]


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, reason: str
) -> None:
    if scope["type"] == "websocket":
        await receive()  # the handshake, which is then refused with 403
        await send({"type": "websocket.close", "code": 1008, "reason": reason[:120]})
        return
    body, kind = f'{{"code":"{code}","error":"{_plain(reason)}"}}\n', "application/json"
    if _wants_page(scope):
        body, kind = _PAGE.format(_plain(reason)), "text/html; charset=utf-8"
    data = body.encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", kind.encode()),
                (b"content-length", str(len(data)).encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"content-security-policy", b"default-src 'none'; frame-ancestors 'self'"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": data})


def _wants_page(scope: Scope) -> bool:
    """Tell whether a person opens the page, rather than a program an address."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return scope["path"] == "/" and b"text/html" in headers.get(b"accept", b"")


async def _redirect(send: Send, cookie: str) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 303,
            "headers": [
                (b"location", b"./"),
                (b"set-cookie", cookie.encode("latin-1")),
                (b"cache-control", b"no-store"),
                (b"referrer-policy", b"no-referrer"),
                (b"content-length", b"0"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": b""})


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and c not in '"\\<>&')
