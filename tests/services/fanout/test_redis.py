"""Hints between processes, over a real Redis server."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import asyncio as redis

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout
from pygrpc.services.fanout.redis import RedisFanout, _Connection
from tests.services.servers import free_port
from tests.services.servers.redis import RedisServer

BOUND = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    own = RedisServer(str(tmp_path))
    yield own
    own.stop()


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return uuid.uuid4().hex


@asynccontextmanager
async def opened(url: str, channel: str = "pygrpc") -> AsyncIterator[RedisFanout]:
    fanout = RedisFanout(url, channel=channel, first_retry=0.01, last_retry=0.05)
    await fanout.open()
    try:
        async with asyncio.timeout(BOUND):
            yield fanout
    finally:
        await fanout.close()


class Ear:
    """Counts hints, and waits for them."""

    def __init__(self, fanout: Fanout, topic: str) -> None:
        self.count = 0
        self._heard = asyncio.Event()
        self.stop = fanout.listen(topic, self._listener)

    def _listener(self) -> None:
        self.count += 1
        self._heard.set()

    async def hears(self, count: int = 1) -> None:
        """Waits until there have been so many hints."""
        await self.until(lambda: self.count >= count)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Waits for something that comes with a hint."""
        while not reached():
            self._heard.clear()
            await self._heard.wait()


async def lost(fanout: RedisFanout, ear: Ear) -> None:
    """Waits until the connection is lost; a listener is told of that."""
    await ear.until(lambda: not fanout.healthy)


async def back(fanout: RedisFanout, ear: Ear) -> None:
    """Waits until the connection is back; a listener is told of that too."""
    await ear.until(lambda: fanout.healthy)


async def test_a_hint_reaches_all_who_listen(redis_server: RedisServer, channel: str) -> None:
    async with opened(redis_server.url, channel) as one, opened(redis_server.url, channel) as other:
        assert one.shared
        assert one.healthy
        here, there, elsewhere = Ear(one, "a"), Ear(other, "a"), Ear(other, "b")
        one.publish("a")
        # Within the process at once, without a way through Redis.
        assert here.count == 1
        await there.hears()
        assert elsewhere.count == 0
        other.publish("b")
        other.publish("a")
        await here.hears(2)
        # No echo: nobody hears twice what was published once.
        assert (here.count, there.count, elsewhere.count) == (2, 2, 1)
        there.stop()
        one.publish("a")
        one.publish("b")
        await elsewhere.hears(2)
        assert there.count == 2


async def test_hints_are_one_for_each_topic_while_they_wait(redis_server: RedisServer, channel: str) -> None:
    async with opened(redis_server.url, channel) as one, opened(redis_server.url, channel) as other:
        many, last = Ear(other, "many"), Ear(other, "last")
        for _ in range(100):
            one.publish("many")
        one.publish("last")
        await last.hears()
        assert many.count == 1


async def test_more_topics_than_are_kept_become_a_hint_for_all(
    redis_server: RedisServer, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pygrpc.services.fanout.redis._MOST_TOPICS", 10)
    async with opened(redis_server.url, channel) as one, opened(redis_server.url, channel) as other:
        ears = [Ear(other, topic) for topic in ("0", "10", "12", "never published")]
        for number in range(13):
            one.publish(str(number))
        for ear in ears:
            await ear.hears()


async def test_channels_are_apart_and_what_others_say_there_is_ignored(
    redis_server: RedisServer, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        opened(redis_server.url, channel) as one,
        opened(redis_server.url, channel + "2") as apart,
        redis.Redis.from_url(redis_server.url) as client,
    ):
        ear, other = Ear(one, "a"), Ear(apart, "a")
        with caplog.at_level(logging.DEBUG, "pygrpc"):
            for message in (b"\xff", b"{}", b"1", b'["x"]', b'["x", "a"]', b'["x", ["a"]]'):
                await client.publish(channel, message)
            await ear.hears()
        assert (ear.count, other.count) == (1, 0)
        assert {record.getMessage() for record in caplog.records} == {
            f"Somebody else publishes on the channel {channel} of Redis."
        }


async def test_the_connection_comes_back(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(server.url) as one, opened(server.url) as other:
        here, there = Ear(one, "a"), Ear(other, "a")
        with caplog.at_level(logging.INFO, "pygrpc"):
            await asyncio.to_thread(server.stop)
            await lost(one, here)
            await lost(other, there)
            before = here.count
            one.publish("a")
            assert here.count == before + 1
            await asyncio.to_thread(server.start)
            await back(one, here)
            await back(other, there)
        # Once for the loss and once for the return, as hints may have been lost in between.
        assert here.count == 3
        sorted_messages = sorted({record.getMessage().partition(":")[0] for record in caplog.records})
        assert sorted_messages == ["Hints wait for Redis", "Redis is back, and hints are passed on again."]
        before = there.count
        one.publish("a")
        await there.hears(before + 1)


async def test_what_is_published_without_a_connection_is_sent_when_it_is_back(server: RedisServer) -> None:
    async with opened(server.url) as one:
        here = Ear(one, "a")
        await asyncio.to_thread(server.stop)
        await lost(one, here)
        for topic in ("kept", "kept", "too"):
            one.publish(topic)
        # Redis has nothing for those who subscribe later: so this one is there before the connection can be back.
        one._first_retry = one._last_retry = 0.0
        going = asyncio.Event()
        connect = one._connect

        async def later() -> _Connection:
            await going.wait()
            return await connect()

        one._connect = later  # type: ignore[method-assign]
        await asyncio.to_thread(server.start)
        async with redis.Redis.from_url(server.url) as client, client.pubsub() as pubsub:
            await pubsub.subscribe("pygrpc")
            messages = pubsub.listen()
            assert (await anext(messages))["type"] == "subscribe"
            going.set()
            assert json.loads((await anext(messages))["data"])[1] == ["kept", "too"]
            await messages.aclose()


async def test_a_server_that_falls_silent_is_given_up(
    redis_server: RedisServer, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy passes everything on until it is told to swallow it, as a network does that has come apart."""
    monkeypatch.setattr("pygrpc.services.fanout.redis._SILENCE", 0.05)
    swallowing = False

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not swallowing:
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", redis_server.port)
        await asyncio.gather(pump(reader, to_upstream), pump(upstream, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    async with opened(f"redis://127.0.0.1:{port}", channel) as fanout:
        ear = Ear(fanout, "a")
        swallowing = True
        await lost(fanout, ear)
        swallowing = False
        await back(fanout, ear)
    proxy.close()
    await proxy.wait_closed()


async def test_a_password(tmp_path: Path) -> None:
    own = RedisServer(str(tmp_path), password="s3cret")
    try:
        async with opened(own.url) as fanout:
            assert fanout.healthy
        with pytest.raises(
            StoreError, match=rf'the fan-out "redis://ann:\*\*\*@127.0.0.1:{own.port}" cannot be used: '
        ):
            await RedisFanout(f"redis://ann:wrong@127.0.0.1:{own.port}").open()
    finally:
        own.stop()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://127.0.0.1:{free_port()}", "Connect call failed|Connection refused"),
        ("unix:///no/such/socket", "No such file or directory"),
        ("http://127.0.0.1:6379", "scheme"),
        ("redis://127.0.0.1:port", "port|Port"),
    ],
)
async def test_a_server_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises(StoreError, match=f'the fan-out "{url}" cannot be used: .*({why})'):
        await RedisFanout(url).open()


async def test_an_error_shows_no_password_of_the_parameters() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0?username=ann&password=s3cret&db=0"
    with pytest.raises(StoreError, match=r"/0\?username=ann&password=\*\*\*&db=0\" cannot be used") as caught:
        await RedisFanout(url).open()
    assert "s3cret" not in str(caught.value)


async def test_a_server_that_is_no_redis() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    with pytest.raises(StoreError, match="cannot be used"):
        await RedisFanout(f"redis://127.0.0.1:{port}").open()
    other.close()
    await other.wait_closed()
