"""What grpcio has as private attributes of calls, contexts and channels, for the many programs that read them.

``error._state.code`` and ``context._state.code`` are from the time when there was no public way, ``channel._channel``
and ``context._rpc_event`` still are the only one. All of this is to be read, and is made when it is asked for.
"""

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pygrpc.core.client_call import CANCELLED_LOCALLY, ClientCall
from pygrpc.core.server_call import ServerCall
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.sync.channel import Channel

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "passthrough:")


class CallNames:
    """The names of ``call._state``, for the state of a call; they are None until the call has ended."""

    __slots__ = ()
    core: ClientCall

    @property
    def code(self) -> StatusCode | None:
        """The status code."""
        return self.core.status.code if self.core.status is not None else None

    @property
    def details(self) -> str | None:
        """The status message."""
        return self.core.status.details if self.core.status is not None else None

    @property
    def initial_metadata(self) -> Any:
        """What the server sent first, or None."""
        return self.core.initial_metadata

    @property
    def trailing_metadata(self) -> Any:
        """What came with the status."""
        return self.core.status.metadata if self.core.status is not None else None

    @property
    def debug_error_string(self) -> str | None:
        """What developers may want to know."""
        return self.core.status.debug if self.core.status is not None else None

    @property
    def cancelled(self) -> bool:
        """Whether this side cancelled the call."""
        return self.core.status is CANCELLED_LOCALLY


def error_state(status: Status, initial_metadata: Any, debug_error_string: str) -> SimpleNamespace:
    """What ``error._state`` is, for the error of a call that is over."""
    return SimpleNamespace(
        code=status.code,
        details=status.details,
        initial_metadata=initial_metadata,
        trailing_metadata=status.metadata,
        debug_error_string=debug_error_string,
        cancelled=False,
        response=None,
    )


def context_state(context: Any, core: ServerCall) -> SimpleNamespace:
    """What ``context._state`` is: what the handler has set, and whether the client is still there."""
    cancelled = core.ended and core.status is not None and core.status.code is not StatusCode.OK and not context.aborted
    return SimpleNamespace(
        code=context.code(),
        details=context.details(),
        trailing_metadata=context.trailing_metadata(),
        aborted=context.aborted,
        client="cancelled" if cancelled else "open",
    )


def rpc_event(core: ServerCall) -> SimpleNamespace:
    """What ``context._rpc_event`` is, of which programs read the name of the method."""
    head = core.head
    deadline = None if core.deadline is None else time.time() + core.deadline - time.monotonic()
    details = SimpleNamespace(method=head.path.encode(), host=head.authority.encode(), deadline=deadline)
    return SimpleNamespace(call_details=details, invocation_metadata=head.metadata)


class ChannelView:
    """What ``channel._channel`` is."""

    def __init__(self, channel: "Channel", target: str) -> None:
        """Keeps the channel, and its target as the user gave it."""
        self._channel = channel
        self._target = target

    def target(self) -> bytes:
        """The target with its scheme."""
        return (self._target if self._target.startswith(_SCHEMES) else f"dns:///{self._target}").encode()

    def check_connectivity_state(self, try_to_connect: bool) -> int:
        """The number of the channel's state.

        Args:
            try_to_connect: Whether an idle channel is to connect.
        """
        return int(self._channel.state(try_to_connect).value[0])
