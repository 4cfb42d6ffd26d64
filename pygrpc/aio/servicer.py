"""A call as its handler sees it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from pygrpc._auth_context import AuthContext, peer_identities, peer_identity_key
from pygrpc.aio import base
from pygrpc.aio.base_call import EOF
from pygrpc.aio.errors import AbortError, UsageError
from pygrpc.compression import Compression
from pygrpc.core.metadata import Header, InvalidMetadata, encode_metadata
from pygrpc.core.server_call import ServerCall, ServerState
from pygrpc.core.server_connection import ServerConnection
from pygrpc.core.status import Status
from pygrpc.handlers import RpcMethodHandler
from pygrpc.metadata import MetadataType, Metadatum
from pygrpc.status import CODES, StatusCode

_LOGGER = logging.getLogger("pygrpc")
_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."
_FINISHED = "RPC already finished."


class ServedTransport(Protocol):
    """What a context wants of its connection."""

    peer: str

    def auth_context(self) -> AuthContext:
        """What is known of the client."""

    core: ServerConnection

    def hold(self) -> bool:
        """Keeps back what is about to be queued."""

    def release(self, held: bool, lone: bool) -> None:
        """Lets it go: at once, if no other call may add to the same write in this turn."""


class ServicerContext(base.ServicerContext[Any, Any]):
    """A call as its handler sees it; one object per call, which also listens to the core."""

    # What a context begins with, kept here because most calls change none of it.

    #: Runs the handler; set once it has begun.
    task: asyncio.Task[None] | None = None
    _on_ready: "Callable[[ServicerContext], None] | None" = None
    _waiters: Sequence[asyncio.Future[None]] = ()
    _done_callbacks: Sequence[Callable[[Any], None]] = ()
    _code: StatusCode | None = None
    _details = ""
    _trailing: MetadataType = ()
    _trailing_headers: Sequence[Header] = ()
    _aborted = False
    _compress_next = True

    def __init__(
        self,
        core: ServerCall,
        handler: RpcMethodHandler,
        transport: ServedTransport,
        loop: asyncio.AbstractEventLoop,
        on_finished: Callable[["ServicerContext"], None],
    ) -> None:
        """Takes over a call whose handler is known.

        Args:
            core: The call.
            handler: What serves it.
            transport: The connection to the client.
            loop: The loop of the server.
            on_finished: Told once when the handler has ended, or can't begin any more.
        """
        self._core = core
        self.handler = handler
        self._transport = transport
        self._loop = loop
        self._on_finished = on_finished

    @property
    def method(self) -> str:
        """The full name of the method, ``/package.Service/Method``."""
        return self._core.head.path

    # What the core reports.

    def begin_when_ready(self, on_ready: Callable[["ServicerContext"], None]) -> None:
        """Calls back as soon as the handler can start: at once for a stream of requests, else behind the request."""
        if self.handler.request_streaming:
            on_ready(self)
        else:
            self._on_ready = on_ready

    def on_requests(self) -> None:  # noqa: D102
        if self._on_ready is not None:
            on_ready, self._on_ready = self._on_ready, None
            on_ready(self)
        else:
            self._wake()

    def on_writable(self) -> None:  # noqa: D102
        self._wake()

    def on_cancelled(self) -> None:  # noqa: D102
        if self.task is not None:
            self.task.cancel()
        elif self._on_ready is not None:
            # The request never came, so no handler will end this.
            self._on_ready = None
            self._on_finished(self)
        self._wake()

    def on_closed(self) -> None:  # noqa: D102
        if self._done_callbacks:
            self._loop.call_soon(self._call_back)
        self._wake()

    def _call_back(self) -> None:
        try:
            for callback in self._done_callbacks:
                callback(self)
        except Exception:
            # As in grpcio, whose tests ask for it.
            _LOGGER.exception("a done callback of %s raised; those behind it are not called", self._core.head.path)

    def _wake(self) -> None:
        waiters = self._waiters
        if waiters:
            self._waiters = ()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = self._loop.create_future()
        self._waiters = (*self._waiters, waiter)
        await waiter

    # Messages.

    async def read(self) -> Any:  # noqa: D102
        core = self._core
        while not core.has_message:
            if core.ended:
                self._raise_ended()
            if core.requests_ended:
                return EOF
            await self._wait()
        return self.take_request()

    def take_request(self) -> Any:
        """Takes the request that is there, without waiting."""
        raw = self._core.read_message()
        if raw is None:
            self._raise_ended()
        deserializer = self.handler.request_deserializer
        if deserializer is None:
            return raw
        try:
            return deserializer(raw)
        except Exception:
            _LOGGER.exception("the deserializer of a request of %s raised", self._core.head.path)
            self._core.cancel(Status(StatusCode.INTERNAL, "Exception deserializing request!"))
            raise AbortError("Exception deserializing request!") from None

    def _raise_ended(self) -> NoReturn:
        if self._aborted:
            raise UsageError(_FINISHED)
        raise asyncio.CancelledError(_FINISHED)

    async def write(self, message: Any) -> None:  # noqa: D102
        if self.write_now(message):
            await self.drained()

    def write_now(self, message: Any) -> bool:
        """Queues a response; returns whether ``drained`` is to be awaited before the next one."""
        core = self._core
        if core.ended:
            self._raise_ended()
        payload = self._serialize(message)
        compress, self._compress_next = self._compress_next, True
        if not core.send_message(payload, compress):
            self._raise_ended()
        return core.backlogged

    async def drained(self) -> None:
        """Waits until enough of what was queued is sent, or the call has ended."""
        while self._core.backlogged and not self._core.ended:
            await self._wait()

    def respond(self, message: Any) -> bool:
        """Sends the only response and OK at once; returns False if there is more to say than that."""
        core = self._core
        if (
            self._code not in (None, StatusCode.OK)
            or self._details
            or self._trailing_headers
            or not self._compress_next
            or core.state is not ServerState.OPEN
        ):
            return False
        payload = self._serialize(message)
        transport = self._transport
        held = transport.hold()
        try:
            return core.respond(payload)
        finally:
            transport.release(held, lone=not transport.core.calls)

    def _serialize(self, message: Any) -> bytes:
        serializer = self.handler.response_serializer
        if serializer is None:
            if isinstance(message, bytes):
                return message
            reason = f"without a serializer a response must be bytes, not {type(message).__name__}"
        else:
            try:
                return serializer(message)
            except Exception as error:
                _LOGGER.exception("the serializer of a response of %s raised", self._core.head.path)
                reason = f"{type(error).__name__}: {error}"
        self._core.cancel(Status(StatusCode.INTERNAL, "Failed to serialize response!"))
        raise AbortError(f"Failed to serialize response! {reason}")

    async def send_initial_metadata(self, initial_metadata: MetadataType) -> None:  # noqa: D102
        if self._core.ended:
            self._raise_ended()
        if self._core.state is not ServerState.OPEN:
            raise UsageError("Send initial metadata failed: already sent")
        self._core.send_headers(encode_metadata(initial_metadata))
        self._flush()

    def _flush(self) -> None:
        if self._core.connection is not None:
            self._core.connection.on_output()

    # The status.

    async def abort(  # noqa: D102
        self, code: StatusCode, details: str = "", trailing_metadata: MetadataType = ()
    ) -> NoReturn:
        self.abort_now(code, details, trailing_metadata)

    def abort_now(self, code: StatusCode, details: str, trailing_metadata: MetadataType) -> NoReturn:
        """What abort does, without the coroutine."""
        if self._core.ended:
            raise UsageError("Abort already called!" if self._aborted else _FINISHED)
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        self.set_code(code)
        self._details = details or self._details
        if self._code is StatusCode.OK:
            _LOGGER.error("abort() was called with StatusCode.OK by %s; UNKNOWN is sent", self._core.head.path)
            self._code, self._details = StatusCode.UNKNOWN, ""
        self._aborted = True
        self.finish()
        raise AbortError("Locally aborted.")

    async def abort_with_status(self, status: Any) -> NoReturn:  # noqa: D102
        self.abort_now(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: MetadataType) -> None:  # noqa: D102
        pairs = _pairs(trailing_metadata)
        self._trailing_headers = encode_metadata(pairs)
        self._trailing = pairs

    def trailing_metadata(self) -> MetadataType:  # noqa: D102
        return self._trailing

    def set_code(self, code: StatusCode) -> None:  # noqa: D102
        self._code = code if isinstance(code, StatusCode) else _code_of(code)

    def code(self) -> StatusCode | None:  # noqa: D102
        return self._code

    def set_details(self, details: str) -> None:  # noqa: D102
        self._details = details

    def details(self) -> str:  # noqa: D102
        return self._details

    def finish(self) -> None:
        """Ends the call with the status that was set."""
        status = Status(self._code or StatusCode.OK, self._details)
        self._core.finish(status, self._trailing_headers)

    def finish_with_error(self, error: BaseException) -> None:
        """Ends the call because the handler raised."""
        code = StatusCode.INTERNAL if isinstance(error, InvalidMetadata) else StatusCode.UNKNOWN
        if self._code is not None and self._code is not StatusCode.OK:
            code = self._code
        self._core.finish(Status(code, f"Unexpected {type(error)}: {error}"), self._trailing_headers)

    # The rest.

    def invocation_metadata(self) -> MetadataType:  # noqa: D102
        return self._core.head.metadata

    def set_compression(self, compression: Compression) -> None:  # noqa: D102
        if self._core.state is not ServerState.OPEN:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        self._core.set_compression(compression)

    def disable_next_message_compression(self) -> None:  # noqa: D102
        self._compress_next = False

    def peer(self) -> str:  # noqa: D102
        return self._transport.peer

    def peer_identities(self) -> Sequence[bytes] | None:  # noqa: D102
        return peer_identities(self._transport.auth_context())

    def peer_identity_key(self) -> str | None:  # noqa: D102
        return peer_identity_key(self._transport.auth_context())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:  # noqa: D102
        return self._transport.auth_context()

    def time_remaining(self) -> float | None:  # noqa: D102
        deadline = self._core.deadline
        return None if deadline is None else max(0.0, deadline - self._loop.time())

    def deadline_binds(self) -> bool:
        """Whether the calls that the handler makes inherit its deadline: it has one, and is not over."""
        return self._core.deadline is not None and not self._core.ended

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:  # noqa: D102
        if self._core.state is ServerState.CLOSED:
            self._loop.call_soon(callback, self)
        else:
            self._done_callbacks = (*self._done_callbacks, callback)

    def cancelled(self) -> bool:  # noqa: D102
        status = self._core.status
        return status is not None and status.code is StatusCode.CANCELLED and not self._aborted

    def done(self) -> bool:  # noqa: D102
        return self._core.ended

    # Requests as an iterator.

    async def iterate_requests(self) -> AsyncIterator[Any]:
        """Yields the requests."""
        while (request := await self.read()) is not EOF:
            yield request


def _pairs(trailing_metadata: Any) -> tuple[Metadatum, ...]:
    """Returns trailing metadata as a tuple; raises TypeError if it isn't made of pairs, as grpcio does."""
    if isinstance(trailing_metadata, Mapping) or not isinstance(trailing_metadata, Iterable):
        raise TypeError(f"the trailing metadata must be (key, value) tuples, not {trailing_metadata!r}")
    pairs = tuple(trailing_metadata)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"the trailing metadata must be (key, value) tuples, and {pair!r} is none")
    return pairs


def _code_of(code: Any) -> StatusCode:
    if isinstance(code, int) and 0 <= code < len(CODES):
        return CODES[code]
    return StatusCode.UNKNOWN
