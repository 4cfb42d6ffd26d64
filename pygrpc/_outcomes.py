"""Calls that are over: what continuations of sync interceptors return for calls that block, and in place of errors."""

import logging
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from pygrpc.errors import RpcError
from pygrpc.interfaces import Call, Future
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")


class _Outcome(Call, Future):
    """A call that is over, as a continuation of a call that blocks returns it."""

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        try:
            fn(self)
        except Exception:
            _LOGGER.exception("a callback raised: %r", fn)


class Success(_Outcome):
    """The response, and the call that it came from."""

    def __init__(self, response: Any, call: Any) -> None:
        self._response = response
        self._call = call

    def __getattr__(self, name: str) -> Any:
        # What the call has beyond the interface, such as debug_error_string. But whoever asks for __next__ wants to
        # know whether this is a stream of responses, and it isn't.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._call, name)

    def initial_metadata(self) -> Any:
        return self._call.initial_metadata()

    def trailing_metadata(self) -> Any:
        return self._call.trailing_metadata()

    def code(self) -> Any:
        return self._call.code()

    def details(self) -> Any:
        return self._call.details()

    def is_active(self) -> bool:
        return bool(self._call.is_active())

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def cancel(self) -> Any:
        return self._call.cancel()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return bool(self._call.add_callback(callback))

    def result(self, timeout: float | None = None) -> Any:
        return self._response

    def exception(self, timeout: float | None = None) -> Exception | None:
        return None

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        return None


class Failure(_Outcome, RpcError):
    """What an interceptor raised, or a call that could not even begin."""

    def __init__(self, error: Exception, traceback: TracebackType | None) -> None:
        super().__init__()
        self._error = error
        self._traceback = traceback

    def initial_metadata(self) -> Any:
        return None

    def trailing_metadata(self) -> Any:
        return None

    def code(self) -> StatusCode:
        return StatusCode.INTERNAL

    def details(self) -> str:
        return "Exception raised while intercepting the RPC"

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def result(self, timeout: float | None = None) -> Any:
        raise self._error

    def exception(self, timeout: float | None = None) -> Exception | None:
        return self._error

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        return self._traceback

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise self._error

    next = __next__
