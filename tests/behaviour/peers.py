"""The two sides that every behaviour runs over, and the link between them.

A behaviour is written once, against "the aio module" of a client and of a server, and runs over pairs of sides. What
can differ between runs is named here and nowhere else:

- a `Side` is one implementation behind one API with the names of `grpc.aio`. A synchronous API is a side by way of
  `SyncApi`, which offers those names; a variant, such as another HTTP/2 engine, becomes one through options.
- a `Transport` (in `transports`) opens the server's port and the client's channel.

`parameters` turns them into the parameters of the `peers` fixture.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.behaviour.relay import Relay, relay_to
from tests.behaviour.sync_api import SyncApi
from tests.behaviour.sync_server import adapted
from tests.behaviour.transports import Transport

SERVICE = "behaviour.Peer"

#: Seconds after which a behaviour that still waits has failed. Far above what any of them needs.
BOUND = 20.0

#: The four arities under the short names that the behaviours use for methods: first the request, then the response.
ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}

Options = Iterable[tuple[str, Any]]


@dataclass(frozen=True)
class Side:
    """One implementation with one API.

    Attributes:
        implementation: The library: what behaviours that are for one implementation only call it by.
        package: The package that has the shared names (StatusCode, Compression, the method handler factories) and,
            below it, `aio`.
        api: Which of the library's two APIs: "aio" or "sync".
        options: Channel and server options that select a variant of the implementation, such as its HTTP/2 engine.
    """

    implementation: str
    package: str
    api: str = "aio"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The name of the side in the ids of tests."""
        return f"{self.implementation}-{self.api}"

    @cached_property
    def root(self) -> Any:
        """The package with the shared names, as `grpc`."""
        return importlib.import_module(self.package)

    @cached_property
    def aio(self) -> Any:
        """The module with the asyncio API, as `grpc.aio`, or what stands for it."""
        return importlib.import_module(f"{self.package}.aio") if self.api == "aio" else SyncApi(self.root)

    @property
    def code(self) -> Any:
        """The side's own StatusCode enum."""
        return self.root.StatusCode

    def handler(self, arity: str, behaviour: Callable[..., Any], **serializers: Any) -> Any:
        """Wrap one behaviour into the side's own RpcMethodHandler.

        Args:
            arity: A key of `ARITIES`.
            behaviour: The application's function.
            serializers: `request_deserializer` and `response_serializer`, messages are bytes without them.
        """
        factory = getattr(self.root, f"{ARITIES[arity]}_rpc_method_handler")
        return factory(behaviour if self.api == "aio" else adapted(arity, behaviour), **serializers)

    def exception_text(self, error: Exception, *, streaming: bool = False) -> str:
        """What the status of a call says when its handler raised.

        Args:
            error: What it raised.
            streaming: Whether the handler has a stream of responses.
        """
        if self.api == "aio":
            return f"Unexpected {type(error)}: {error}"
        return f"Exception {'iterating responses' if streaming else 'calling application'}: {error}"

    def generic_handler(self, handlers: Mapping[str, Any], service: str = SERVICE) -> Any:
        """Make one generic handler of method handlers by method name."""
        return self.root.method_handlers_generic_handler(service, dict(handlers))


SIDES = (
    Side("pygrpc", "pygrpc"),
    Side("pygrpc", "pygrpc", "sync"),
    Side("grpcio", "grpc"),
    Side("grpcio", "grpc", "sync"),
)


@dataclass
class Link:
    """A running server with a channel to it. The attributes uu, us, su, ss call the methods that were served."""

    peers: Peers
    server: Any
    channel: Any
    target: str
    relay: Relay | None = None

    @property
    def wire(self) -> Relay:
        """What was seen by the relay that `serve(relay=True)` put between the two."""
        assert self.relay is not None
        return self.relay

    def method(self, arity: str, name: str | None = None, **serializers: Any) -> Any:
        """Return the multi-callable for a method of the service (named as its arity, unless told otherwise)."""
        factory = getattr(self.channel, ARITIES[arity])
        return factory(f"/{SERVICE}/{name or arity}", **serializers)

    def __getattr__(self, name: str) -> Any:
        if name not in ARITIES:
            raise AttributeError(name)
        return self.method(name)

    def start(self, arity: str, *requests: bytes, **arguments: Any) -> Any:
        """Start a call of the arity's method with the given requests (one of them if the arity has a unary request)."""
        method = self.method(arity)
        return method(*requests, **arguments) if arity[0] == "u" else method(iter(requests), **arguments)

    async def send(self, arity: str, request: bytes) -> Any:
        """Start a call and send one request, but leave a stream of requests open."""
        call = self.open(arity, request)
        if arity[0] == "s":
            # A status may come before the request is out; whoever awaits the call hears of it.
            with contextlib.suppress(self.peers.client.aio.AioRpcError):
                await call.write(request)
        return call

    def open(self, arity: str, request: bytes = b"x") -> Any:
        """Start a call with its request if it has one, or else with an open stream of requests without any yet."""
        method = self.method(arity)
        return method(request) if arity[0] == "u" else method()

    async def failure(self, call: Any) -> Any:
        """Await (or iterate) a call that has to fail with a status, and return its AioRpcError."""
        return await self.peers.failure(call)

    def open_channel(self, **settings: Any) -> Any:
        """Return one more channel to the same server, which the caller closes."""
        return self.peers.open_channel(self.target, **settings)


@dataclass(frozen=True)
class Peers:
    """The client's side, the server's side and the transport of one run."""

    client: Side
    server: Side
    transport: Transport

    @property
    def sides(self) -> tuple[Side, Side]:
        """The client's and the server's side."""
        return self.client, self.server

    def open_channel(self, target: str, *, options: Options = (), **settings: Any) -> Any:
        """Make a channel of the client's side; the caller closes it."""
        options = (*self.client.options, *options)
        return self.transport.open_channel(self.client.root, self.client.aio, target, options=options, **settings)

    def add_port(self, server: Any, address: str) -> int:
        """Open a port of a server that `make_server` made, and return its number."""
        return self.transport.add_port(self.server.root, server, address)

    def make_server(self, *, options: Options = (), **settings: Any) -> Any:
        """Make a server of the server's side, neither bound nor started."""
        return self.server.aio.server(options=(*self.server.options, *options), **settings)

    def handlers(self, serializers: Mapping[str, Any] | None = None, **behaviours: Callable[..., Any]) -> Any:
        """Make the server side's generic handler; behaviours are given by arity (uu, us, su, ss)."""
        made = {
            name: self.server.handler(name, behaviour, **(serializers or {})) for name, behaviour in behaviours.items()
        }
        return self.server.generic_handler(made)

    @contextlib.asynccontextmanager
    async def serve(
        self,
        *,
        handlers: Iterable[Any] = (),
        serializers: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        channel: Mapping[str, Any] | None = None,
        address: str = "127.0.0.1:0",
        relay: bool = False,
        **behaviours: Callable[..., Any],
    ) -> AsyncIterator[Link]:
        """Run a server with the given behaviours and a channel to it, for at most `BOUND` seconds.

        Args:
            handlers: Ready generic handlers, which come before the behaviours.
            serializers: `request_deserializer` and `response_serializer` for the server's method handlers.
            server: Arguments of `aio.server`.
            channel: Arguments of `aio.insecure_channel`.
            address: What the server binds to.
            relay: Whether to put a relay between them, which records what goes over the wire as `link.wire`.
            behaviours: The application's functions by arity (uu, us, su, ss).

        Yields:
            The link. Channel and server are closed afterwards.
        """
        made = self.make_server(handlers=[*handlers, self.handlers(serializers, **behaviours)], **(server or {}))
        async with self.run(made, channel=channel, address=address, relay=relay) as link:
            yield link

    @contextlib.asynccontextmanager
    async def run(
        self,
        server: Any,
        *,
        channel: Mapping[str, Any] | None = None,
        address: str = "127.0.0.1:0",
        relay: bool = False,
    ) -> AsyncIterator[Link]:
        """Start a server that was made already and open a channel to it; arguments as of `serve`."""
        async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(turns)
            port = self.add_port(server, address)
            await server.start()
            stack.push_async_callback(server.stop, None)
            target = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
            wire = await stack.enter_async_context(relay_to(port, *self.transport.relay_contexts())) if relay else None
            if wire:
                target = f"127.0.0.1:{wire.port}"
            opened = await stack.enter_async_context(self.open_channel(target, **(channel or {})))
            yield Link(self, server, opened, target, wire)

    async def failure(self, call: Any) -> Any:
        """Await (or iterate) a call that has to fail with a status, and return its AioRpcError."""
        try:
            messages = await collect(call)
        except self.client.aio.AioRpcError as error:
            return error
        raise AssertionError(f"the call did not fail, it returned {messages!r}")


async def collect(call: Any) -> list[Any]:
    """Return all the response messages of a call of any arity."""
    if hasattr(call, "__aiter__"):
        return [message async for message in call]
    return [await call]


async def pause() -> None:
    """Let everything that is ready on the loop run once."""
    await asyncio.sleep(0)


async def turns() -> None:
    """Give the loop time to notice which connections are closed: a server does not know of those in a handshake."""
    for _ in range(5):
        await pause()


async def never() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


class Witness:
    """Records what a handler saw for the test to wait for: `seen(x)` there, `await witness` here."""

    def __init__(self) -> None:
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def __call__(self, value: Any = None) -> None:
        """Record the first value; later ones are dropped."""
        if not self._future.done():
            self._future.set_result(value)

    def __await__(self) -> Any:
        return asyncio.shield(self._future).__await__()

    async def wait(self) -> Any:
        """Do the same as a coroutine."""
        return await self

    @property
    def happened(self) -> bool:
        """Whether anything was recorded."""
        return self._future.done()


async def run_until_cancelled(start: Witness, end: Witness, work: Callable[[], Awaitable[Any]] = never) -> None:
    """Report the start, run the work, and report what ended it."""
    start()
    try:
        await work()
    except BaseException as error:
        end(error)
        raise
