"""A server and a channel with credentials, of either implementation, behind either API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import grpc.experimental
import pytest

import pygrpc
import pygrpc.aio


class Sync:
    """A package whose synchronous API is to be used; it has the package's names."""

    def __init__(self, package: Any) -> None:
        self.package = package

    def __getattr__(self, name: str) -> Any:
        return getattr(self.package, name)


PYGRPC_SYNC, GRPC_SYNC = Sync(pygrpc), Sync(grpc)

#: Client and server, with pygrpc at one end at least; all with asyncio, and all without.
AIO_PAIRS = [(pygrpc, pygrpc), (pygrpc, grpc), (grpc, pygrpc)]
PAIRS: list[tuple[Any, Any]] = [
    *AIO_PAIRS,
    (PYGRPC_SYNC, PYGRPC_SYNC),
    (PYGRPC_SYNC, GRPC_SYNC),
    (GRPC_SYNC, PYGRPC_SYNC),
]
#: pygrpc at both ends.
OURS: list[Any] = [pygrpc, PYGRPC_SYNC]


def _name(module: Any) -> str:
    return f"{module.package.__name__}.sync" if isinstance(module, Sync) else f"{module.__name__}.aio"


NAMES = [f"{_name(client)}-to-{_name(server)}" for client, server in PAIRS]

pairs = pytest.mark.parametrize(("client", "server"), PAIRS, ids=NAMES)
aio_pairs = pytest.mark.parametrize(("client", "server"), AIO_PAIRS, ids=NAMES[: len(AIO_PAIRS)])
ours = pytest.mark.parametrize("api", OURS, ids=["aio", "sync"])

#: Both libraries' base of errors.
RPC_ERRORS = (pygrpc.RpcError, grpc.RpcError)

Make = Callable[[Any], Any]
METHOD = "/test.Secure/Call"


def is_ours(module: Any) -> bool:
    """Whether it is pygrpc, with either API."""
    return module in OURS


class Seen:
    """What handlers have seen."""

    def __init__(self) -> None:
        self.auth_contexts: list[dict[str, list[bytes]]] = []
        self.identities: list[tuple[str | None, list[bytes] | None]] = []
        self.metadata: list[list[tuple[str, Any]]] = []
        #: What they send behind the response.
        self.trailing: list[tuple[str, Any]] = []


class Generic:
    """Serves any method as an echo."""

    def __init__(self, module: Any, seen: Seen) -> None:
        behaviour = self.note if isinstance(module, Sync) else self.handle
        self._handler = module.unary_unary_rpc_method_handler(behaviour)
        self._seen = seen

    def service(self, details: Any) -> Any:
        return self._handler

    def note(self, request: bytes, context: Any) -> bytes:
        seen = self._seen
        seen.auth_contexts.append({key: list(values) for key, values in context.auth_context().items()})
        identities = context.peer_identities()
        seen.identities.append((context.peer_identity_key(), None if identities is None else list(identities)))
        seen.metadata.append([tuple(pair) for pair in context.invocation_metadata()])
        context.set_trailing_metadata(tuple(seen.trailing))
        return request

    async def handle(self, request: bytes, context: Any) -> bytes:
        return self.note(request, context)


@contextlib.asynccontextmanager
async def serving(
    module: Any, credentials: Make | None, address: str = "localhost:0", options: Any = ()
) -> AsyncIterator[tuple[str, Seen]]:
    """Runs a server; yields its target and what its handlers see."""
    seen = Seen()
    synchronous = isinstance(module, Sync)
    with futures.ThreadPoolExecutor(4) as pool:
        server = module.server(pool, options=options) if synchronous else module.aio.server(options=options)
        server.add_generic_rpc_handlers((Generic(module, seen),))
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials(module))
        started = server.start()
        if not synchronous:
            await started
        try:
            yield (address if address.startswith("unix:") else f"localhost:{port}"), seen
        finally:
            stopped = server.stop(None)
            if synchronous:
                assert await asyncio.to_thread(stopped.wait, 20)
            else:
                await stopped


def open_channel(module: Any, target: str, credentials: Make | None, options: Any = ()) -> Any:
    """Makes a channel of the module's API."""
    api = module if isinstance(module, Sync) else module.aio
    if credentials is None:
        return api.insecure_channel(target, options=options)
    return api.secure_channel(target, credentials(module), options=options)


async def call(
    module: Any,
    target: str,
    credentials: Make | None,
    options: Any = (),
    request: bytes = b"ping",
    call_credentials: Any = None,
    timeout: float = 15,
) -> bytes:
    """Makes one call on a channel of its own."""
    async with asyncio.timeout(20):
        if isinstance(module, Sync):
            # With the caller's context variables, as the credentials of a call may need them.
            arguments = (module, target, credentials, options, request, call_credentials, timeout)
            return await asyncio.to_thread(_blocking_call, *arguments)
        async with open_channel(module, target, credentials, options) as channel:
            response: bytes = await channel.unary_unary(METHOD)(request, timeout=timeout, credentials=call_credentials)
            return response


def _blocking_call(
    module: Any,
    target: str,
    credentials: Make | None,
    options: Any,
    request: bytes,
    call_credentials: Any,
    timeout: float,
) -> bytes:
    with open_channel(module, target, credentials, options) as channel:
        response: bytes = channel.unary_unary(METHOD)(request, timeout=timeout, credentials=call_credentials)
        return response


async def failure(
    module: Any, target: str, credentials: Make | None, options: Any = (), request: bytes = b"ping"
) -> Any:
    """Makes a call that has to fail; returns its error."""
    with pytest.raises(RPC_ERRORS) as caught:
        await call(module, target, credentials, options, request)
    return caught.value
