"""A server with a method of each arity behind guards, and calls of them by clients of either library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

import pygrpc
from pygrpc import aio
from pygrpc.services.guards.calls import current_call
from pygrpc.services.guards.counting import ObservingInterceptor

M = TypeVar("M", bound=Message)

SERVICE = "test.Guarded"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def path(kind: str) -> str:
    """The full name of a method."""
    return f"/{SERVICE}/{kind}"


class Methods:
    """Answers what it is sent; `wait`, `abort` and `fail` are orders."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        #: What the guards knew when a handler ran.
        self.seen: list[Any] = []
        self.served = 0

    async def _serve(self, request: bytes, context: Any) -> bytes:
        self.served += 1
        self.seen.append(current_call())
        if request == b"wait":
            self.begun.set()
            await self.go_on.wait()
        elif request == b"abort":
            await context.abort(pygrpc.StatusCode.NOT_FOUND, "there is none")
        elif request == b"fail":
            raise ValueError("a mistake")
        return request

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return await self._serve(request, context)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self._serve(request, context)
        yield b"!"

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([await self._serve(request, context) async for request in requests])

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self._serve(request, context)

    def handlers(self) -> pygrpc.GenericRpcHandler:
        methods = {kind: getattr(pygrpc, f"{kind}_rpc_method_handler")(getattr(self, kind)) for kind in KINDS}
        return pygrpc.method_handlers_generic_handler(SERVICE, methods)


async def finished(kind: str, call: Any) -> Any:
    """Reads the responses of a call; those of streams come as a list."""
    return [response async for response in call] if kind.endswith("stream") else await call


@dataclass
class Guarded:
    """A server, and a channel to it."""

    channel: Any
    methods: Methods
    client_aio: ModuleType
    address: str

    def start(self, kind: str, request: bytes = b"x", method: str = "", **options: Any) -> Any:
        """Begins a call; streams have the request twice."""
        made = getattr(self.channel, kind)(method or path(kind))
        argument = iter([request, request]) if kind.startswith("stream") else request
        return made(argument, **{"timeout": 20, **options})

    async def call(self, kind: str, request: bytes = b"x", **options: Any) -> Any:
        """Makes a call; streams of responses come as a list."""
        return await finished(kind, self.start(kind, request, **options))

    async def failure(self, kind: str, request: bytes = b"x", **options: Any) -> Failed:
        """Makes a call that has to fail."""
        try:
            result = await self.call(kind, request, **options)
        except self.client_aio.AioRpcError as error:
            return failed(error)
        raise AssertionError(f"the call did not fail: {result!r}")


@dataclass
class Failed:
    """How a call has failed, seen from the client."""

    code: str
    message: str
    metadata: dict[str, Any]
    status: Status = field(default_factory=Status)

    def detail(self, kind: type[M]) -> M:
        """Returns the one detail of a type."""
        [packed] = [detail for detail in self.status.details if detail.Is(kind.DESCRIPTOR)]
        found = kind()
        packed.Unpack(found)
        return found


def failed(error: Any) -> Failed:
    """Reads the error of a call."""
    metadata = {**dict(error.initial_metadata() or ()), **dict(error.trailing_metadata() or ())}
    status = Status.FromString(metadata.get("grpc-status-details-bin", b""))
    if status.code:
        assert (status.code, status.message) == (error.code().value[0], error.details())
    return Failed(error.code().name, error.details(), metadata, status)


@asynccontextmanager
async def guarded(
    client_aio: ModuleType, *interceptors: aio.ServerInterceptor, handlers: Sequence[Any] = (), **options: Any
) -> AsyncIterator[Guarded]:
    """Runs the server on a free port."""
    methods = Methods()
    server = aio.server(handlers=[*handlers, methods.handlers()], interceptors=interceptors, **options)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with client_aio.insecure_channel(address) as channel:
            yield Guarded(channel, methods, client_aio, address)
    finally:
        await server.stop(None)


class Codes(ObservingInterceptor):
    """Notes what calls have ended with."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.ended_with: list[Any] = []

    def ended(self, call: Any, observation: Any) -> None:
        self.ended_with.append(call.details.code())


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: float = 0) -> None:
        self.now: Any = now

    def __call__(self) -> Any:
        return self.now


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something has happened; the bound of the test ends it if it never does."""
    while not condition():
        await asyncio.sleep(0)


def bearer(token: str) -> list[tuple[str, str]]:
    """The metadata with a token."""
    return [("authorization", f"Bearer {token}")]
