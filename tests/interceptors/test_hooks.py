"""Hooks: one kind of interceptor for both ends, both APIs and all arities."""

from __future__ import annotations

import pytest

import pygrpc
import pygrpc.aio
from tests.interceptors.hook_peers import (
    EXPECTED,
    KINDS,
    Async,
    Handlers,
    Log,
    Plain,
    Written,
    aio_pair,
    call_aio,
    call_sync,
    sync_pair,
)


def check_good_call(log: Log, kind: str, is_client: bool) -> None:
    (info,) = log.calls
    assert info.is_client is is_client
    assert info.method == f"/s/{kind}"
    assert (info.request_streaming, info.response_streaming) == (kind.startswith("stream"), kind.endswith("stream"))
    assert ("x-own", "1") in info.metadata
    assert ("x-hook", "1") in info.metadata
    assert info.timeout is not None
    assert 0 < info.timeout <= 20
    assert (info.peer is None) is is_client
    expected = EXPECTED[kind]
    requests = ["request x"] if kind.startswith("unary") else ["request x", "request y"]
    responses = [f"response {each.decode()}" for each in (expected if isinstance(expected, list) else [expected])]
    assert sorted(log.events[:-1]) == sorted(requests + responses)
    assert [event for event in log.events if event.startswith("response")] == responses
    assert log.events[-1] == "end"
    (end,) = log.ends
    assert end.code is pygrpc.StatusCode.OK
    assert end.details == ""
    assert end.error is None
    assert end.trailing_metadata == (("x-trailing", "1"),)


@pytest.mark.parametrize("kind", KINDS)
def test_sync_calls(kind: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        assert call_sync(channel, kind, metadata=[("x-own", "1")]) == EXPECTED[kind]
        on_client.wait()
        on_server.wait()
    check_good_call(on_client, kind, True)
    check_good_call(on_server, kind, False)


@pytest.mark.parametrize("handlers", [Async, Written, Plain])
@pytest.mark.parametrize("kind", KINDS)
async def test_aio_calls(kind: str, handlers: type[Handlers]) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server, handlers) as channel:
        assert await call_aio(channel, kind, metadata=[("x-own", "1")]) == EXPECTED[kind]
        await on_client.wait_async()
        await on_server.wait_async()
    check_good_call(on_client, kind, True)
    if handlers is Written and kind == "stream_stream":
        # What is read by way of the context has been seen once, not twice.
        assert on_server.events.count("request x") == 1
    check_good_call(on_server, kind, False)


FAILURES: list[tuple[bytes, pygrpc.StatusCode, str]] = [
    (b"fail", pygrpc.StatusCode.NOT_FOUND, "nothing here"),
    (b"raise", pygrpc.StatusCode.UNKNOWN, "a mistake"),
    (b"code", pygrpc.StatusCode.DATA_LOSS, "some of it"),
]


def check_failure(log: Log, code: pygrpc.StatusCode, details: str) -> None:
    (end,) = log.ends
    assert end.code is code
    assert details in end.details
    assert end.trailing_metadata == (("x-trailing", "1"),)
    assert log.events[-1] == "end"


@pytest.mark.parametrize(("request_", "code", "details"), FAILURES)
@pytest.mark.parametrize("kind", KINDS)
def test_sync_failures(kind: str, request_: bytes, code: pygrpc.StatusCode, details: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        with pytest.raises(pygrpc.RpcError):
            call_sync(channel, kind, request_)
        on_client.wait()
        on_server.wait()
    check_failure(on_client, code, details)
    check_failure(on_server, code, details)


@pytest.mark.parametrize("handlers", [Async, Plain])
@pytest.mark.parametrize(("request_", "code", "details"), FAILURES)
@pytest.mark.parametrize("kind", KINDS)
async def test_aio_failures(
    kind: str, request_: bytes, code: pygrpc.StatusCode, details: str, handlers: type[Handlers]
) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server, handlers) as channel:
        with pytest.raises(pygrpc.RpcError):
            await call_aio(channel, kind, request_)
        await on_client.wait_async()
        await on_server.wait_async()
    check_failure(on_client, code, details)
    check_failure(on_server, code, details)


#: Both ends watch the deadline. If the client's clock is the faster one, it cancels the call.
AT_A_DEADLINE = [[pygrpc.StatusCode.DEADLINE_EXCEEDED], [pygrpc.StatusCode.CANCELLED]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_deadline(kind: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        pygrpc.channel_ready_future(channel).result(20)
        with pytest.raises(pygrpc.RpcError):
            call_sync(channel, kind, b"hang", timeout=0.1)
        on_client.wait()
        on_server.wait()
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]
    assert [end.code for end in on_server.ends] in AT_A_DEADLINE


@pytest.mark.parametrize("kind", KINDS)
async def test_an_aio_deadline(kind: str) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server) as channel:
        await channel.channel_ready()
        with pytest.raises(pygrpc.RpcError):
            await call_aio(channel, kind, b"hang", timeout=0.1)
        await on_client.wait_async()
        await on_server.wait_async()
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]
    assert [end.code for end in on_server.ends] in AT_A_DEADLINE
