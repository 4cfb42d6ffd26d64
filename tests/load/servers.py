"""The service that the tests put under load, on servers of both libraries."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection as grpcio_reflection

import pygrpc
from pygrpc.reflection import enable_server_reflection, v1
from tests.health.serving import running
from tests.protos.grpc.testing import messages_pb2, test_pb2, test_pb2_grpc

SERVICE = test_pb2.DESCRIPTOR.services_by_name["TestService"].full_name


class Service(test_pb2_grpc.TestServiceServicer):
    """Answers as the interop contract says, and remembers what it was sent; one for servers of the sync API."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: list[Any] = []
        self.metadata: list[tuple[str, str | bytes]] = []
        self.peers: set[str] = set()
        self.called = threading.Semaphore(0)
        #: Calls wait for it.
        self.open = threading.Event()
        self.open.set()

    def _note(self, request: Any, context: Any) -> None:
        with self.lock:
            self.requests.append(request)
            self.peers.add(context.peer())
            self.metadata += [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]

    def UnaryCall(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        self.called.release()
        self.open.wait(20)
        if request.response_status.code:
            context.abort(grpc.StatusCode.NOT_FOUND, request.response_status.message)
        return messages_pb2.SimpleResponse(payload=messages_pb2.Payload(body=b"x" * request.response_size))

    def StreamingOutputCall(self, request: Any, context: Any) -> Iterator[Any]:
        self._note(request, context)
        for parameters in request.response_parameters:
            yield messages_pb2.StreamingOutputCallResponse(payload=messages_pb2.Payload(body=b"x" * parameters.size))

    def StreamingInputCall(self, requests: Iterator[Any], context: Any) -> Any:
        size = 0
        for request in requests:
            self._note(request, context)
            size += len(request.payload.body)
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            self._note(request, context)
            yield messages_pb2.StreamingOutputCallResponse(payload=request.payload)


class PygrpcService(Service):
    """The same for pygrpc, whose codes are not grpcio's."""

    def UnaryCall(self, request: Any, context: Any) -> Any:
        if request.response_status.code:
            context.abort(pygrpc.StatusCode.NOT_FOUND, request.response_status.message)
        return super().UnaryCall(request, context)


@contextlib.contextmanager
def serving(api: str = "pygrpc", reflection: str = "v1") -> Iterator[tuple[str, Service]]:
    """Runs the service on a server of the sync API ``pygrpc`` or ``grpc``; grpcio has reflection v1alpha alone.

    Yields:
        Where it listens, and the service.
    """
    service = PygrpcService() if api == "pygrpc" else Service()

    def register(server: Any) -> None:
        test_pb2_grpc.add_TestServiceServicer_to_server(service, server)
        if reflection and api == "grpc":
            grpcio_reflection.enable_server_reflection([SERVICE], server)
        elif reflection == "v1":
            v1.reflection.enable_server_reflection([SERVICE], server)
        elif reflection:
            enable_server_reflection([SERVICE], server)

    with running(api, register, workers=32) as server:
        try:
            yield server.target, service
        finally:
            service.open.set()


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, int, asyncio.Event]]:
    """Runs a server that accepts connections and says nothing.

    Yields:
        Its address and port, and what is set when somebody has connected.
    """
    connected = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        connected.set()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield *server.sockets[0].getsockname(), connected
        for writer in writers:
            writer.close()
