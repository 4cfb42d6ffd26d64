"""Limits of calls and messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo

import pygrpc
from pygrpc import aio
from pygrpc.services.buckets import SECOND
from pygrpc.services.guards import Authentication, GuardError, Identity, Rate, RateLimit, StaticTokens
from pygrpc.services.guards.rates import address_of
from tests.services.guards.support import KINDS, Clock, bearer, guarded, path

ANN, BOB = "token-of-ann-0123456", "token-of-bob-0123456"
TOKENS = StaticTokens({ANN: Identity("ann"), BOB: Identity("bob")})


@pytest.mark.parametrize("kind", KINDS)
async def test_too_many_calls(client_aio: ModuleType, kind: str) -> None:
    clock = Clock()
    async with guarded(client_aio, RateLimit({"*": Rate(0.4, 2)}, clock=clock)) as server:
        await server.call(kind)
        await server.call(kind)
        served = server.methods.served
        clock.now = 500_000_001
        failure = await server.failure(kind)
        assert failure.code == "RESOURCE_EXHAUSTED"
        assert failure.message == "too many calls; try again in 2.000 seconds"
        assert failure.detail(RetryInfo).retry_delay.ToNanoseconds() == 1_999_999_999
        [violation] = failure.detail(QuotaFailure).violations
        assert violation.subject == "peer:127.0.0.1"
        assert failure.detail(ErrorInfo).reason == "RATE_LIMITED"
        assert server.methods.served == served
        clock.now += 1_999_999_999
        await server.call(kind)


async def test_a_client_is_who_it_is_and_not_where() -> None:
    async with guarded(aio, Authentication([TOKENS]), RateLimit({"*": Rate(1, 1)}, clock=Clock())) as server:
        await server.call("unary_unary", metadata=bearer(ANN))
        await server.call("unary_unary", metadata=bearer(BOB))
        failure = await server.failure("unary_unary", metadata=bearer(ANN))
        assert failure.detail(QuotaFailure).violations[0].subject == "identity:ann"


async def test_connections_of_one_address_are_one_client(client_aio: ModuleType) -> None:
    async with guarded(client_aio, RateLimit({"*": Rate(1, 1)}, clock=Clock())) as server:
        await server.call("unary_unary")
        async with client_aio.insecure_channel(server.address, (("grpc.use_local_subchannel_pool", 1),)) as other:
            with pytest.raises(client_aio.AioRpcError):
                await other.unary_unary(path("unary_unary"))(b"x", timeout=20)


async def test_rules_have_buckets_of_their_own() -> None:
    limit = RateLimit({path("unary_unary"): Rate(1, 1), "/test.Guarded/*": Rate(1, 2)}, clock=Clock())
    async with guarded(aio, limit) as server:
        await server.call("unary_unary")
        await server.call("unary_stream")
        await server.call("stream_unary")
        for kind in KINDS:
            assert (await server.failure(kind)).code == "RESOURCE_EXHAUSTED"


async def test_methods_without_a_rule_have_no_limit() -> None:
    async with guarded(aio, RateLimit({"/other.Service/*": Rate(1, 1)}, clock=Clock())) as server:
        for _ in range(5):
            await server.call("unary_unary")


async def test_unknown_methods_are_limited_too() -> None:
    async with guarded(aio, RateLimit({"*": Rate(1, 1)}, clock=Clock())) as server:
        assert (await server.failure("unary_unary", method="/a.B/C")).code == "UNIMPLEMENTED"
        assert (await server.failure("unary_unary", method="/a.B/D")).code == "RESOURCE_EXHAUSTED"


async def test_costs() -> None:
    costs = {path("unary_unary"): 3, path("unary_stream"): 0}
    async with guarded(aio, RateLimit({"*": Rate(1, 5)}, costs=costs, clock=Clock())) as server:
        for _ in range(5):
            await server.call("unary_stream")
        await server.call("unary_unary")
        failure = await server.failure("unary_unary")
        assert failure.detail(RetryInfo).retry_delay.ToSeconds() == 1
        await server.call("stream_unary")
        await server.call("stream_unary")
        await server.failure("stream_unary")


# Messages.


class Forms:
    """The forms that a handler of a stream may have."""

    async def coroutine(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    async def reading(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        found = []
        while (request := await context.read()) is not aio.EOF:
            found.append(request)
        return b"".join(found)

    async def generator(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def writing(self, requests: AsyncIterator[bytes], context: Any) -> None:
        while (request := await context.read()) is not aio.EOF:
            await context.write(request)

    def plain(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"".join(requests)

    def plain_generator(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests


FORMS = {
    "coroutine": "stream_unary",
    "reading": "stream_unary",
    "generator": "stream_stream",
    "writing": "stream_stream",
    "plain": "stream_unary",
    "plain_generator": "stream_stream",
}


@pytest.mark.parametrize("form", FORMS)
async def test_messages_of_a_stream(client_aio: ModuleType, form: str) -> None:
    kind = FORMS[form]
    handler = getattr(pygrpc, f"{kind}_rpc_method_handler")(getattr(Forms(), form))
    generic = pygrpc.method_handlers_generic_handler("test.Forms", {"Method": handler})
    clock = Clock()
    limit = RateLimit({"*": Rate(1, 10)}, message_costs={"/test.Forms/*": 3}, clock=clock)
    async with guarded(client_aio, limit, handlers=[generic]) as server:
        # A token for the call, and three for each of two messages.
        expected = [b"x", b"x"] if kind.endswith("stream") else b"xx"
        assert await server.call(kind, method="/test.Forms/Method") == expected
        failure = await server.failure(kind, method="/test.Forms/Method")
        assert failure.code == "RESOURCE_EXHAUSTED"
        assert failure.detail(RetryInfo).retry_delay.ToNanoseconds() == SECOND


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:3::5%5D:4712", "2001:db8:1:2::/64"),
        ("ipv6:[fe80::1%eth0]:4711", "fe80::/64"),
        ("unix:", "unix:"),
        ("unix:/run/socket", "unix:/run/socket"),
        ("unknown", "unknown"),
        ("ipv6:odd:1", "odd"),
    ],
)
def test_the_address_of_a_client(peer: str, address: str) -> None:
    assert address_of(peer) == address


def test_a_limit_of_something_else() -> None:
    with pytest.raises(GuardError, match="names no method"):
        RateLimit({"UserService": Rate(1, 1)})


def test_a_limit_that_is_none() -> None:
    with pytest.raises(GuardError, match="a bucket needs more than 0 tokens"):
        RateLimit({"*": Rate(0, 1)})
