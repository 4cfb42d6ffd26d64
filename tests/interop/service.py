"""The server of grpc's interoperability tests (doc/interop-test-descriptions.md in grpc/grpc), for either library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from tests.behaviour.peers import Side
from tests.protos.grpc.testing import empty_pb2, messages_pb2, test_pb2, test_pb2_grpc

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"


def zeros(size: int) -> messages_pb2.Payload:
    """Return a payload of so many zero bytes."""
    return messages_pb2.Payload(body=bytes(size))


async def elapse(seconds: float) -> None:
    """Wait as long as a request says."""
    elapsed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, elapsed.set)
    await elapsed.wait()


class TestService(test_pb2_grpc.TestServiceServicer):
    """Does what requests ask for.

    A handler cannot see whether a request was compressed, so `expect_compressed` is not checked here. The tests look at
    the wire instead.

    Attributes:
        side: The library whose server it runs on, for the names that belong to it.
    """

    #: Tells pytest that this is no test class.
    __test__ = False

    def __init__(self, side: Side) -> None:
        self.side = side

    async def EmptyCall(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    async def UnaryCall(self, request: messages_pb2.SimpleRequest, context: Any) -> messages_pb2.SimpleResponse:
        self._compress(context, request.HasField("response_compressed") and request.response_compressed.value)
        await self._echo_metadata(context)
        await self._echo_status(request, context)
        return messages_pb2.SimpleResponse(payload=zeros(request.response_size))

    async def StreamingOutputCall(
        self, request: messages_pb2.StreamingOutputCallRequest, context: Any
    ) -> AsyncIterator[messages_pb2.StreamingOutputCallResponse]:
        self._compress(context, any(parameters.compressed.value for parameters in request.response_parameters))
        await self._echo_metadata(context)
        await self._echo_status(request, context)
        async for response in self._responses(request, context):
            yield response

    async def StreamingInputCall(
        self, requests: AsyncIterator[messages_pb2.StreamingInputCallRequest], context: Any
    ) -> messages_pb2.StreamingInputCallResponse:
        total = 0
        async for request in requests:
            total += len(request.payload.body)
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=total)

    async def FullDuplexCall(
        self, requests: AsyncIterator[messages_pb2.StreamingOutputCallRequest], context: Any
    ) -> AsyncIterator[messages_pb2.StreamingOutputCallResponse]:
        await self._echo_metadata(context)
        async for request in requests:
            await self._echo_status(request, context)
            async for response in self._responses(request, context):
                yield response

    async def HalfDuplexCall(
        self, requests: AsyncIterator[messages_pb2.StreamingOutputCallRequest], context: Any
    ) -> AsyncIterator[messages_pb2.StreamingOutputCallResponse]:
        kept = [request async for request in requests]
        for request in kept:
            async for response in self._responses(request, context):
                yield response

    def _compress(self, context: Any, asked: bool) -> None:
        if asked:
            context.set_compression(self.side.root.Compression.Gzip)

    async def _echo_metadata(self, context: Any) -> None:
        metadata = [(key, value) for key, value in context.invocation_metadata() if key in (INITIAL, TRAILING)]
        context.set_trailing_metadata(tuple(pair for pair in metadata if pair[0] == TRAILING))
        await context.send_initial_metadata(tuple(pair for pair in metadata if pair[0] == INITIAL))

    async def _echo_status(self, request: Any, context: Any) -> None:
        if request.HasField("response_status"):
            code = next(code for code in self.side.code if code.value[0] == request.response_status.code)
            await context.abort(code, request.response_status.message)

    async def _responses(
        self, request: messages_pb2.StreamingOutputCallRequest, context: Any
    ) -> AsyncIterator[messages_pb2.StreamingOutputCallResponse]:
        for parameters in request.response_parameters:
            if parameters.interval_us:
                await elapse(parameters.interval_us / 1e6)
            if parameters.HasField("compressed") and not parameters.compressed.value:
                context.disable_next_message_compression()
            yield messages_pb2.StreamingOutputCallResponse(payload=zeros(parameters.size))


def add_to_server(side: Side, server: Any) -> None:
    """Register a TestService with a server of either library.

    The generated function is for pygrpc's asyncio server; for others the same handlers are made by the side.
    """
    servicer = TestService(side)
    if side.name == "pygrpc-aio":
        test_pb2_grpc.add_TestServiceServicer_to_server(servicer, server)
        return
    service = test_pb2.DESCRIPTOR.services_by_name["TestService"]
    handlers = {}
    for method in service.methods:
        if method.name == "UnimplementedCall":
            continue
        arity = ("s" if method.client_streaming else "u") + ("s" if method.server_streaming else "u")
        handlers[method.name] = side.handler(
            arity,
            getattr(servicer, method.name),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers((side.generic_handler(handlers, service.full_name),))
    server.add_registered_method_handlers(service.full_name, handlers)
