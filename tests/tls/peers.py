"""A server and a channel with credentials, of either implementation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import grpc.experimental

import pygrpc
import pygrpc.aio

#: Client and server.
PAIRS = [(pygrpc, pygrpc), (pygrpc, grpc), (grpc, pygrpc)]
NAMES = [f"{client.__name__}-to-{server.__name__}" for client, server in PAIRS]

#: Both libraries' base of errors.
RPC_ERRORS = (pygrpc.RpcError, grpc.RpcError)

Make = Callable[[Any], Any]
METHOD = "/test.Secure/Call"


class Seen:
    """What handlers have seen."""

    def __init__(self) -> None:
        self.auth_contexts: list[dict[str, list[bytes]]] = []
        self.identities: list[tuple[str | None, list[bytes] | None]] = []
        self.metadata: list[list[tuple[str, Any]]] = []


class Generic:
    """Serves any method as an echo."""

    def __init__(self, module: Any, seen: Seen) -> None:
        self._handler = module.unary_unary_rpc_method_handler(self.handle)
        self._seen = seen

    def service(self, details: Any) -> Any:
        return self._handler

    async def handle(self, request: bytes, context: Any) -> bytes:
        seen = self._seen
        seen.auth_contexts.append({key: list(values) for key, values in context.auth_context().items()})
        identities = context.peer_identities()
        seen.identities.append((context.peer_identity_key(), None if identities is None else list(identities)))
        seen.metadata.append([tuple(pair) for pair in context.invocation_metadata()])
        return request


@contextlib.asynccontextmanager
async def serving(
    module: Any, credentials: Make | None, address: str = "localhost:0"
) -> AsyncIterator[tuple[str, Seen]]:
    """Runs a server; yields its target and what its handlers see."""
    seen = Seen()
    server = module.aio.server()
    server.add_generic_rpc_handlers((Generic(module, seen),))
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials(module))
    await server.start()
    try:
        yield (address if address.startswith("unix:") else f"localhost:{port}"), seen
    finally:
        await server.stop(None)


async def call(
    module: Any,
    target: str,
    credentials: Make | None,
    options: Any = (),
    request: bytes = b"ping",
    call_credentials: Any = None,
) -> bytes:
    """Makes one call on a channel of its own."""
    if credentials is None:
        channel = module.aio.insecure_channel(target, options=options)
    else:
        channel = module.aio.secure_channel(target, credentials(module), options=options)
    async with asyncio.timeout(20), channel:
        response: bytes = await channel.unary_unary(METHOD)(request, timeout=15, credentials=call_credentials)
        return response
