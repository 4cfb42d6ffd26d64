"""What a channel is told of its figures, and what it asks of the shell around it."""

from dataclasses import dataclass, field
from typing import Protocol

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import BackoffPolicy
from pygrpc.core.balancing.pick_first import PickFirst
from pygrpc.core.balancing.subchannel import Connector
from pygrpc.core.client_call import REPLAY_LIMIT, RequestHeaders
from pygrpc.core.keepalive import NO_KEEPALIVE, KeepaliveSettings


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """The figures of a channel, in seconds.

    Attributes:
        backoff: The delays between attempts to connect to an address, and to resolve the target.
        min_connect_timeout: The time that an attempt to connect has at least.
        min_time_between_resolutions: The time between two looks at the same name, unless the first one failed.
        idle_timeout: The time without a call after which the channel lets its connections go; None for never.
        enable_retries: Whether calls are started again at all.
        retry_buffer: Bytes of requests that a call with a policy keeps for further attempts.
        head_start: The time that an address has for itself before pick_first tries the next one too.
        take_configs: Whether the service configs of resolvers count.
        max_connections: Connections to one address at most, whatever the service config says (gRFC A105).
        inhibit_health_checking: Whether health is not watched, whatever the service config says (gRFC A17).
        keepalive: When connections ask whether the server is still there.
    """

    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    min_connect_timeout: float = 20.0
    min_time_between_resolutions: float = 30.0
    idle_timeout: float | None = 1800.0
    enable_retries: bool = True
    retry_buffer: int = REPLAY_LIMIT
    head_start: float = PickFirst.head_start
    take_configs: bool = True
    max_connections: int = 10
    inhibit_health_checking: bool = False
    keepalive: KeepaliveSettings = NO_KEEPALIVE


class ChannelShell(Connector, Protocol):
    """What a channel asks of the shell around it."""

    def resolve(self) -> bool:
        """Begins to look up the target; ``resolved`` or ``resolution_failed`` is to be called with the outcome.

        Returns:
            False if there may be no outcome: who knows the addresses tells them by itself, and has got a hint.
        """

    def stop_resolving(self) -> None:
        """Nobody is interested in the target any more, until ``resolve`` is called again."""

    def request_headers(self, path: str) -> RequestHeaders:
        """What makes the header block of a call that the channel makes for itself."""

    def on_state(self, state: ChannelConnectivity) -> None:
        """The channel has a new state."""

    def on_wakeup(self, when: float | None) -> None:
        """``handle_timeout`` is to be called at a new time, or not at all."""
