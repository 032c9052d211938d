"""Alerts posted to an address of the web as JSON, signed.

Each request carries

    Idempotency-Key       the alert's id; the same whenever it is tried again
    Earmark-Timestamp     when this try was made, in seconds since 1970
    Earmark-Signature     sha256=HMAC-SHA256(secret, timestamp + "." + body), in hexadecimal

so that a receiver can tell that it is from here, that it is not an old one played again, and that
it has not had it before. An answer from 200 to 299 takes the alert. A redirect is not followed: the
address is the operator's alone.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from earmark import __version__
from earmark.alerts.alert import Alert
from earmark.alerts.sender import DeliveryError
from earmark.alerts.settings import WebhookSettings, check_url
from earmark.errors import SettingsError

_REFUSED = (400, 413, 422)  # of this very alert, which will not be better next time
_LONGEST_ANSWER, _LONGEST_REASON = 4096, 100


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what `Earmark-Signature` says of a body."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook:
    """Posts alerts.

    Args:
        settings: where to.
        url: the address, where a variable or a file holds it.
        secret: signs alerts; empty: they are not signed.
        authorization: the Authorization header; empty: none.
        clock: gives the time in seconds since 1970.

    Raises:
        SettingsError: the address is none, or the certificates cannot be read.
    """

    tries = 0

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        url: str = "",
        secret: str = "",
        authorization: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._secret, self._clock = url or settings.url, secret, clock
        check_url(self._url)
        host = urlsplit(self._url).hostname or "?"
        self.name = f"{settings.name} ({host})"  # the path may be the secret
        self._authorization, self._timeout = authorization, settings.timeout_seconds
        try:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
        except OSError:
            raise SettingsError(
                f"webhook {settings.name!r}: ca_file {settings.ca_file} holds no certificate"
            ) from None
        self._opener = urllib.request.build_opener(
            _NoRedirect, urllib.request.HTTPSHandler(context=context)
        )

    def start(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def deliver(self, alert: Alert, stop: threading.Event) -> None:  # noqa: ARG002
        """Post one alert.

        Raises:
            DeliveryError: it was not taken.
        """
        body = json.dumps(alert, separators=(",", ":")).encode()
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"earmark/{__version__}",
            "Idempotency-Key": str(alert["id"]),
            "Earmark-Timestamp": timestamp,
        }
        if self._secret:
            headers["Earmark-Signature"] = signature(self._secret, timestamp, body)
        if self._authorization:
            headers["Authorization"] = self._authorization
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                answer.read(_LONGEST_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise DeliveryError(f"does not answer ({' '.join(said.lower().split())})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a failure."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
        return None  # noqa: RET501


def _refusal(error: urllib.error.HTTPError) -> DeliveryError:
    said = f"answers {error.code} {str(error.reason or '')[:_LONGEST_REASON]}".strip()
    if 300 <= error.code < 400:
        said += ", a redirect, which is not followed; give the final address"
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    after = float(asked) if asked.isascii() and asked.isdigit() else 0.0
    return DeliveryError(said, again=error.code not in _REFUSED, after=after)
