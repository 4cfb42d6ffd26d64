"""The states of a channel (doc/connectivity-semantics-and-api.md in the grpc repository)."""

import enum


class ChannelConnectivity(enum.Enum):
    """A channel's state: ``value`` is a number and its name in words."""

    IDLE = (0, "idle")
    CONNECTING = (1, "connecting")
    READY = (2, "ready")
    TRANSIENT_FAILURE = (3, "transient failure")
    SHUTDOWN = (4, "shutdown")
