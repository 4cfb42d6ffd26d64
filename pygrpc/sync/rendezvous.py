"""What users hold of a call: the error of one that is over, or one that goes on, which is its own error at the end."""

import functools
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from pygrpc.call_interfaces import CallFuture, CallIterator
from pygrpc.core.client_call import CANCELLED_LOCALLY
from pygrpc.core.metadata import RawMetadata
from pygrpc.core.status import Status
from pygrpc.errors import RpcError
from pygrpc.interfaces import Call, Future, FutureCancelledError, FutureTimeoutError
from pygrpc.status import StatusCode
from pygrpc.sync.call import COLLECTED, CallState, StreamResponse
from pygrpc.sync.driver import run_callback
from pygrpc.sync.private_views import error_state


def _describe(name: str, status: Status) -> str:
    text = f'<{name} of RPC that terminated with:\n\tstatus = {status.code}\n\tdetails = "{status.details}"\n'
    if status.code is not StatusCode.OK:
        text += f'\tdebug_error_string = "{_debug_text(status)}"\n'
    return text + ">"


def _debug_text(status: Status) -> str:
    """What grpcio's ``debug_error_string`` says: the name of the code and the details."""
    if status.code is StatusCode.OK:
        return ""
    return ":".join(part for part in (status.code.name, status.details, status.debug) if part)


def _traceback_of(error: BaseException) -> TracebackType | None:
    try:
        raise error
    except BaseException:
        return sys.exc_info()[2]


class _InactiveRpcError(RpcError, Call, Future):
    """A call that ended with a status other than OK, and that nobody can do anything about any more."""

    def __init__(self, state: Any = None, initial_metadata: RawMetadata = ()) -> None:
        """Keeps how the call ended.

        Args:
            state: A Status, or what has the attributes of an ``_RPCState``, of which programs make errors for their
                tests. Who makes a copy of an error by its type and a text gets an INTERNAL one.
            initial_metadata: What the server sent first, if the state is a Status.
        """
        super().__init__()
        if isinstance(getattr(state, "code", None), StatusCode):
            if not isinstance(state, Status):
                initial_metadata, state = state.initial_metadata, _status_of(state)
        else:
            text = "Inactive RPC Error: Invalid RPC state type."
            if isinstance(state, str):
                text = f"{text} Details: {state}"
            state = Status(StatusCode.INTERNAL, text)
        self._status: Status = state
        self._initial_metadata = initial_metadata

    @property
    def _state(self) -> Any:
        return error_state(self._status, self._initial_metadata, self.debug_error_string())

    def initial_metadata(self) -> RawMetadata:
        """The metadata that the server sent first."""
        return self._initial_metadata

    def trailing_metadata(self) -> RawMetadata:
        """The metadata that came with the status."""
        return self._status.metadata

    def code(self) -> StatusCode:
        """The status code."""
        return self._status.code

    def details(self) -> str:
        """The status message."""
        return self._status.details

    def debug_error_string(self) -> str:
        """The same in one text, with what else developers may want to know."""
        return _debug_text(self._status)

    def is_active(self) -> bool:
        """False."""
        return False

    def time_remaining(self) -> float | None:
        """None; the deadline doesn't matter any more."""
        return None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Does nothing and returns False: the call is over."""
        return False

    def cancel(self) -> bool:
        """Does nothing and returns False: the call is over."""
        return False

    def cancelled(self) -> bool:
        """False."""
        return False

    def running(self) -> bool:
        """False."""
        return False

    def done(self) -> bool:
        """True."""
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        """Raises this error."""
        raise self

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Returns this error."""
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """A traceback of this error."""
        return _traceback_of(self)

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Calls back at once: the call is over. An error in the callback is logged."""
        run_callback(functools.partial(fn, self))

    def __repr__(self) -> str:
        """Shows the status over several lines, as grpcio does."""
        return _describe(type(self).__name__, self._status)

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the parts."""
        return type(self), (self._status, self._initial_metadata)


def _status_of(state: Any) -> Status:
    """The status of an ``_RPCState``."""
    details = state.details.decode(errors="replace") if isinstance(state.details, bytes) else state.details
    return Status(state.code, details, state.trailing_metadata)


def inactive_error(state: CallState) -> _InactiveRpcError:
    """The error of a call that is over."""
    return _InactiveRpcError(state.settle(), state.core.initial_metadata or ())


class _MultiThreadedRendezvous(RpcError, CallFuture[Any], CallIterator[Any]):
    """A call that goes on while its user does something else; any thread may use it.

    It is an iterator of responses, if they are a stream, a Future, and the error that these raise.
    """

    def __init__(self, state: CallState, deadline: float | None) -> None:
        """Shows a call to its user.

        Args:
            state: The call.
            deadline: What ``time_remaining`` counts down to, or None.
        """
        super().__init__()
        self._state = state
        self._deadline = deadline

    # The call.

    def is_active(self) -> bool:
        """Whether the call goes on."""
        return not self.done()

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def cancel(self) -> bool:
        """Cancels the call; returns False if it was over."""
        return self._state.cancel()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls back when the call is over; returns False if it is."""
        return self._state.add_callback(callback)

    def initial_metadata(self) -> RawMetadata:
        """Waits for the initial metadata that the server sent."""
        self._state.wait_initial_metadata()
        return self._state.core.initial_metadata or ()

    def trailing_metadata(self) -> RawMetadata:
        """Waits for the end of the call, and the metadata that came with its status."""
        return self._status().metadata

    def code(self) -> StatusCode:
        """Waits for the end of the call, and its status code."""
        return self._status().code

    def details(self) -> str:
        """Waits for the end of the call, and its status message."""
        return self._status().details

    def debug_error_string(self) -> str:
        """Waits for the end of the call, and what developers may want to know of it."""
        return _debug_text(self._status())

    def _status(self) -> Status:
        self._state.wait_over()
        return self._state.settle()

    # The future.

    def cancelled(self) -> bool:
        """Whether the call was cancelled here."""
        status = self._state.core.status
        return self._state.core.ended and (status is CANCELLED_LOCALLY or status is COLLECTED)

    def running(self) -> bool:
        """Whether the call goes on."""
        return not self.done()

    def done(self) -> bool:
        """Whether the call is over."""
        self._state.look()
        return self._state.core.ended

    def _outcome(self, timeout: float | None) -> Exception | None:
        """Waits for the end of the call; returns this object if it is an error."""
        if not self._state.wait_over(timeout):
            raise FutureTimeoutError()
        if self._state.settle().code is StatusCode.OK:
            return None
        if self.cancelled():
            raise FutureCancelledError()
        return self

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the response.

        Args:
            timeout: Seconds to wait at most, or None.

        Raises:
            FutureTimeoutError: The time was up first; the call goes on.
            FutureCancelledError: The call was cancelled here.
            RpcError: It ended with a status other than OK.
        """
        error = self._outcome(timeout)
        if error is not None:
            raise error
        return self._state.response()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Waits for the end of the call; returns the error that ``result`` would raise, or None."""
        return self._outcome(timeout)

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """Waits for the end of the call; returns a traceback of its error, or None."""
        error = self._outcome(timeout)
        return None if error is None else _traceback_of(error)

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Calls back with this object at the end of the call; at once, in this thread, if it is over.

        An error in the callback is logged, whenever it runs.
        """
        callback = functools.partial(fn, self)
        if not self._state.add_callback(callback):
            run_callback(callback)

    # The iterator.

    def __iter__(self) -> "_MultiThreadedRendezvous":
        """Returns this object."""
        return self

    def __next__(self) -> Any:
        """Waits for the next response; behind the last one raises this object if the status is not OK."""
        state = self._state
        if isinstance(state, StreamResponse):
            response = state.next_response()
            if response is not None:
                return response
        if self._status().code is StatusCode.OK:
            raise StopIteration
        raise self

    def next(self) -> Any:
        """Does what ``__next__`` does."""
        return self.__next__()

    def __repr__(self) -> str:
        """Shows the status over several lines if there is one, as grpcio does."""
        state = self._state
        if not state.core.ended:
            return f"<{type(self).__name__} object>"
        return _describe(type(self).__name__, state.settle())

    __str__ = __repr__

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Cancels a call that nobody can ask for any more."""
        # Missing if the constructor failed. When the process ends, the names of modules may be gone.
        state = getattr(self, "_state", None)
        if state is not None and not is_finalizing():
            state.drop()
