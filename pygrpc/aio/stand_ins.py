"""What stands for a call of the asyncio client when an interceptor returned something else in its place."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator
from typing import Any

from pygrpc.aio import base_call as base
from pygrpc.aio.errors import UsageError
from pygrpc.status import StatusCode

_ALREADY_FINISHED = "RPC already finished."
_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."

DoneCallback = Callable[[Any], None]


class _FinishedCall(base.Call):
    """A call that ended with OK without having been made."""

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_done_callback(self, callback: DoneCallback) -> None:
        callback(self)

    def time_remaining(self) -> float | None:
        return None

    async def initial_metadata(self) -> Any:
        return None

    async def trailing_metadata(self) -> Any:
        return None

    async def code(self) -> StatusCode:
        return StatusCode.OK

    async def details(self) -> str:
        return ""

    async def debug_error_string(self) -> str | None:
        return None

    async def wait_for_connection(self) -> None: ...


class UnaryUnaryCallResponse(_FinishedCall, base.UnaryUnaryCall[Any, Any]):
    """A call whose response an interceptor returned."""

    def __init__(self, response: Any) -> None:
        """Keeps the response."""
        self._response = response

    def __await__(self) -> Generator[Any, None, Any]:
        """Returns the response at once."""
        return self._response
        yield


class StreamUnaryCallResponse(UnaryUnaryCallResponse, base.StreamUnaryCall[Any, Any]):
    """The same for a call with a stream of requests, which nobody reads."""

    async def write(self, request: Any) -> None:
        """Raises, because the call is over."""
        raise asyncio.InvalidStateError(_ALREADY_FINISHED)

    async def done_writing(self) -> None:
        """Does nothing."""


class _IteratedCall(base.Call):
    """A call whose responses come from an iterator, and everything else from the call that was made."""

    def __init__(self, call: base.Call | None, responses: AsyncIterable[Any]) -> None:
        self._call: Any = call or _NO_CALL
        self._responses = responses

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._responses)

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    def cancelled(self) -> bool:
        return bool(self._call.cancelled())

    def done(self) -> bool:
        return bool(self._call.done())

    def add_done_callback(self, callback: DoneCallback) -> None:
        self._call.add_done_callback(callback)

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    async def initial_metadata(self) -> Any:
        return await self._call.initial_metadata()

    async def trailing_metadata(self) -> Any:
        return await self._call.trailing_metadata()

    async def code(self) -> StatusCode:
        code: StatusCode = await self._call.code()
        return code

    async def details(self) -> str:
        return str(await self._call.details())

    async def debug_error_string(self) -> str | None:
        text: str | None = await self._call.debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        await self._call.wait_for_connection()

    async def read(self) -> Any:
        """Not to be called: the iterator is what is read."""
        raise UsageError(_MIXED_STYLES)


class UnaryStreamCallResponseIterator(_IteratedCall, base.UnaryStreamCall[Any, Any]):
    """A call with one request whose responses an interceptor replaced by an iterator."""


class StreamStreamCallResponseIterator(_IteratedCall, base.StreamStreamCall[Any, Any]):
    """A call with a stream of requests whose responses an interceptor replaced by an iterator."""

    async def write(self, request: Any) -> None:
        """Not to be called: requests come from the iterator that the interceptors were given."""
        raise UsageError(_MIXED_STYLES)

    async def done_writing(self) -> None:
        """Not to be called, for the same reason."""
        raise UsageError(_MIXED_STYLES)


_NO_CALL = UnaryUnaryCallResponse(None)
