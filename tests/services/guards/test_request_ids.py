"""Ids of requests."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import pygrpc
from pygrpc import aio
from pygrpc.services.guards import Authentication, Identity, PropagatedRequestIds, RequestIds, StaticTokens
from pygrpc.services.guards.request_ids import new_request_id
from tests.services.guards.support import KINDS, Guarded, finished, guarded, path


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sane_id_is_taken_over_and_told(client_aio: ModuleType, kind: str) -> None:
    sent = "Trace-1.2_3:4/5+6=7@8"
    async with guarded(client_aio, RequestIds()) as server:
        call = server.start(kind, metadata=[("x-request-id", sent)])
        assert dict(await call.initial_metadata())["x-request-id"] == sent
        await finished(kind, call)
        assert server.methods.seen[-1].request_id == sent


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, 'a"b', "a{b", None])
async def test_others_are_made(sent: str | None) -> None:
    metadata = [] if sent is None else [("x-request-id", sent)]
    async with guarded(aio, RequestIds(make=lambda: "made")) as server:
        await server.call("unary_unary", metadata=metadata)
        assert server.methods.seen[-1].request_id == "made"


async def test_a_call_that_fails_has_one_too(client_aio: ModuleType) -> None:
    async with guarded(client_aio, RequestIds(make=lambda: "made")) as server:
        for request in (b"abort", b"fail"):
            assert (await server.failure("unary_unary", request)).metadata["x-request-id"] == "made"
        assert (await server.failure("unary_unary", method="/a.B/C")).metadata["x-request-id"] == "made"


async def test_a_refused_call_has_one_too(client_aio: ModuleType) -> None:
    refusing = Authentication([StaticTokens({"token-of-ann-0123456": Identity("ann")})])
    async with guarded(client_aio, RequestIds(make=lambda: "made"), refusing) as server:
        failure = await server.failure("stream_stream")
        assert (failure.code, failure.metadata["x-request-id"]) == ("UNAUTHENTICATED", "made")


def test_ids_are_not_the_same() -> None:
    made = {new_request_id() for _ in range(100)}
    assert len(made) == 100
    assert {len(each) for each in made} == {32}


@pytest.mark.parametrize("kind", KINDS)
async def test_handlers_pass_the_id_on(kind: str) -> None:
    async with guarded(aio, RequestIds()) as inner:

        async def forward(request: bytes, context: Any) -> bytes:
            async with aio.insecure_channel(inner.address, interceptors=[PropagatedRequestIds()]) as channel:
                metadata = (("x-request-id", "other"),) if request == b"own" else None
                client = Guarded(channel, inner.methods, aio, inner.address)
                await client.call(kind, request, metadata=metadata)
            return request

        handler = pygrpc.unary_unary_rpc_method_handler(forward)
        generic = pygrpc.method_handlers_generic_handler("test.Outer", {"Forward": handler})
        async with guarded(aio, RequestIds(), handlers=[generic]) as outer:
            for request in (b"x", b"own"):
                sent = [("x-request-id", "1")]
                await outer.call("unary_unary", request, method="/test.Outer/Forward", metadata=sent)
        assert [call.request_id for call in inner.methods.seen][:: 2 if kind.startswith("stream") else 1] == [
            "1",
            "other",
        ]


async def test_outside_of_a_call_there_is_nothing_to_pass_on() -> None:
    async with guarded(aio, RequestIds(make=lambda: "made")) as server:
        async with aio.insecure_channel(server.address, interceptors=[PropagatedRequestIds()]) as channel:
            await channel.unary_unary(path("unary_unary"))(b"x", timeout=20)
        assert server.methods.seen[-1].request_id == "made"
