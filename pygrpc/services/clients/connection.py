"""The channels to a server, and what all calls on them have in common."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Self, TypeVar

from pygrpc import ChannelConnectivity, StatusCode, aio
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions, ClientOptions
from pygrpc.services.clients.pacing import Pacing

REQUEST_ID_KEY = "x-request-id"

_T = TypeVar("_T")


class Deadline:
    """When a call is to be over, across its attempts."""

    def __init__(self, timeout: float | None) -> None:
        """Begins now.

        Args:
            timeout: In seconds; None for never.
        """
        self._clock = asyncio.get_running_loop().time
        self._end = None if timeout is None else self._clock() + timeout

    def left(self) -> float | None:
        """Returns how much time is left, in seconds; None for any time."""
        return None if self._end is None else max(0.0, self._end - self._clock())


class _Lane:
    """A channel, and how many calls it has."""

    def __init__(self, target: str, options: ClientOptions) -> None:
        credentials = options.credentials()
        if credentials is None:
            self.channel = aio.insecure_channel(target, options.for_channel())
        else:
            self.channel = aio.secure_channel(target, credentials, options.for_channel())
        self.busy = 0
        self._stubs: dict[Callable[[Any], Any], Any] = {}

    def stub(self, kind: Callable[[Any], Any]) -> Any:
        if kind not in self._stubs:
            self._stubs[kind] = kind(self.channel)
        return self._stubs[kind]


class Connection:
    """A server as clients see it: one channel or several. An asynchronous context manager.

    It belongs to one event loop. Nothing is connected before the first call.
    """

    def __init__(self, target: str, options: ClientOptions | None = None) -> None:
        """Prepares the channels.

        Args:
            target: The server, "host:port" or any target of docs/naming.md.
            options: How to reach it.
        """
        self.target = target
        self.options = options or ClientOptions()
        self._lanes = [_Lane(target, self.options) for _ in range(self.options.channels)]

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the channels; calls in flight are cancelled."""
        await self.close()

    async def close(self) -> None:
        """Closes the channels; calls in flight are cancelled."""
        await asyncio.gather(*(lane.channel.close() for lane in self._lanes))

    async def ready(self, timeout: float | None = 10.0) -> None:
        """Connects, and keeps trying until that succeeds.

        Args:
            timeout: In seconds; None to try for ever.

        Raises:
            ServiceError: UNAVAILABLE, the server could not be reached in time.
        """
        channels = [lane.channel for lane in self._lanes]
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*map(_ready, channels))
        except TimeoutError:
            message = f"no connection within {timeout:g} s"
            raise ServiceError(StatusCode.UNAVAILABLE, message, target=self.target) from None

    @contextmanager
    def calling(
        self, stub: Callable[[Any], Any], method: str, how: CallOptions, timeout: float | None
    ) -> Iterator[Callable[..., Any]]:
        """Lends the least busy channel for a call, while the context is open.

        Args:
            stub: The class of the stub.
            method: The name of the method.
            how: The options of the call; its timeout does not count.
            timeout: In seconds; None for no deadline.

        Yields:
            A function from the request, or nothing where requests are written one by one, to the call.

        Raises:
            ServiceError: Raised by the context in place of an AioRpcError in its body.
        """
        lane = min(self._lanes, key=attrgetter("busy"))
        request_id = str(uuid.uuid4())
        metadata = self._metadata(how, request_id)
        request_id = next(str(value) for key, value in reversed(metadata) if key == REQUEST_ID_KEY)

        def begin(*request: Any) -> Any:
            return getattr(lane.stub(stub), method)(
                *request,
                timeout=timeout,
                metadata=metadata,
                wait_for_ready=how.get("wait_for_ready", self.options.wait_for_ready) or None,
            )

        lane.busy += 1
        try:
            yield begin
        except aio.AioRpcError as error:
            raise ServiceError.of(error, self.target, request_id) from error
        finally:
            lane.busy -= 1

    async def unary(self, stub: Callable[[Any], Any], method: str, request: Any, how: CallOptions) -> Any:
        """Makes a call with one response; `request` is a message, or a list of messages."""
        deadline = self.deadline(how)
        attempts = self.options.attempts
        while True:
            attempts -= 1
            try:
                with self.calling(stub, method, how, deadline.left()) as begin:
                    call = begin(request)
                    await _tell_metadata(call, how)
                    return await call
            except ServiceError as error:
                # The channel's own retries know nothing of google.rpc.RetryInfo. With it the server says that it has
                # not carried the call out, so that any call may be sent again.
                delay, left = error.retry_after, deadline.left()
                if delay is None or attempts <= 0 or (left is not None and delay >= left):
                    raise
                await asyncio.sleep(delay)

    async def responses(
        self,
        stub: Callable[[Any], Any],
        method: str,
        request: Any,
        how: CallOptions,
        deadline: Deadline,
        pacing: Pacing,
    ) -> AsyncGenerator[Any, None]:
        """Makes a call with a stream of responses. Cancels it when the iteration is given up."""
        with self.calling(stub, method, how, deadline.left()) as begin:
            call = begin(request)
            try:
                await _tell_answered(call, pacing)
                await _tell_metadata(call, how)
                async for response in call:
                    yield response
            finally:
                call.cancel()

    async def page(
        self, stub: Callable[[Any], Any], method: str, request: Any, how: CallOptions, token_key: str
    ) -> tuple[list[Any], str]:
        """Reads a stream of responses to its end.

        Returns:
            The responses, and what the trailing metadata hold under `token_key`.
        """
        pacing = self.pacing()
        deadline = self.deadline(how)
        while True:
            try:
                with self.calling(stub, method, how, deadline.left()) as begin:
                    call = begin(request)
                    # The channel can't retry what was answered. But nobody has seen it yet: it can be asked for again.
                    await _tell_answered(call, pacing)
                    found = [response async for response in call]
                    return found, str(dict(await call.trailing_metadata()).get(token_key, ""))
            except ServiceError as error:
                await pacing.after(error)

    def deadline(self, how: CallOptions) -> Deadline:
        """Begins the time of a call."""
        return Deadline(how.get("timeout", self.options.timeout))

    def pacing(self) -> Pacing:
        """Returns the pace at which a stream that breaks off is taken up again."""
        return Pacing(self.options.patience)

    def _metadata(self, how: CallOptions, request_id: str) -> list[tuple[str, str | bytes]]:
        given = [*self.options.metadata, *how.get("metadata", ())]
        keys = {key.lower() for key, _ in given}
        if REQUEST_ID_KEY not in keys:
            given.append((REQUEST_ID_KEY, request_id))
        token = self.options.bearer()
        if token and "authorization" not in keys:
            given.append(("authorization", f"Bearer {token}"))
        return [(key.lower(), value) for key, value in given]


async def _ready(channel: aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state is not ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


async def collected(items: Iterable[_T] | AsyncIterable[_T]) -> list[_T]:
    """Returns all items of an iterable of either kind."""
    return [each async for each in items] if isinstance(items, AsyncIterable) else list(items)


async def _tell_answered(call: Any, pacing: Pacing) -> None:
    """Waits until the server has begun to answer, which begins the pace, or the call is over."""
    await call.initial_metadata()
    if not call.done():
        pacing.begin()


async def _tell_metadata(call: Any, how: CallOptions) -> None:
    told = how.get("on_metadata")
    if told is not None:
        told(await call.initial_metadata())
