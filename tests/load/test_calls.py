"""Connections, and calls of the four kinds, against servers of both libraries."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import pygrpc
from pygrpc import aio
from pygrpc.load.calls import Calls, channel_options, close, connect, credentials
from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan, Tls
from pygrpc.load.requests import Requests, read_requests
from pygrpc.load.result import Outcome
from tests.load.servers import SERVICE, serving, silent_server
from tests.protos.grpc.testing import messages_pb2
from tests.tls import certificates

INPUT = messages_pb2.StreamingInputCallRequest.DESCRIPTOR
OUTPUT = messages_pb2.StreamingOutputCallRequest.DESCRIPTOR
SIMPLE = messages_pb2.SimpleRequest.DESCRIPTOR
APIS = pytest.mark.parametrize("api", ["pygrpc", "grpc"])


def plan_of(target: str, method: str, text: str, message_type: Any, **more: Any) -> Plan:
    return Plan(target, f"{SERVICE}/{method}", read_requests([text], message_type), **more)


async def outcomes(plan: Plan, *numbers: int) -> list[Outcome]:
    channels = await connect(plan)
    try:
        calls = Calls(plan, channels)
        return [await calls(number, number) for number in numbers]
    finally:
        await close(channels)


@APIS
async def test_a_unary_call(api: str) -> None:
    with serving(api) as (target, service):
        plan = plan_of(target, "UnaryCall", '[{"response_size": 3}, {"response_size": 5}]', SIMPLE)
        assert await outcomes(plan, 0, 1, 2) == [
            Outcome("OK", "", 1, 1, 2, 7),
            Outcome("OK", "", 1, 1, 2, 9),
            Outcome("OK", "", 1, 1, 2, 7),
        ]
        assert [request.response_size for request in service.requests] == [3, 5, 3]


@APIS
async def test_a_call_that_fails(api: str) -> None:
    with serving(api) as (target, _):
        text = '{"response_status": {"code": 5, "message": "no such user"}}'
        (outcome,) = await outcomes(plan_of(target, "UnaryCall", text, SIMPLE), 0)
        assert outcome[:4] == ("NOT_FOUND", "no such user", 1, 0)


@APIS
async def test_a_call_that_misses_its_deadline(api: str) -> None:
    with serving(api) as (target, service):
        service.open.clear()
        (outcome,) = await outcomes(plan_of(target, "UnaryCall", "{}", SIMPLE, timeout=0.05), 0)
        service.open.set()
        assert outcome.code == "DEADLINE_EXCEEDED"


@APIS
async def test_a_stream_of_responses(api: str) -> None:
    with serving(api) as (target, _):
        text = '{"response_parameters": [{"size": 1}, {"size": 2}, {"size": 3}]}'
        plan = plan_of(target, "StreamingOutputCall", text, OUTPUT, server_streaming=True)
        (outcome,) = await outcomes(plan, 0)
        assert outcome[:4] == ("OK", "", 1, 3)
        plan = plan_of(target, "StreamingOutputCall", text, OUTPUT, server_streaming=True, receive=2)
        (outcome,) = await outcomes(plan, 0)
        assert outcome[:4] == ("OK", "", 1, 2)


@APIS
async def test_a_stream_of_requests(api: str) -> None:
    with serving(api) as (target, service):
        text = '[{"payload": {"body": "AAAA"}}, {"payload": {"body": "AAAAAAAA"}}]'
        plan = plan_of(target, "StreamingInputCall", text, INPUT, client_streaming=True, messages=5)
        (outcome,) = await outcomes(plan, 7)
        assert outcome[:4] == ("OK", "", 5, 1)
        assert [len(request.payload.body) for request in service.requests] == [3, 6, 3, 6, 3]


@APIS
async def test_a_stream_each_way(api: str) -> None:
    with serving(api) as (target, service):
        text = '{"response_parameters": [{"size": "{{call}}0{{message}}"}]}'
        kinds = {"client_streaming": True, "server_streaming": True}
        plan = plan_of(target, "FullDuplexCall", text, OUTPUT, messages=3, process=1, processes=2, **kinds)
        (outcome,) = await outcomes(plan, 4)
        assert outcome[:4] == ("OK", "", 3, 3)
        # Call 4 of the second of two processes is the tenth of all.
        assert [request.response_parameters[0].size for request in service.requests] == [1001, 1002, 1003]


async def test_clients_share_the_connections_evenly() -> None:
    with serving() as (target, service):
        plan = plan_of(target, "UnaryCall", "{}", SIMPLE, connections=3, metadata=(("x-key", "a"), ("x-b-bin", b"\0")))
        await outcomes(plan, 0, 1, 2, 3, 4, 5)
        assert len(service.peers) == 3
        assert Counter(service.metadata) == {("x-key", "a"): 6, ("x-b-bin", b"\0"): 6}


async def test_a_call_is_cancelled_with_its_task() -> None:
    with serving() as (target, service):
        service.open.clear()
        plan = plan_of(target, "UnaryCall", "{}", SIMPLE)
        channels = await connect(plan)
        call = asyncio.create_task(Calls(plan, channels)(0, 0))
        assert await asyncio.to_thread(service.called.acquire, timeout=20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await close(channels)


async def test_a_server_that_is_not_there() -> None:
    with serving() as (target, _):
        pass
    with pytest.raises(LoadError, match=f"^{target} can't be reached: .*refused"):
        await connect(Plan(target, "a.B/C", Requests((b"",)), connections=2))


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async with silent_server() as (host, port, _):
        with pytest.raises(LoadError, match=rf"^{host}:{port} could not be connected to within 0\.05 s"):
            await connect(Plan(f"{host}:{port}", "a.B/C", Requests((b"",)), connect_timeout=0.05))


async def test_tls_with_a_certificate_of_the_client() -> None:
    ours, theirs = certificates.client(), certificates.server()
    server = aio.server()

    async def whoami(request: bytes, context: Any) -> bytes:
        return b",".join(context.auth_context()["x509_common_name"])

    handler = pygrpc.unary_unary_rpc_method_handler(whoami)
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("a.B", {"C": handler}),))
    identity = pygrpc.ssl_server_credentials(
        [(theirs.key, theirs.chain)], certificates.roots(), require_client_auth=True
    )
    target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', identity)}"
    await server.start()
    try:
        tls = Tls(certificates.roots(), ours.key, ours.chain, "localhost")
        (outcome,) = await outcomes(Plan(target, "a.B/C", Requests((b"",)), tls=tls), 0)
        assert outcome.code == "OK" and outcome.bytes_received > 0
        with pytest.raises(LoadError, match="can't be reached"):
            await connect(Plan(target, "a.B/C", Requests((b"",)), tls=Tls(certificates.roots("other"))))
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("tls", "check"),
    [
        (None, lambda made: made is None),
        (Tls(), lambda made: isinstance(made, pygrpc.ChannelCredentials)),
    ],
)
def test_credentials(tls: Tls | None, check: Callable[[Any], bool]) -> None:
    assert check(credentials(Plan("host:1", "a.B/C", Requests((b"",)), tls=tls)))


def test_options_are_passed_on() -> None:
    plan = Plan(
        "host:1", "a.B/C", Requests((b"",)), options=(("grpc.enable_retries", 0),), tls=Tls(server_name="there")
    )
    assert channel_options(plan) == [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.ssl_target_name_override", "there"),
        ("grpc.enable_retries", 0),
    ]
