"""What the server allows, and whom."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from earmark.errors import EarmarkError, SettingsError

PORT = 8765
BLOCK_SECONDS = 0.5
LONGEST_BLOCK_SECONDS = 2.0  # samples are kept so long that the begin of an event is in its clip
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MEBIBYTE = 1 << 20
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,}")  # what a cookie and an address can hold as it is


class RefusedError(EarmarkError):
    """Something that a client may not do, or not now.

    Args:
        code: a word for programs.
        message: a line for people.
        status: the HTTP status that says the same.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Limits:
    """How much one client, and all of them, may ask for.

    Attributes:
        sessions: streams at a time.
        address_sessions: of one address, but this machine's own; 0: any number.
        message_bytes: one message of the WebSocket, audio included.
        control_bytes: one message of text, and the body of a small request.
        messages_per_second: on average, in one session.
        realtime_factor: how much faster than real time samples of a live session may come.
        ahead_seconds: that may come at once, after a network that stood still.
        behind_seconds: where sound waits for longer than this in most live sessions, no other may
            begin, and of the newest as many end as are too many, see `earmark.serve.shedding`.
        gap_seconds: the longest gap that is filled with silence.
        start_seconds: a connection that has not said what it wants by then is closed.
        idle_seconds: a session that sends no audio for so long is closed.
        linger_seconds: a session whose connection was lost is kept for so long.
        slow_seconds: a reader that takes nothing for so long is closed.
        unread_messages: kept for a slow reader; then pictures and scores are left out.
        upload_bytes: of one uploaded file.
        upload_seconds: of sound in one file.
        uploads: files held at a time.
        upload_idle_seconds: an uploaded file that nobody asks for is removed after so long.
        upload_replaced_seconds: where there are so many files, the one that was asked for longest
            ago, and so long ago, makes room for another.
        body_seconds: a request that sends nothing for so long is given up.
        clip_bytes: all clips of events together; the oldest go first.
        clip_age_seconds: clips older than this go.
        clip_seconds: the longest clip of an event.
        block_seconds: about so much sound is scored at a time, in whole steps of the model; more
            is cheaper, less answers sooner.
        events: that are remembered of a source of the server's, for who comes later.
        client_events: that are remembered of any other session, for when its connection is back.
    """

    sessions: int = 256
    address_sessions: int = 64
    message_bytes: int = 256 * 1024
    control_bytes: int = 16 * 1024
    messages_per_second: int = 200
    realtime_factor: float = 1.25
    ahead_seconds: float = 15.0
    behind_seconds: float = 5.0
    gap_seconds: float = 120.0
    start_seconds: float = 10.0
    idle_seconds: float = 60.0
    linger_seconds: float = 60.0
    slow_seconds: float = 30.0
    unread_messages: int = 512
    upload_bytes: int = 2048 * MEBIBYTE
    upload_seconds: float = 6 * 3600.0
    uploads: int = 16
    upload_idle_seconds: float = 1800.0
    upload_replaced_seconds: float = 60.0
    body_seconds: float = 30.0
    clip_bytes: int = 512 * MEBIBYTE
    clip_age_seconds: float = 6 * 3600.0
    clip_seconds: float = 60.0
    block_seconds: float = BLOCK_SECONDS
    events: int = 10_000
    client_events: int = 100


@dataclass(frozen=True)
class Access:
    """Who may come.

    Attributes:
        host: address that is listened on.
        port: port that is listened on; 0: any free one.
        token: what every request must show; empty: nothing, which only loopback may have.
        hosts: further names under which the server is reached, as behind a proxy.
        origins: further origins (`https://name:port`) whose pages may use the server.
        certificate: file of a TLS certificate; empty: no TLS.
        key: file of its private key, where the certificate's file does not hold it.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str = ""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise SettingsError(f"port must be 0 to 65535, got {self.port}")
        if not self.loopback and not self.token:
            raise SettingsError(f"{self.host} can be reached from elsewhere; it needs a token")
        if self.token and not _TOKEN.fullmatch(self.token):
            raise SettingsError("a token is 8 or more letters, digits and any of . _ ~ -")
        if self.key and not self.certificate:
            raise SettingsError("a private key needs its certificate; give --certificate too")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
