"""Resolvers that programs register, behind channels of the asyncio API; and look-ups that hang."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pygrpc import ChannelConnectivity, StatusCode, _naming, aio, resolvers
from tests.aio.support import SERVICE, failure, method, serving, until

BOUND = 20.0


class Mine(resolvers.Resolver):
    """Keeps what it is given."""

    made: list[Mine]

    def __init__(self, target: resolvers.Target, listener: resolvers.Listener) -> None:
        self.listener = listener
        self.loop = asyncio.get_running_loop()
        self.hints = self.closed = 0
        self.made.append(self)

    def request_resolution(self) -> None:
        self.hints += 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def made() -> Iterator[list[Mine]]:
    Mine.made = []
    resolvers.register("mine", Mine)
    yield Mine.made
    resolvers.unregister("mine")


async def test_a_call_goes_where_the_resolver_says(made: list[Mine]) -> None:
    async with serving() as target, aio.insecure_channel("mine:a") as channel:
        call = method(channel, "uu")(b"x")
        await until(lambda: made)
        made[0].listener.update([target])
        assert await call == b"x"
        assert made[0].closed == 0
        await channel.close()
        assert made[0].closed == 1
        made[0].listener.error("late")


async def test_a_stream_that_is_written_before_anything_is_known(made: list[Mine]) -> None:
    async with serving() as target, aio.insecure_channel("mine:a") as channel:
        call = method(channel, "ss")()
        writing = asyncio.create_task(call.write(b"x" * 300_000))
        await until(lambda: made)
        made[0].listener.update([target])
        await writing
        assert await call.read() == b"x" * 300_000
        await call.done_writing()
        assert await call.read() is aio.EOF


async def test_a_resolver_may_tell_from_another_thread(made: list[Mine]) -> None:
    async with serving() as target, aio.insecure_channel("mine:a") as channel:
        call = method(channel, "uu")(b"x")
        await until(lambda: made)
        thread = threading.Thread(target=made[0].listener.update, args=([target],))
        thread.start()
        assert await call == b"x"
        thread.join(BOUND)


async def test_an_error_fails_calls_and_asks_again(made: list[Mine]) -> None:
    options = (("grpc.initial_reconnect_backoff_ms", 100),)
    async with serving() as target, aio.insecure_channel("mine:a", options) as channel:
        call, patient = method(channel, "uu")(b""), method(channel, "uu")(b"p", wait_for_ready=True)
        await until(lambda: made)
        made[0].listener.error("nobody home")
        error = await failure(call)
        assert (error.code(), error.details()) == (StatusCode.UNAVAILABLE, "nobody home")
        await until(lambda: made[0].hints)
        made[0].listener.update([target])
        assert await patient == b"p"


async def test_the_service_config_holds_for_the_first_call(made: list[Mine]) -> None:
    attempts = 0

    async def flaky(request: bytes, context: Any) -> bytes:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await context.abort(StatusCode.UNAVAILABLE, "not yet")
        return request

    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.01s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    async with serving(uu=flaky) as target, aio.insecure_channel("mine:a") as channel:
        call = method(channel, "uu")(b"x")
        await until(lambda: made)
        made[0].listener.update([target], {"methodConfig": [{"name": [{"service": SERVICE}], "retryPolicy": retry}]})
        assert await call == b"x"
    assert attempts == 3


async def test_the_timeout_of_the_config_ends_the_first_call(made: list[Mine]) -> None:
    async def slow(request: bytes, context: Any) -> bytes:
        await asyncio.get_running_loop().create_future()
        return request

    async with serving(uu=slow) as target, aio.insecure_channel("mine:a") as channel:
        call = method(channel, "uu")(b"x")
        await until(lambda: made)
        made[0].listener.update([target], {"methodConfig": [{"name": [{"service": SERVICE}], "timeout": "0.3s"}]})
        assert (await failure(call)).code() is StatusCode.DEADLINE_EXCEEDED


async def test_idleness_closes_the_resolver(made: list[Mine]) -> None:
    options = (("grpc.client_idle_timeout_ms", 1000),)
    async with serving() as target, aio.insecure_channel("mine:a", options) as channel:
        call = method(channel, "uu")(b"x")
        await until(lambda: made)
        made[0].listener.update([target])
        assert await call == b"x"
        while (state := channel.get_state()) is not ChannelConnectivity.IDLE:
            await channel.wait_for_state_change(state)
        assert made[0].closed == 1
        call = method(channel, "uu")(b"y")
        await until(lambda: len(made) == 2)
        made[1].listener.update([target])
        assert await call == b"y"


async def test_a_channel_that_is_dropped_closes_its_resolver(made: list[Mine]) -> None:
    channel = aio.insecure_channel("mine:a")
    channel.get_state(try_to_connect=True)
    assert made
    del channel
    gc.collect()
    await until(lambda: made[0].closed)


def test_a_resolver_outlives_its_loop(made: list[Mine]) -> None:
    channel = aio.insecure_channel("mine:a")

    async def begin() -> None:
        channel.get_state(try_to_connect=True)

    asyncio.run(begin())
    made[0].listener.update(["127.0.0.1:1"])
    made[0].listener.error("late")


# Look-ups that hang.


def hang(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Makes the look-up of ``localhost`` wait for an event."""
    leave = threading.Event()
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == b"localhost":
            assert leave.wait(BOUND)
        return original(host, *arguments, **options)

    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo)
    return leave


async def test_a_look_up_that_hangs_holds_up_neither_deadlines_nor_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = hang(monkeypatch)
    async with serving() as target:
        channel = aio.insecure_channel(target.replace("127.0.0.1", "localhost"))
        error = await failure(method(channel, "uu")(b"", timeout=0.05))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        leave.set()
        assert await method(channel, "uu")(b"x") == b"x"
        await channel.close()


def test_a_look_up_that_hangs_holds_up_no_end_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = hang(monkeypatch)
    before = time.monotonic()

    async def begin() -> None:
        async with aio.insecure_channel("localhost:1") as channel:
            await failure(method(channel, "uu")(b"", timeout=0.05))

    asyncio.run(begin())
    # The look-up has not ended: it would have, had somebody waited for it.
    assert time.monotonic() - before < BOUND
    assert any(thread.name == "pygrpc-resolver" for thread in threading.enumerate())
    leave.set()


async def test_a_name_with_addresses_of_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody listens at the IPv6 address, as with many entries in /etc/hosts.
    def getaddrinfo(host: Any, port: int, **options: Any) -> Any:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo)
    async with serving() as target, aio.insecure_channel(target.replace("127.0.0.1", "both")) as channel:
        assert await method(channel, "uu")(b"x") == b"x"


async def test_a_call_to_a_bad_name_is_still_running_after_the_first_write(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with grpcio, however fast the system refuses the name.
    refused, go_on = threading.Event(), threading.Event()

    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def wait(seconds: float) -> None:
        assert seconds > 0
        refused.set()
        go_on.wait(BOUND)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(_naming.time, "sleep", wait)
    async with aio.insecure_channel("dns:///nowhere.test:1") as channel:
        call = channel.stream_unary(f"/{SERVICE}/su")()
        writing = asyncio.ensure_future(call.write(b"x"))
        await asyncio.to_thread(refused.wait, BOUND)
        assert not call.done()
        go_on.set()
        assert await call.code() is StatusCode.UNAVAILABLE
        await asyncio.gather(writing, return_exceptions=True)
