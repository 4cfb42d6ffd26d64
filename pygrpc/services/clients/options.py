"""How clients reach a server: TLS, tokens, deadlines, retries."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import pygrpc
from pygrpc.aio import Metadata

MetadataPairs: TypeAlias = Sequence[tuple[str, str | bytes]]

#: The methods that may be sent again although the server may have carried them out already: the outcome is the same
#: (that of SendMessage because of its key).
#: Any other call is sent again only if no server has seen it, which the channel knows.
IDEMPOTENT = {
    "user.v1.UserService": ("GetUser", "ListUsers", "UpdateUser", "WatchUser"),
    "chat.v1.ChatService": ("ListRooms", "LeaveRoom", "GetRoomHistory", "SendMessage", "Chat"),
    "file.v1.FileService": ("GetUpload", "DownloadFile", "ListFiles", "GetFileInfo"),
    # The client gives each order that it creates an idempotency key.
    "order.v1.OrderService": (
        "CreateOrder",
        "GetOrder",
        "ListOrders",
        "WatchOrder",
        "ImportOrders",
        "MatchOrders",
        "GetOrderBook",
        "ListTrades",
    ),
}
_FIRST_BACKOFF = "0.1s"
_LONGEST_BACKOFF = "2s"
_RECONNECT_MS = (100, 2000)


class CallOptions(TypedDict, total=False):
    """What each method of a client takes besides its own arguments.

    Attributes:
        timeout: In seconds, in place of that of the client; None for no deadline.
        metadata: Sent besides those of the client.
        wait_for_ready: Whether to wait for the server while it cannot be reached, until the deadline.
        on_metadata: Called with the initial metadata of the response when they come.
    """

    timeout: float | None
    metadata: MetadataPairs
    wait_for_ready: bool
    on_metadata: Callable[[Metadata], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The TLS of a client.

    Attributes:
        ca: The certificates, in PEM, of those who may vouch for the server; None for those of the system.
        certificate: The client's own certificate chain in PEM, if the server asks for one.
        key: The private key of that.
        server_name: The name in the server's certificate, if that is not the one in the target.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Refuses half of a pair."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key belong together: give both or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How clients reach a server. Durations are in seconds.

    Attributes:
        timeout: The deadline of a call that has no timeout of its own; for uploads and downloads the longest time
            without progress. None for no deadline. Watches and chats have none unless they are given one.
        metadata: Sent with each call.
        token: Sent as "authorization: Bearer ..."; or a function that returns it for each call, see `token_from`.
        tls: How to use TLS; None for a connection in the clear.
        channels: How many connections there may be; a call takes the one with the fewest calls. One is enough for most:
            more help where much is transferred at once, or where several servers share an address.
        attempts: How often a call that failed with UNAVAILABLE or ABORTED is tried in all, from 1 to 5, if it does no
            harm to make it twice; and how often any call is that the server asks to repeat later.
        wait_for_ready: Whether calls wait for a server that cannot be reached rather than fail at once.
        patience: How long watches, chats and transfers that were broken off try to go on before they fail.
        keepalive: A server that is silent for so long during a call is asked whether it is there. Servers that do not
            say otherwise accept that every five minutes.
        channel_options: Further options of the channels, as in docs/options.md.
    """

    timeout: float | None = 30.0
    metadata: MetadataPairs = ()
    token: str | Callable[[], str] | None = field(default=None, repr=False)
    tls: Tls | None = None
    channels: int = 1
    attempts: int = 4
    wait_for_ready: bool = False
    patience: float = 60.0
    keepalive: float = 330.0
    channel_options: Sequence[tuple[str, Any]] = ()

    def __post_init__(self) -> None:
        """Refuses numbers that make no sense."""
        if self.channels < 1:
            raise ValueError("channels must be at least 1")
        if not 1 <= self.attempts <= 5:
            raise ValueError("attempts must be from 1 to 5")

    def bearer(self) -> str:
        """Returns the token for a call, empty for none.

        Raises:
            ValueError: It cannot be sent; the text does not repeat it.
        """
        token = (self.token() if callable(self.token) else self.token) or ""
        if not (token.isascii() and token.isprintable()):
            raise ValueError("the token must be one line of ASCII")
        return token

    def for_channel(self) -> list[tuple[str, Any]]:
        """Returns the options of a channel."""
        first, longest = _RECONNECT_MS
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", self.service_config()),
            ("grpc.keepalive_time_ms", int(self.keepalive * 1000)),
            ("grpc.initial_reconnect_backoff_ms", first),
            ("grpc.max_reconnect_backoff_ms", longest),
        ]
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return [*options, *self.channel_options]

    def credentials(self) -> pygrpc.ChannelCredentials | None:
        """Returns the credentials of a channel, None for one in the clear."""
        if self.tls is None:
            return None
        return pygrpc.ssl_channel_credentials(self.tls.ca, self.tls.key, self.tls.certificate)

    def service_config(self) -> str:
        """Returns the service config, by which the channel retries."""
        if self.attempts == 1:
            return "{}"
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": _FIRST_BACKOFF,
            "maxBackoff": _LONGEST_BACKOFF,
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
        }
        names = [{"service": service, "method": each} for service, methods in IDEMPOTENT.items() for each in methods]
        # A server that fails most calls is spared the retries (gRFC A6).
        throttling = {"maxTokens": 100, "tokenRatio": 0.1}
        return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}], "retryThrottling": throttling})


def token_from(path: str | Path) -> Callable[[], str]:
    """Returns a function that reads a token from a file, for each call anew: it may be replaced meanwhile."""
    return lambda: Path(path).read_text(encoding="utf-8").strip()
