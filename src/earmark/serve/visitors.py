"""How many sessions one address has open.

This machine's own addresses have no limit: who is on it is trusted, and a proxy on it that names no
client (`X-Forwarded-For`) stands for all of them. Where it names one, uvicorn puts the client's
address in place of the proxy's.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator

from earmark.serve.settings import RefusedError

_NETWORK_BITS = 64  # of an IPv6 address, which one household has all of


class Visitors:
    """Counts sessions by address; it is used in the event loop alone.

    Args:
        most: sessions of one address; 0: any number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def session(self, host: str) -> Iterator[None]:
        """Within, a session of an address is open.

        Raises:
            RefusedError: it has too many.
        """
        key = network_of(host) if self._most else ""
        if not key:
            yield
            return
        if self._open[key] >= self._most:
            raise RefusedError(
                "address",
                f"{self._most} sessions of your address are open, which is the most; end one first",
                429,
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def network_of(host: str) -> str:
    """Return what sessions are counted by; empty: they are not, as those of this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_loopback:
        return ""
    if mapped.version == 4 or mapped.is_link_local:  # all that are on one link share one network
        return str(mapped)
    return str(ipaddress.ip_network((mapped, _NETWORK_BITS), strict=False))
