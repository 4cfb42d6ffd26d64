"""What stands for ``grpc._channel``: the types of channels, of calls and of their errors."""

from dataclasses import dataclass
from typing import Any

from pygrpc.core.configuration import USER_AGENT as _USER_AGENT
from pygrpc.status import StatusCode
from pygrpc.sync.channel import Channel as Channel
from pygrpc.sync.multicallable import StreamStreamMultiCallable as _StreamStreamMultiCallable
from pygrpc.sync.multicallable import StreamUnaryMultiCallable as _StreamUnaryMultiCallable
from pygrpc.sync.multicallable import UnaryStreamMultiCallable as _UnaryStreamMultiCallable
from pygrpc.sync.multicallable import UnaryUnaryMultiCallable as _UnaryUnaryMultiCallable
from pygrpc.sync.rendezvous import _InactiveRpcError, _MultiThreadedRendezvous

__all__ = [
    "_USER_AGENT",
    "Channel",
    "_InactiveRpcError",
    "_MultiThreadedRendezvous",
    "_RPCState",
    "_Rendezvous",
    "_SingleThreadedRendezvous",
    "_SingleThreadedUnaryStreamMultiCallable",
    "_StreamStreamMultiCallable",
    "_StreamUnaryMultiCallable",
    "_UnaryStreamMultiCallable",
    "_UnaryUnaryMultiCallable",
]

# grpcio has a class for calls without a thread, and a common base. Here no call has a thread.
_Rendezvous = _SingleThreadedRendezvous = _MultiThreadedRendezvous
_SingleThreadedUnaryStreamMultiCallable = _UnaryStreamMultiCallable


@dataclass
class _RPCState:
    """How a call ended, of which tests of programs make an ``_InactiveRpcError``.

    Attributes:
        due: Has no meaning here.
        initial_metadata: What the server sent first.
        trailing_metadata: What came with the status.
        code: The status code.
        details: The status message.
    """

    due: Any
    initial_metadata: Any
    trailing_metadata: Any
    code: StatusCode | None
    details: str | bytes | None
