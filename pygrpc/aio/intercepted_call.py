"""Calls of the asyncio client that go through interceptors.

The interceptors run in a task, the chain. What it ends with is the call that the user's object stands for: one that the
channel made, or a stand-in for a response, or for an iterator, that an interceptor returned in its place.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Any, ClassVar

from pygrpc.aio import base_call as base
from pygrpc.aio import call as calls
from pygrpc.aio.base_call import EOF
from pygrpc.aio.errors import AioRpcError, UsageError
from pygrpc.aio.interceptor import ClientCallDetails
from pygrpc.aio.loops import start_task
from pygrpc.aio.stand_ins import (
    DoneCallback,
    StreamStreamCallResponseIterator,
    StreamUnaryCallResponse,
    UnaryStreamCallResponseIterator,
    UnaryUnaryCallResponse,
)
from pygrpc.metadata import Metadata
from pygrpc.status import StatusCode

_LOCALLY_CANCELLED = "Locally cancelled by application!"
_ALREADY_FINISHED = "RPC already finished."
_HALF_CLOSED = 'RPC is half closed after calling "done_writing".'
_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."


class Chain:
    """The interceptors of one call, and the end of the chain: the call itself.

    It doesn't know the object that the user holds, so that dropping that object cancels the call.
    """

    #: Runs the interceptors.
    task: asyncio.Task[Any]
    #: What the chain has ended with, if it has ended well.
    call: Any = None
    #: The call that was made last; what an iterator in place of a call gets its status from.
    _made: Any = None
    _begun = False
    #: Whether the call has brought what it is to bring, so that there is nothing left to cancel.
    over = False
    #: Those who wait for the response of the call, until the chain has ended.
    waiters: Sequence[asyncio.Future[None]] = ()

    def __init__(
        self,
        kind: type[InterceptedCall],
        interceptors: Sequence[Any],
        parameters: calls.CallParameters,
        method: bytes,
        compression: int | None,
    ) -> None:
        """Prepares the chain for ``run``.

        Args:
            kind: The class of the call, which says what is to be made at the end.
            interceptors: At least one; the first one is asked first.
            parameters: What is known of the method that the user calls.
            method: Its name.
            compression: The algorithm that the user chose, or None.
        """
        self._kind = kind
        self._interceptors = interceptors
        self._parameters = parameters
        self._method = method
        self._compression = compression

    async def run(self, details: ClientCallDetails, request: Any) -> None:
        """Runs the interceptors."""
        self._begun = True
        try:
            self.call = await self._intercept(0, details, request)
        finally:
            self.end()

    async def _intercept(self, index: int, details: ClientCallDetails, request: Any) -> Any:
        following = index + 1
        if following < len(self._interceptors):

            async def continuation(new_details: Any, new_request: Any) -> Any:
                return await self._intercept(following, new_details, new_request)

        else:

            async def continuation(new_details: Any, new_request: Any) -> Any:
                self._made = self._make(new_details, new_request)
                return self._made

        kind = self._kind
        result = await getattr(self._interceptors[index], kind._hook)(continuation, details, request)
        return result if type(result) is kind._call_class else kind._stand_in(result, self._made)

    def _make(self, details: ClientCallDetails, request: Any) -> Any:
        """Makes the call that the last interceptor asks for."""
        parameters = self._parameters
        method = details.method
        if method != self._method:
            name = method.decode() if isinstance(method, bytes) else method
            parameters = calls.CallParameters(parameters.channel, name, parameters.serializer, parameters.deserializer)
        call = self._kind._call_class(
            parameters,
            details.timeout,
            details.metadata,
            details.credentials,
            getattr(details, "compression", self._compression),
        )
        if self._kind._streams_requests:
            call._send_all(request, details.wait_for_ready)
        else:
            call._send(request, details.wait_for_ready)
        return call

    def end(self) -> None:
        """The chain has ended: whoever waits for the response is woken, by the call if there is one to wait for."""
        self._parameters.channel.chains.discard(self)
        waiters = self.waiters
        if waiters:
            self.waiters = ()
            if isinstance(self.call, self._kind._call_class):
                self.call._add_waiters(waiters)
            else:
                calls.wake(waiters)

    def cancel(self) -> bool:
        """Cancels the interceptors, if they have not ended."""
        task = self.task
        if not self._begun and not task.done():
            # A task that is cancelled before it begins doesn't come by the end.
            task.add_done_callback(lambda _: self.end())
        return task.cancel()

    def cancel_all(self) -> bool:
        """Cancels the interceptors, or the call that they ended with."""
        if self.call is not None:
            return bool(self.call.cancel())
        return self.cancel()


class InterceptedCall(base.Call):
    """What intercepted calls of all kinds have in common: it stands for a call that may not have begun yet."""

    _hook: ClassVar[str]
    _call_class: ClassVar[type[Any]]
    _streams_requests: ClassVar[bool] = False
    #: Who is to be told of the end of a call that has not begun yet.
    _pending_callbacks: Sequence[DoneCallback] = ()
    _writer: _Writer | None = None
    _deadline: float | None = None

    def __init__(
        self,
        interceptors: Sequence[Any],
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: Any,
        wait_for_ready: bool | None,
        channel: Any,
        method: bytes,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
        loop: asyncio.AbstractEventLoop,
        registered_call_handle: int = 0,
        compression: int | None = None,
    ) -> None:
        """Starts the interceptors; channels call this."""
        self._loop = loop
        if self._streams_requests and request is None:
            self._writer = request = _Writer(loop)
        if metadata is None:
            metadata = Metadata()
        elif not isinstance(metadata, Metadata):
            metadata = Metadata(*metadata)
        if timeout is not None:
            self._deadline = loop.time() + timeout
        parameters = calls.CallParameters(channel, method.decode(), request_serializer, response_deserializer)
        chain = self._chain = Chain(type(self), interceptors, parameters, method, compression)
        channel.chains.add(chain)
        details = ClientCallDetails(method, timeout, metadata, credentials, wait_for_ready)
        # Not at once, even where that can be: in grpcio the interceptors begin when the caller waits for something.
        chain.task = start_task(loop, chain.run(details, request), "interceptors of a call")

    @staticmethod
    def _stand_in(result: Any, made: Any) -> Any:
        """Makes a call of what an interceptor returned."""
        raise NotImplementedError

    def __del__(self) -> None:
        """Cancels the call: nobody will ask for its outcome."""
        chain = getattr(self, "_chain", None)
        if chain is not None and not chain.over and not self._loop.is_closed():
            chain.cancel_all()

    # Before and behind the end of the chain.

    async def _resolve(self) -> Any:
        """Waits for the call; who is cancelled meanwhile does not cancel the chain."""
        chain = self._chain
        if chain.call is None:
            await asyncio.shield(chain.task)
        return chain.call

    def _chain_ended(self) -> None:
        callbacks, self._pending_callbacks = self._pending_callbacks, ()
        for callback in callbacks:
            self.add_done_callback(callback)

    def cancel(self) -> bool:
        """Cancels the chain, or the call that it ended with."""
        return self._chain.cancel_all()

    def cancelled(self) -> bool:
        """Whether the call ended with CANCELLED."""
        call, task = self._chain.call, self._chain.task
        if call is not None:
            return bool(call.cancelled())
        if not task.done():
            return False
        if task.cancelled():
            return True
        error = task.exception()
        return isinstance(error, AioRpcError) and error.code() is StatusCode.CANCELLED

    def done(self) -> bool:
        """Whether the call is over."""
        call = self._chain.call
        return self._chain.task.done() if call is None else bool(call.done())

    def add_done_callback(self, callback: DoneCallback) -> None:
        """Calls back with this object when the call is over, or at once if it is."""
        call, task = self._chain.call, self._chain.task
        if call is None and not task.done():
            if not self._pending_callbacks:
                # Weakly, so that the task doesn't keep this object, whose end cancels it.
                itself = weakref.ref(self)
                task.add_done_callback(lambda _: _chain_ended(itself()))
            self._pending_callbacks = (*self._pending_callbacks, callback)
        elif call is None or call.done():
            callback(self)
        else:
            call.add_done_callback(lambda _: callback(self))

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without a deadline."""
        call = self._chain.call
        if call is not None:
            remaining: float | None = call.time_remaining()
            return remaining
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    async def _outcome(self, ask: Callable[[Any], Awaitable[Any]], of_error: str, cancelled: Any) -> Any:
        """Asks the call, or the error that the chain ended with.

        Args:
            ask: Asks the call.
            of_error: The method of AioRpcError that says the same.
            cancelled: The answer if the chain was cancelled.
        """
        try:
            call = await self._resolve()
        except AioRpcError as error:
            return getattr(error, of_error)()
        except asyncio.CancelledError:
            if self._chain.task.cancelled():
                return cancelled
            raise
        return await ask(call)

    async def initial_metadata(self) -> Any:
        """Waits for the initial metadata of the server; None if the call never left."""
        return await self._outcome(lambda call: call.initial_metadata(), "initial_metadata", None)

    async def trailing_metadata(self) -> Any:
        """Waits for the end of the call and its trailing metadata; None if the call never left."""
        return await self._outcome(lambda call: call.trailing_metadata(), "trailing_metadata", None)

    async def code(self) -> StatusCode:
        """Waits for the end of the call and its status code."""
        code: StatusCode = await self._outcome(lambda call: call.code(), "code", StatusCode.CANCELLED)
        return code

    async def details(self) -> str:
        """Waits for the end of the call and its status message."""
        details: str = await self._outcome(lambda call: call.details(), "details", _LOCALLY_CANCELLED)
        return details

    async def debug_error_string(self) -> str | None:
        """Waits for the end of the call and what is known for developers."""
        text: str | None = await self._outcome(lambda call: call.debug_error_string(), "debug_error_string", "")
        return text

    async def wait_for_connection(self) -> None:
        """Waits until the call is on its way to a server."""
        await (await self._resolve()).wait_for_connection()


def _chain_ended(call: InterceptedCall | None) -> None:
    if call is not None:
        call._chain_ended()


class _UnaryResponse(InterceptedCall):
    """The response side of calls with one response."""

    def __await__(self) -> Generator[Any, None, Any]:
        chain = self._chain
        if chain.call is None and not chain.task.done():
            # One wait for the chain and for the call, as a rule.
            waiter = self._loop.create_future()
            chain.waiters = (*chain.waiters, waiter)
            try:
                yield from waiter
            except asyncio.CancelledError:
                chain.cancel_all()
                raise
        if chain.call is None:
            # It raises what the chain has raised.
            yield from chain.task.__await__()
        response = yield from chain.call.__await__()
        chain.over = True
        return response


class _StreamResponse(InterceptedCall):
    """The response side of calls with a stream of responses."""

    #: Iterates over the responses of the call that the chain ended with.
    _responses: AsyncIterator[Any] | None = None

    async def _next(self) -> Any:
        if self._responses is None:
            chain = self._chain
            if chain.call is None:
                await chain.task
            self._responses = aiter(chain.call)
        return await anext(self._responses)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _ResponseIterator(self)

    async def read(self) -> Any:
        try:
            return await self._next()
        except StopAsyncIteration:
            return EOF


class _ResponseIterator(AsyncIterator[Any]):
    """Iterates over the responses, and keeps the call while it does; the call doesn't know of it."""

    __slots__ = ("_call",)

    def __init__(self, call: _StreamResponse) -> None:
        self._call = call

    async def __anext__(self) -> Any:
        return await self._call._next()


class _Writer(AsyncIterator[Any]):
    """The requests that the user writes one by one, as the iterator that interceptors are given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._requests: list[Any] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._watched: Any = None
        #: Whether the user has said that no more requests follow.
        self.finished = False
        self._abandoned = False

    async def write(self, request: Any, call: Any) -> None:
        """Hands a request over; waits until the one before has been taken, or the call is over."""
        self._watch(call)
        while self._requests and not self._abandoned:
            await self._wait()
        if not self._abandoned:
            self._requests.append(request)
            self._wake()

    def finish(self, call: Any) -> None:
        """No more requests follow."""
        self._watch(call)
        self.finished = True
        self._wake()

    def _watch(self, call: Any) -> None:
        if self._watched is None:
            self._watched = call
            call.add_done_callback(lambda _: self._abandon())

    def _abandon(self) -> None:
        self._abandoned = True
        self._wake()

    async def _wait(self) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def __anext__(self) -> Any:
        while not self._requests:
            if self.finished or self._abandoned:
                raise StopAsyncIteration
            await self._wait()
        request = self._requests.pop()
        self._wake()
        return request


class _StreamRequest(InterceptedCall):
    """The request side of calls with a stream of requests."""

    _streams_requests = True

    async def _writable(self) -> tuple[_Writer, Any]:
        if self._writer is None:
            raise UsageError(_MIXED_STYLES)
        try:
            return self._writer, await self._resolve()
        except AioRpcError:
            raise asyncio.InvalidStateError(_ALREADY_FINISHED) from None
        except asyncio.CancelledError:
            if self._chain.task.cancelled():
                raise asyncio.InvalidStateError(_ALREADY_FINISHED) from None
            raise

    async def write(self, request: Any) -> None:
        writer, call = await self._writable()
        if call.done():
            raise asyncio.InvalidStateError(_ALREADY_FINISHED)
        if writer.finished:
            raise asyncio.InvalidStateError(_HALF_CLOSED)
        await writer.write(request, call)
        if call.done():
            raise asyncio.InvalidStateError(_ALREADY_FINISHED)

    async def done_writing(self) -> None:
        writer, call = await self._writable()
        writer.finish(call)


class InterceptedUnaryUnaryCall(_UnaryResponse, base.UnaryUnaryCall[Any, Any]):
    """A call with one request and one response, which goes through interceptors."""

    _hook = "intercept_unary_unary"
    _call_class = calls.UnaryUnaryCall

    @staticmethod
    def _stand_in(result: Any, made: Any) -> Any:
        return result if isinstance(result, base.UnaryUnaryCall) else UnaryUnaryCallResponse(result)


class InterceptedUnaryStreamCall(_StreamResponse, base.UnaryStreamCall[Any, Any]):
    """A call with one request and a stream of responses, which goes through interceptors."""

    _hook = "intercept_unary_stream"
    _call_class = calls.UnaryStreamCall

    @staticmethod
    def _stand_in(result: Any, made: Any) -> Any:
        return result if isinstance(result, base.UnaryStreamCall) else UnaryStreamCallResponseIterator(made, result)


class InterceptedStreamUnaryCall(_UnaryResponse, _StreamRequest, base.StreamUnaryCall[Any, Any]):
    """A call with a stream of requests and one response, which goes through interceptors."""

    _hook = "intercept_stream_unary"
    _call_class = calls.StreamUnaryCall

    @staticmethod
    def _stand_in(result: Any, made: Any) -> Any:
        return result if isinstance(result, base.StreamUnaryCall) else StreamUnaryCallResponse(result)


class InterceptedStreamStreamCall(_StreamResponse, _StreamRequest, base.StreamStreamCall[Any, Any]):
    """A call with streams of requests and responses, which goes through interceptors."""

    _hook = "intercept_stream_stream"
    _call_class = calls.StreamStreamCall

    @staticmethod
    def _stand_in(result: Any, made: Any) -> Any:
        return result if isinstance(result, base.StreamStreamCall) else StreamStreamCallResponseIterator(made, result)
