"""Hooks on the calls of the asyncio client."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator
from typing import Any

import pygrpc.aio
from pygrpc.hooks._types import ARITIES, Begin, CallEnd, CallHooks, CallInfo, pairs, tell_end, text


def aio_client_interceptor(begin: Begin) -> Any:
    """Makes an interceptor for the channels of ``pygrpc.aio``, of all four kinds.

    Args:
        begin: Called for each call.
    """
    return _Interceptor(begin)


class _Interceptor(
    pygrpc.aio.UnaryUnaryClientInterceptor,
    pygrpc.aio.UnaryStreamClientInterceptor,
    pygrpc.aio.StreamUnaryClientInterceptor,
    pygrpc.aio.StreamStreamClientInterceptor,
):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    async def _intercept(self, arity: str, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        request_streaming, response_streaming = ARITIES[arity]
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        metadata = pairs(details.metadata)
        info = CallInfo(True, method, request_streaming, response_streaming, metadata, details.timeout)
        hooks = self._begin(info)
        details = details._replace(metadata=pygrpc.aio.Metadata(*info.metadata), timeout=info.timeout)
        if hooks is None:
            return await continuation(details, request)
        request = _each_request(request, hooks) if request_streaming else hooks.on_request(request)
        return _OBSERVED[arity](await continuation(details, request), hooks)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept("unary_unary", continuation, client_call_details, request)

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept("unary_stream", continuation, client_call_details, request)

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept("stream_unary", continuation, client_call_details, request_iterator)

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept("stream_stream", continuation, client_call_details, request_iterator)


async def _each_request(requests: Any, hooks: CallHooks) -> AsyncIterator[Any]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield hooks.on_request(request)
    else:
        for request in requests:
            yield hooks.on_request(request)


class _ObservedCall(pygrpc.aio.Call):
    """A call whose end hooks are told of."""

    def __init__(self, call: Any, hooks: CallHooks) -> None:
        self._call = call
        self._hooks = hooks
        self._telling: asyncio.Task[None] | None = None
        call.add_done_callback(self._on_done)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def _on_done(self, _: Any) -> None:
        # What is left to ask of a call that is over takes no time, but coroutines to ask it.
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        call = self._call
        trailing = tuple(pairs(await call.trailing_metadata()))
        tell_end(self._hooks, CallEnd(await call.code(), text(await call.details()), trailing))

    def cancelled(self) -> bool:
        return bool(self._call.cancelled())

    def done(self) -> bool:
        return bool(self._call.done())

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._call.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> Any:
        return await self._call.initial_metadata()

    async def trailing_metadata(self) -> Any:
        return await self._call.trailing_metadata()

    async def code(self) -> pygrpc.StatusCode:
        code: pygrpc.StatusCode = await self._call.code()
        return code

    async def details(self) -> str:
        return str(await self._call.details())

    async def wait_for_connection(self) -> None:
        await self._call.wait_for_connection()


class _UnaryResponse(_ObservedCall):
    """The response side of calls with one response, which is shown to the hooks whether or not the user awaits it."""

    _response: Any = None
    _error: Exception | None = None

    async def _tell(self) -> None:
        if await self._call.code() is pygrpc.StatusCode.OK:
            try:
                self._response = self._hooks.on_response(await self._call)
            except Exception as error:
                self._error = error
        await super()._tell()

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._call.__await__()
        self._on_done(self._call)
        assert self._telling is not None
        yield from asyncio.shield(self._telling).__await__()
        if self._error is not None:
            raise self._error
        return self._response


class _ResponseIterator(AsyncIterator[Any]):
    def __init__(self, responses: AsyncIterator[Any], hooks: CallHooks) -> None:
        self._responses = responses
        self._hooks = hooks

    async def __anext__(self) -> Any:
        return self._hooks.on_response(await anext(self._responses))


class _StreamResponse(_ObservedCall):
    """The response side of calls with a stream of responses."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return _ResponseIterator(aiter(self._call), self._hooks)

    async def read(self) -> Any:
        response = await self._call.read()
        return response if response is pygrpc.aio.EOF else self._hooks.on_response(response)


class _StreamRequest(_ObservedCall):
    """The request side of calls with a stream of requests; the requests themselves pass through the iterator."""

    async def write(self, request: Any) -> None:
        await self._call.write(request)

    async def done_writing(self) -> None:
        await self._call.done_writing()


class _UnaryUnaryCall(_UnaryResponse, pygrpc.aio.UnaryUnaryCall[Any, Any]): ...


class _UnaryStreamCall(_StreamResponse, pygrpc.aio.UnaryStreamCall[Any, Any]): ...


class _StreamUnaryCall(_UnaryResponse, _StreamRequest, pygrpc.aio.StreamUnaryCall[Any, Any]): ...


class _StreamStreamCall(_StreamResponse, _StreamRequest, pygrpc.aio.StreamStreamCall[Any, Any]): ...


_OBSERVED: dict[str, type[_ObservedCall]] = {
    "unary_unary": _UnaryUnaryCall,
    "unary_stream": _UnaryStreamCall,
    "stream_unary": _StreamUnaryCall,
    "stream_stream": _StreamStreamCall,
}
