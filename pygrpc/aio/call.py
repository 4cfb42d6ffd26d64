"""Calls of the asyncio client: the objects that a multi-callable returns.

A call is put together of a base, what its request side does and what its response side does. The state is in the core's
``ClientCall``; here are the futures that wait for it to change.
"""

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Sequence
from typing import Any

from pygrpc.aio import base_call as base
from pygrpc.aio.base_call import EOF
from pygrpc.aio.errors import AioRpcError, InvalidMetadataError, UsageError
from pygrpc.core.client_call import CANCELLED_LOCALLY, ClientCall, ClientCallListener, ClientState
from pygrpc.core.compression import encoding_name
from pygrpc.core.metadata import Header, InvalidMetadata, encode_metadata
from pygrpc.core.status import Status
from pygrpc.metadata import Metadata, MetadataType
from pygrpc.propagation import effective_timeout
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")

_COLLECTED = Status(StatusCode.CANCELLED, "Cancelled upon garbage collection!")
_ALREADY_FINISHED = "RPC already finished."
_HALF_CLOSED = 'RPC is half closed after calling "done_writing".'
_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."


class CallParameters:
    """What a multi-callable knows of its method, and what all its calls share."""

    __slots__ = ("channel", "deserializer", "method", "serializer")

    def __init__(
        self,
        channel: Any,
        method: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
    ) -> None:
        """Keeps the parts."""
        self.channel = channel
        self.method = method
        self.serializer = serializer
        self.deserializer = deserializer


def wake(waiters: Sequence[asyncio.Future[None]]) -> None:
    """Lets those go on who wait for these."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class _Call(base.Call):
    """What calls of all four kinds have in common."""

    _response_streaming = False
    #: Why the call ends before it begins, if it does.
    _refusal: Status | None = None
    _waiters: Sequence[asyncio.Future[None]] = ()
    _write_waiters: Sequence[asyncio.Future[None]] = ()
    _done_callbacks: Sequence[Callable[[Any], None]] = ()

    def __init__(
        self,
        parameters: CallParameters,
        timeout: float | None,
        metadata: MetadataType | None,
        credentials: Any,
        compression: int | None,
    ) -> None:
        channel = parameters.channel
        channel.check_open()
        plugins = channel.plugins(credentials) if credentials is not None else channel.security.plugins
        self._channel = channel
        self._loop: asyncio.AbstractEventLoop = channel.loop
        self._serializer = parameters.serializer
        self._deserializer = parameters.deserializer
        timeout = effective_timeout(timeout)
        encoding = encoding_name(channel.compression if compression is None else compression)
        headers = self._encode(metadata)
        self._core: ClientCall = channel.calls.make(
            self._listener(),
            parameters.method,
            channel.request_headers(parameters.method, encoding, headers),
            response_streaming=self._response_streaming,
            timeout=timeout,
            limits=channel.limits,
            send_encoding=encoding,
            now=self._loop.time(),
        )
        if self._refusal is not None:
            self._core.cancel(self._refusal)
        if plugins:
            channel.authenticate(self._core, plugins, parameters.method, headers)

    def _listener(self) -> ClientCallListener:
        return self

    # Waiting.

    async def _wait(self) -> None:
        """Waits for the next thing that happens to the call, room for writing apart."""
        waiter = self._loop.create_future()
        self._waiters = (*self._waiters, waiter)
        await waiter

    def _add_waiters(self, waiters: Sequence[asyncio.Future[None]]) -> None:
        """Wakes those with the next thing that happens to the call, or at once if nothing will."""
        if self._core.state is ClientState.DONE:
            wake(waiters)
        else:
            self._waiters = (*self._waiters, *waiters)

    def _wake(self) -> None:
        waiters = self._waiters
        if waiters:
            self._waiters = ()
            wake(waiters)

    async def _wait_done(self) -> Status:
        while not self._core.ended:
            await self._wait()
        assert self._core.status is not None
        return self._core.status

    def on_started(self) -> None:
        self._wake()

    def on_initial_metadata(self) -> None:
        self._wake()

    def on_message(self) -> None:
        self._wake()

    def on_writable(self) -> None:
        waiters, self._write_waiters = self._write_waiters, ()
        wake(waiters)

    def on_done(self) -> None:
        for callback in self._done_callbacks:
            self._loop.call_soon(callback, self)
        self._wake()
        self.on_writable()

    # The end.

    def _error(self) -> AioRpcError:
        core = self._core
        status = core.status
        assert status is not None
        return AioRpcError(
            status.code,
            Metadata.from_tuple(core.initial_metadata),
            Metadata.from_tuple(status.metadata),
            details=status.details,
            debug_error_string=status.debug,
        )

    def _raise_for_status(self) -> None:
        """Raises unless the call ended with OK."""
        status = self._core.status
        if status is CANCELLED_LOCALLY:
            raise asyncio.CancelledError
        if status is not None and status.code is not StatusCode.OK:
            raise self._error()

    def _fail(self, details: str) -> None:
        """Ends the call because of an error in the user's code, even if it had ended well."""
        status = Status(StatusCode.INTERNAL, details)
        if not self._core.cancel(status):
            self._core.status = status

    def _serialize(self, request: Any) -> bytes | None:
        """Serializes a request; an error in the serializer ends the call."""
        if self._serializer is None:
            if not isinstance(request, bytes):
                raise TypeError(f"without a serializer a request must be bytes, not {type(request).__name__}")
            return request
        try:
            return self._serializer(request)
        except Exception:
            _LOGGER.exception("the serializer of a request raised")
        self._fail("Exception serializing request!")
        return None

    def _encode(self, metadata: MetadataType | None) -> list[Header]:
        """Turns the metadata into headers.

        What can't be sent is an error at once for a unary call, and the status of a call of another kind, as in grpcio.
        """
        try:
            return encode_metadata(metadata) if metadata else []
        except InvalidMetadata as error:
            if isinstance(self, UnaryUnaryCall):
                raise InvalidMetadataError(str(error)) from None
            self._refusal = Status(StatusCode.INTERNAL, "Invalid metadata", debug=str(error))
            return []

    def cancel(self) -> bool:
        return self._core.cancel(CANCELLED_LOCALLY)

    def cancelled(self) -> bool:
        status = self._core.status
        return self._core.ended and status is not None and status.code is StatusCode.CANCELLED

    def done(self) -> bool:
        return self._core.ended

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._core.ended:
            callback(self)
        else:
            self._done_callbacks = (*self._done_callbacks, callback)

    def time_remaining(self) -> float | None:
        deadline = self._core.deadline
        return None if deadline is None else max(0.0, deadline - self._loop.time())

    async def initial_metadata(self) -> Metadata:
        while self._core.initial_metadata is None:
            await self._wait()
        return Metadata.from_tuple(self._core.initial_metadata)

    async def trailing_metadata(self) -> Metadata:
        return Metadata.from_tuple((await self._wait_done()).metadata)

    async def code(self) -> StatusCode:
        return (await self._wait_done()).code

    async def details(self) -> str:
        return (await self._wait_done()).details

    async def debug_error_string(self) -> str:
        """Waits for the end of the call and what is known for developers."""
        return (await self._wait_done()).debug

    async def wait_for_connection(self) -> None:
        while self._core.state is ClientState.IDLE:
            await self._wait()
        if self._core.ended:
            self._raise_for_status()

    def __repr__(self) -> str:
        status = self._core.status
        if status is None or not self._core.ended:
            return f"<{type(self).__name__} of RPC that is in flight>"
        text = f"<{type(self).__name__} of RPC that terminated with:\n\tstatus = {status.code}\n"
        text += f'\tdetails = "{status.details}"\n'
        if status.code is not StatusCode.OK:
            text += f'\tdebug_error_string = "{status.debug}"\n'
        return text + ">"


class _UnaryRequest(_Call):
    """A call whose only request is sent at once."""

    def _send(self, request: Any, wait_for_ready: bool | None) -> None:
        payload = self._serialize(request)
        if payload is not None and self._core.send_message(payload):
            self._core.half_close()
            self._channel.start(self._core, wait_for_ready)


class _StreamRequest(_Call):
    """A call whose requests come from an iterator or are written one by one."""

    _consumer: asyncio.Task[None] | None = None
    #: Whether the call ended before the user had the object, and no write has said so yet.
    _stillborn = False

    def _send_all(self, requests: base.RequestIterable | None, wait_for_ready: bool | None) -> None:
        self._half_closed = False
        self._channel.start(self._core, wait_for_ready)
        if self._core.ended:
            self._stillborn = True
        elif requests is not None:
            self._consumer = self._loop.create_task(self._consume(requests))

    async def _consume(self, requests: base.RequestIterable) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._write(request)
            else:
                for request in requests:
                    await self._write(request)
            self._half_close()
        except (AioRpcError, asyncio.InvalidStateError) as error:
            _LOGGER.debug("no more requests are sent, the call is over: %r", error)
        except asyncio.CancelledError:
            self.cancel()
        except Exception:
            _LOGGER.exception("the iterator of requests raised; the call is cancelled")
            self.cancel()

    async def _write(self, request: Any) -> None:
        core = self._core
        while core.state is ClientState.IDLE:
            await self._cancel_if_cancelled(writing=False)
        if core.status is not None:
            self._raise_finished()
        if self._half_closed:
            raise asyncio.InvalidStateError(_HALF_CLOSED)
        payload = self._serialize(request)
        if payload is None or not core.send_message(payload):
            self._raise_finished()
        if core.backlogged:
            self._channel.flush_call(core)
            while core.backlogged and not core.ended:
                await self._cancel_if_cancelled(writing=True)
            if core.ended:
                # What was to be sent is dropped, so a call that failed must not look as if it had been.
                self._raise_for_status()

    async def _cancel_if_cancelled(self, *, writing: bool) -> None:
        waiter = self._loop.create_future()
        if writing:
            self._write_waiters = (*self._write_waiters, waiter)
        else:
            self._waiters = (*self._waiters, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _raise_finished(self) -> None:
        self._raise_for_status()
        raise asyncio.InvalidStateError(_ALREADY_FINISHED)

    def _half_close(self) -> None:
        self._half_closed = True
        self._core.half_close()

    def _require_writer(self) -> None:
        if self._consumer is not None:
            raise UsageError(_MIXED_STYLES)

    async def write(self, request: Any) -> None:
        self._require_writer()
        if self._core.ended:
            if self._stillborn:
                # Nobody could know yet, so this is no mistake of the user; the status is what there is to say.
                self._stillborn = False
                self._raise_for_status()
            raise asyncio.InvalidStateError(_ALREADY_FINISHED)
        if self._half_closed:
            raise asyncio.InvalidStateError(_HALF_CLOSED)
        await self._write(request)

    async def done_writing(self) -> None:
        self._require_writer()
        if not self._core.ended:
            self._half_close()

    def on_done(self) -> None:
        super().on_done()
        if self._consumer is not None and self._consumer is not asyncio.current_task(self._loop):
            self._consumer.cancel()


class _UnaryResponse(_Call):
    """A call whose only response is awaited."""

    _raw: bytes | None = None
    _response: Any = None

    def on_message(self) -> None:
        self._raw = self._core.read_message()

    def on_done(self) -> None:
        status, raw = self._core.status, self._raw
        if status is not None and status.code is StatusCode.OK and raw is not None:
            try:
                self._response = raw if self._deserializer is None else self._deserializer(raw)
            except Exception:
                _LOGGER.exception("the deserializer of a response raised")
                self._core.status = Status(StatusCode.INTERNAL, "Exception deserializing response!", status.metadata)
        super().on_done()

    def __await__(self) -> Generator[Any, None, Any]:
        core = self._core
        while not core.ended:
            waiter = self._loop.create_future()
            self._waiters = (*self._waiters, waiter)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        status = core.status
        if status is not None and status.code is not StatusCode.OK:
            self._raise_for_status()
        return self._response


class _ResponseIterator(AsyncIterator[Any]):
    """Iterates over the responses; the call doesn't know of it, so that a dropped call is collected at once."""

    __slots__ = ("_call",)

    def __init__(self, call: "_StreamResponse") -> None:
        self._call = call

    async def __anext__(self) -> Any:
        call = self._call
        core = call._core
        if core.has_message and (raw := core.read_message()) is not None:
            response = call._deserialize(raw)
        else:
            response = await call._read()
        if response is EOF:
            call._raise_for_status()
            raise StopAsyncIteration
        return response


class _StreamResponse(_Call):
    """A call whose responses are iterated over or read one by one."""

    _response_streaming = True
    #: The style of reading that was chosen first: by iterator or by read().
    _iterating: bool | None = None

    def _listener(self) -> ClientCallListener:
        # The connection must not keep alive a stream of responses that nobody can read.
        proxy: ClientCallListener = weakref.proxy(self)
        return proxy

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.ended and not self._loop.is_closed():
            core.let_go()
            # The garbage may be collected in any thread.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(core.cancel, _COLLECTED)

    def _choose_style(self, iterating: bool) -> None:
        if self._iterating is None:
            self._iterating = iterating
        elif self._iterating is not iterating:
            raise UsageError(_MIXED_STYLES)

    async def _read(self) -> Any:
        core = self._core
        while True:
            if core.has_message:
                raw = core.read_message()
                if raw is not None:
                    return self._deserialize(raw)
            if core.ended:
                return EOF
            try:
                await self._wait()
            except asyncio.CancelledError:
                self.cancel()
                raise

    def _deserialize(self, raw: bytes) -> Any:
        if self._deserializer is None:
            return raw
        try:
            return self._deserializer(raw)
        except Exception:
            _LOGGER.exception("the deserializer of a response raised")
            self._fail("Exception deserializing response!")
            return EOF

    async def read(self) -> Any:
        if self._core.ended:
            self._raise_for_status()
            return EOF
        self._choose_style(iterating=False)
        response = await self._read()
        if response is EOF:
            self._raise_for_status()
        return response

    def __aiter__(self) -> AsyncIterator[Any]:
        self._choose_style(iterating=True)
        return _ResponseIterator(self)


class UnaryUnaryCall(_UnaryRequest, _UnaryResponse, base.UnaryUnaryCall[Any, Any]):
    """A call with one request and one response."""


class UnaryStreamCall(_UnaryRequest, _StreamResponse, base.UnaryStreamCall[Any, Any]):
    """A call with one request and a stream of responses."""


class StreamUnaryCall(_StreamRequest, _UnaryResponse, base.StreamUnaryCall[Any, Any]):
    """A call with a stream of requests and one response."""


class StreamStreamCall(_StreamRequest, _StreamResponse, base.StreamStreamCall[Any, Any]):
    """A call with streams of requests and responses."""
