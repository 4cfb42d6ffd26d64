"""The cases of grpc's interoperability tests that apply here (doc/interop-test-descriptions.md in grpc/grpc).

Each case takes a channel and the library that it belongs to, and raises AssertionError if something came back wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from tests.behaviour.peers import Side
from tests.interop.service import INITIAL, TRAILING, zeros
from tests.protos.grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

LARGE_REQUEST = 271828
LARGE_RESPONSE = 314159
REQUESTS = (27182, 8, 1828, 45904)
RESPONSES = (31415, 9, 2653, 58979)

SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"

Case = Callable[[Any, Side], Awaitable[None]]

CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Put a function into the list under its name."""
    CASES[function.__name__] = function
    return function


def expect(actual: Any, wanted: Any, what: str) -> None:
    """Raise unless something is as it should be; unlike an assert statement, also under `python -O`."""
    if actual != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, got {actual!r}")


def large_request(**fields: Any) -> messages_pb2.SimpleRequest:
    return messages_pb2.SimpleRequest(response_size=LARGE_RESPONSE, payload=zeros(LARGE_REQUEST), **fields)


def output_request(*sizes: int, payload: int | None = None, **fields: Any) -> messages_pb2.StreamingOutputCallRequest:
    parameters = [messages_pb2.ResponseParameters(size=size) for size in sizes]
    body = None if payload is None else zeros(payload)
    return messages_pb2.StreamingOutputCallRequest(response_parameters=parameters, payload=body, **fields)


def expect_zeros(payload: messages_pb2.Payload, size: int) -> None:
    expect(len(payload.body), size, "size of the payload")
    expect(payload.body.count(0), size, "zero bytes in the payload")


async def expect_status(call: Any, code: Any, details: str) -> None:
    expect(await call.code(), code, "status code")
    expect(await call.details(), details, "status message")


@case
async def empty_unary(channel: Any, side: Side) -> None:
    response = await test_pb2_grpc.TestServiceStub(channel).EmptyCall(empty_pb2.Empty())
    expect(response, empty_pb2.Empty(), "response")


@case
async def large_unary(channel: Any, side: Side) -> None:
    response = await test_pb2_grpc.TestServiceStub(channel).UnaryCall(large_request())
    expect_zeros(response.payload, LARGE_RESPONSE)


@case
async def client_compressed_unary(channel: Any, side: Side) -> None:
    """The probe for INVALID_ARGUMENT is left out: a Python server cannot see whether a request was compressed."""
    stub = test_pb2_grpc.TestServiceStub(channel)
    for compressed in (True, False):
        compression = side.root.Compression.Gzip if compressed else None
        request = large_request(expect_compressed=messages_pb2.BoolValue(value=compressed))
        response = await stub.UnaryCall(request, compression=compression)
        expect_zeros(response.payload, LARGE_RESPONSE)


@case
async def server_compressed_unary(channel: Any, side: Side) -> None:
    stub = test_pb2_grpc.TestServiceStub(channel)
    for compressed in (True, False):
        request = large_request(response_compressed=messages_pb2.BoolValue(value=compressed))
        response = await stub.UnaryCall(request)
        expect_zeros(response.payload, LARGE_RESPONSE)


@case
async def client_streaming(channel: Any, side: Side) -> None:
    requests = [messages_pb2.StreamingInputCallRequest(payload=zeros(size)) for size in REQUESTS]
    response = await test_pb2_grpc.TestServiceStub(channel).StreamingInputCall(requests)
    expect(response.aggregated_payload_size, sum(REQUESTS), "aggregated size")


@case
async def client_compressed_streaming(channel: Any, side: Side) -> None:
    """One call compresses all its messages, the next one none: the API cannot choose for each request of a call."""
    stub = test_pb2_grpc.TestServiceStub(channel)
    for size, compressed in ((27182, True), (45904, False)):
        request = messages_pb2.StreamingInputCallRequest(
            payload=zeros(size), expect_compressed=messages_pb2.BoolValue(value=compressed)
        )
        compression = side.root.Compression.Gzip if compressed else None
        response = await stub.StreamingInputCall([request], compression=compression)
        expect(response.aggregated_payload_size, size, "aggregated size")


@case
async def server_streaming(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).StreamingOutputCall(output_request(*RESPONSES))
    sizes = [len(response.payload.body) async for response in call]
    expect(tuple(sizes), RESPONSES, "sizes of the responses")


@case
async def server_compressed_streaming(channel: Any, side: Side) -> None:
    request = output_request(31415, 92653)
    request.response_parameters[0].compressed.value = True
    request.response_parameters[1].compressed.value = False
    call = test_pb2_grpc.TestServiceStub(channel).StreamingOutputCall(request)
    sizes = [len(response.payload.body) async for response in call]
    expect(sizes, [31415, 92653], "sizes of the responses")


@case
async def ping_pong(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).FullDuplexCall()
    for request_size, response_size in zip(REQUESTS, RESPONSES, strict=True):
        await call.write(output_request(response_size, payload=request_size))
        response = await call.read()
        expect_zeros(response.payload, response_size)
    await call.done_writing()
    expect(await call.read(), side.aio.EOF, "end of the responses")
    expect(await call.code(), side.code.OK, "status code")


@case
async def empty_stream(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).FullDuplexCall()
    await call.done_writing()
    expect(await call.read(), side.aio.EOF, "end of the responses")
    expect(await call.code(), side.code.OK, "status code")


@case
async def cancel_after_begin(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).StreamingInputCall()
    expect(call.cancel(), True, "result of cancel()")
    expect(call.cancelled(), True, "cancelled()")
    expect(await call.code(), side.code.CANCELLED, "status code")


@case
async def cancel_after_first_response(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).FullDuplexCall()
    await call.write(output_request(31415, payload=27182))
    expect_zeros((await call.read()).payload, 31415)
    expect(call.cancel(), True, "result of cancel()")
    with contextlib.suppress(asyncio.CancelledError):
        raise AssertionError(f"expected no response after cancel(), got {await call.read()!r}")
    expect(await call.code(), side.code.CANCELLED, "status code")


@case
async def timeout_on_sleeping_server(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).FullDuplexCall(timeout=0.001)
    # The deadline may pass before the request is out.
    with contextlib.suppress(asyncio.InvalidStateError, side.aio.AioRpcError):
        await call.write(output_request(payload=27182))
    expect(await call.code(), side.code.DEADLINE_EXCEEDED, "status code")


@case
async def custom_metadata(channel: Any, side: Side) -> None:
    stub = test_pb2_grpc.TestServiceStub(channel)
    initial, trailing = (INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab")
    unary = stub.UnaryCall(large_request(), metadata=(initial, trailing))
    await unary
    duplex = stub.FullDuplexCall([output_request(LARGE_RESPONSE, payload=LARGE_REQUEST)], metadata=(initial, trailing))
    sizes = [len(response.payload.body) async for response in duplex]
    expect(sizes, [LARGE_RESPONSE], "sizes of the responses")
    for call in (unary, duplex):
        expect(tuple(await call.initial_metadata()), (initial,), "initial metadata")
        expect(tuple(await call.trailing_metadata()), (trailing,), "trailing metadata")


@case
async def status_code_and_message(channel: Any, side: Side) -> None:
    status = messages_pb2.EchoStatus(code=side.code.UNKNOWN.value[0], message="test status message")
    await expect_echo(channel, side, status)


@case
async def special_status_message(channel: Any, side: Side) -> None:
    status = messages_pb2.EchoStatus(code=side.code.UNKNOWN.value[0], message=SPECIAL_MESSAGE)
    await expect_echo(channel, side, status)


async def expect_echo(channel: Any, side: Side, status: messages_pb2.EchoStatus) -> None:
    """Ask for a status in a unary and in a duplex call."""
    stub = test_pb2_grpc.TestServiceStub(channel)
    unary = stub.UnaryCall(messages_pb2.SimpleRequest(response_status=status))
    await expect_status(unary, side.code.UNKNOWN, status.message)
    duplex = stub.FullDuplexCall()
    # The call may have its status before the request is out, and then there is nothing left to end.
    with contextlib.suppress(side.aio.AioRpcError, side.aio.InternalError):
        await duplex.write(output_request(response_status=status))
        await duplex.done_writing()
    await expect_status(duplex, side.code.UNKNOWN, status.message)


@case
async def unimplemented_method(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.TestServiceStub(channel).UnimplementedCall(empty_pb2.Empty())
    expect(await call.code(), side.code.UNIMPLEMENTED, "status code")


@case
async def unimplemented_service(channel: Any, side: Side) -> None:
    call = test_pb2_grpc.UnimplementedServiceStub(channel).UnimplementedCall(empty_pb2.Empty())
    expect(await call.code(), side.code.UNIMPLEMENTED, "status code")
