"""Hints between processes, by the publish/subscribe of a Redis server."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import uuid
from collections.abc import Iterable
from contextlib import suppress

from redis import asyncio as redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout.local import LocalFanout

_log = logging.getLogger(__name__)

#: For connecting and for each command.
_TIMEOUT = 5.0
#: After so long without a message, Redis is asked whether it is still there.
_SILENCE = 10.0
#: The most topics that wait to be published. If there are more, it is said that there may be news under all of them.
_MOST_TOPICS = 1000

_FAILURES = (RedisError, OSError)


class RedisFanout(LocalFanout):
    """A Fanout between all processes that use one Redis server and channel.

    Listeners of this process are told directly. What is published while Redis cannot be reached is kept, once for each
    topic, until the connection is back: that is tried again and again, at growing intervals.
    """

    def __init__(self, url: str, *, channel: str = "pygrpc", first_retry: float = 0.1, last_retry: float = 5.0) -> None:
        """Makes it; `open` connects.

        Args:
            url: `redis://user:password@host:port`, `rediss://...` for TLS, or `unix:///path`.
            channel: Of Redis. It is common to all databases of a server, so installations that share a server need
                channels of their own.
            first_retry: Seconds from the loss of the connection to the first attempt to connect again, at most.
            last_retry: The longest interval between two attempts, in seconds.
        """
        super().__init__()
        self._url = url
        self._channel = channel
        self._first_retry, self._last_retry = first_retry, last_retry
        # Tells the echo of what this process has published.
        self._origin = uuid.uuid4().hex
        # None stands for all topics.
        self._pending: dict[str | None, None] = {}
        self._outgoing = asyncio.Event()
        self._healthy = False
        self._connection: _Connection | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def shared(self) -> bool:
        """See Fanout."""
        return True

    @property
    def healthy(self) -> bool:
        """See Fanout."""
        return self._healthy

    def publish(self, topic: str) -> None:
        """See Fanout."""
        self._tell(topic)
        self._enqueue((topic,))

    async def open(self) -> None:
        """See Fanout."""
        try:
            self._connection = await self._connect()
        except (*_FAILURES, ValueError, TypeError) as error:
            raise StoreError(
                f'the fan-out "{_without_password(self._url)}" cannot be used: {_reason(error)}'
            ) from error
        self._turn(healthy=True)
        self._running = asyncio.create_task(self._run(self._connection))

    async def close(self) -> None:
        """See Fanout."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        if self._connection is not None:
            await self._connection.close()

    async def _run(self, connection: _Connection) -> None:
        """Passes hints on, over one connection after the other, until it is cancelled."""
        while True:
            failure = await self._serve(connection)
            await connection.close()
            _log.warning("Hints wait for Redis: %s", _reason(failure))
            self._turn(healthy=False)
            connection = self._connection = await self._connect_again()
            self._turn(healthy=True)
            _log.info("Redis is back, and hints are passed on again.")

    async def _serve(self, connection: _Connection) -> BaseException:
        """Passes hints on until the connection fails; returns how."""
        # Not a TaskGroup: on Python 3.11 that leaves its task counted as cancelled when a child has failed.
        workers = [asyncio.create_task(self._send(connection)), asyncio.create_task(self._receive(connection))]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
        return done.pop().exception() or RedisConnectionError("the connection has ended")

    async def _connect_again(self) -> _Connection:
        interval = self._first_retry
        while True:
            # A part is left to chance, so that not all processes come back at once.
            await asyncio.sleep(interval * random.uniform(0.5, 1))
            try:
                return await self._connect()
            except Exception as error:
                _log.debug("Redis cannot be reached: %s", _reason(error))
            interval = min(2 * interval, self._last_retry)

    async def _connect(self) -> _Connection:
        connection = _Connection(self._url)
        try:
            await connection.subscribe(self._channel)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _turn(self, *, healthy: bool) -> None:
        self._healthy = healthy
        self._tell_all()

    def _tell_all(self) -> None:
        for topic in tuple(self._listeners):
            self._tell(topic)

    def _enqueue(self, topics: Iterable[str | None]) -> None:
        self._pending.update(dict.fromkeys(topics))
        if len(self._pending) > _MOST_TOPICS:
            self._pending = {None: None}
        self._outgoing.set()

    async def _send(self, connection: _Connection) -> None:
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            topics, self._pending = self._pending, {}
            try:
                await connection.publish(self._channel, json.dumps([self._origin, list(topics)]))
            except BaseException:
                self._enqueue(topics)
                raise

    async def _receive(self, connection: _Connection) -> None:
        while True:
            self._take(await connection.next_message())

    def _take(self, message: bytes) -> None:
        try:
            origin, topics = json.loads(message)
        except (ValueError, TypeError):
            _log.debug("Somebody else publishes on the channel %s of Redis.", self._channel)
            return
        if origin == self._origin or not isinstance(topics, list):
            return
        if None in topics:
            self._tell_all()
            return
        for topic in topics:
            self._tell(str(topic))


class _Connection:
    """Two connections to Redis, as one that has subscribed can't publish; when either fails, both are given up."""

    def __init__(self, url: str) -> None:
        # The retries are ours: redis-py would subscribe again without a word of what was lost meanwhile.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._pubsub: PubSub = self._client.pubsub()

    async def subscribe(self, channel: str) -> None:
        """Returns when Redis has confirmed it."""
        await self._pubsub.subscribe(channel)
        message = await self._pubsub.get_message(timeout=_TIMEOUT)
        _check_cancelled()
        if message is None or message["type"] != "subscribe":
            raise RedisConnectionError("it does not answer")

    async def publish(self, channel: str, message: str) -> None:
        await self._client.publish(channel, message)
        _check_cancelled()

    async def next_message(self) -> bytes:
        """Waits for a message; makes sure meanwhile that Redis is there."""
        asked = False
        while True:
            message = await self._pubsub.get_message(timeout=_SILENCE)
            _check_cancelled()
            if message is None and asked:
                raise RedisConnectionError("it does not answer any more")
            asked = message is None
            if message is None:
                await self._pubsub.ping()
            elif message["type"] == "message":
                data: bytes = message["data"]
                return data

    async def close(self) -> None:
        with suppress(*_FAILURES):
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        with suppress(*_FAILURES):
            await self._client.aclose()


def _check_cancelled() -> None:
    """Ends the task if it is cancelled.

    redis-py uses asyncio.wait_for, which before Python 3.12 loses a cancellation that comes together with the result.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _reason(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _without_password(url: str) -> str:
    return re.sub(r"([?&][^=&]*password)=[^&]*", r"\1=***", re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", url))
