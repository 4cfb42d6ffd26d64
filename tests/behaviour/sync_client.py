"""The client of a synchronous API behind the names of `grpc.aio`, for behaviours to run over it.

It is as thin as can be: whatever blocks is called in a thread, and its outcome is awaited. What it translates is only
what the two APIs say in different words:

- `await call` that follows at once is the blocking `with_call`; a call that is held first is a `future`.
- `read()` and `async for` are `next(call)`, and its end is `EOF`.
- `write()` and `done_writing()` feed an iterator of requests, which is the only way in for a synchronous API.
- A call that was cancelled here raises `asyncio.CancelledError`, not FutureCancelledError or the call itself.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Any

from tests.behaviour.threads import in_thread, post, settle


class Eof:
    """What `read()` returns behind the last message."""

    def __bool__(self) -> bool:
        return False


EOF = Eof()


class Channel:
    """A channel of a synchronous API."""

    def __init__(self, root: Any, channel: Any) -> None:
        self.root = root
        self._channel = channel
        self._closed = False
        self._work: set[asyncio.Future[Any]] = set()
        self._held: UnaryCall | None = None

    def work(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Do something that may block; to close the channel waits for it."""
        future = in_thread(function, *arguments)
        self._work.add(future)
        future.add_done_callback(self._work.discard)
        return asyncio.shield(future)

    def hold(self, call: UnaryCall | None) -> None:
        """Let the call that was made before begin, since another one is made now, or the channel closes."""
        if self._held is not None:
            self._held.begin()
        self._held = call

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        self.hold(None)
        await in_thread(self._channel.close)
        if self._work:
            await asyncio.wait(self._work)

    def unary_unary(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return Method(self, UnaryCall, self._channel.unary_unary(method, *arguments, **settings))

    def unary_stream(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return Method(self, StreamCall, self._channel.unary_stream(method, *arguments, **settings))

    def stream_unary(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return StreamingMethod(self, UnaryCall, self._channel.stream_unary(method, *arguments, **settings))

    def stream_stream(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return StreamingMethod(self, StreamCall, self._channel.stream_stream(method, *arguments, **settings))

    async def channel_ready(self) -> None:
        await self.work(self.root.channel_ready_future(self._channel).result)

    def get_state(self, try_to_connect: bool = False) -> Any:
        """Return what an observer is told first, which is the present state."""
        if self._closed:
            return self.root.ChannelConnectivity.SHUTDOWN
        states: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._channel.subscribe(states.put, try_to_connect)
        try:
            return states.get(timeout=20)
        finally:
            self._channel.unsubscribe(states.put)

    async def wait_for_state_change(self, last: Any) -> None:
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[Any] = loop.create_future()

        def observe(state: Any) -> None:
            if state is not last:
                post(loop, settle, changed, state)

        self._channel.subscribe(observe)
        await changed
        self._channel.unsubscribe(observe)


class Method:
    """A multi-callable with a single request."""

    def __init__(self, channel: Channel, kind: type[Call], multi_callable: Any) -> None:
        self._channel = channel
        self._kind = kind
        self._multi_callable = multi_callable

    def __call__(self, request: Any, **arguments: Any) -> Any:
        return self._kind(self._channel, self._multi_callable, request, arguments)


class StreamingMethod(Method):
    """A multi-callable with a stream of requests."""

    def __call__(self, requests: Any = None, **arguments: Any) -> Any:
        if requests is None:
            source: Any = WrittenRequests()
        elif isinstance(requests, AsyncIterable):
            source = AwaitedRequests(requests)
        else:
            return self._kind(self._channel, self._multi_callable, iter(requests), arguments)
        call = self._kind(self._channel, self._multi_callable, source, arguments)
        call.requests = source
        call.add_done_callback(lambda _: source.stop(call.error()))
        return call


class WrittenRequests(Iterator[Any]):
    """The requests that are written to a call."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        #: What the thread that sends the requests has taken last.
        self._taken: asyncio.Future[Any] | None = None
        self._written: asyncio.Future[Any] | None = None

    def __next__(self) -> Any:
        if self._taken is not None:
            # The API asks for one more, so it is done with the one before.
            post(self._loop, settle, self._taken)
        item, self._taken = self._queue.get()
        if item is EOF:
            raise StopIteration
        return item

    async def write(self, item: Any) -> None:
        self._written = self._loop.create_future()
        self._queue.put((item, self._written))
        await self._written

    def end(self) -> None:
        self._queue.put((EOF, None))

    def stop(self, error: Exception | None) -> None:
        """The call is over, by an error or well."""
        if self._written is not None:
            settle(self._written, error=error)
        self.end()


class AwaitedRequests(Iterator[Any]):
    """The requests of an asynchronous iterable, which runs on the loop of the test."""

    def __init__(self, requests: AsyncIterable[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests = requests
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wanted = asyncio.Semaphore(0)
        self._task = self._loop.create_task(self._feed())

    async def _feed(self) -> None:
        try:
            async for request in self._requests:
                await self._wanted.acquire()
                self._queue.put((request, None))
        except asyncio.CancelledError:
            self._queue.put((None, StopIteration()))
        except Exception as error:
            self._queue.put((None, error))
        else:
            self._queue.put((None, StopIteration()))

    def __next__(self) -> Any:
        post(self._loop, self._wanted.release)
        request, error = self._queue.get()
        if error is not None:
            raise error
        return request

    def stop(self, error: Exception | None) -> None:
        """The call is over."""
        self._task.cancel()


class Call:
    """A call of a synchronous API."""

    requests: Any = None

    def __init__(self, channel: Channel, multi_callable: Any, request: Any, arguments: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._multi_callable = multi_callable
        self._request = request
        self._arguments = arguments

    @property
    def begun(self) -> Any:
        """What the synchronous API returned."""
        raise NotImplementedError

    async def code(self) -> Any:
        return await self._channel.work(self.begun.code)

    async def details(self) -> Any:
        return await self._channel.work(self.begun.details)

    async def initial_metadata(self) -> Any:
        return await self._channel.work(self.begun.initial_metadata)

    async def trailing_metadata(self) -> Any:
        return await self._channel.work(self.begun.trailing_metadata)

    def done(self) -> bool:
        return bool(self.begun.done())

    def cancelled(self) -> bool:
        return bool(self.begun.cancelled())

    def cancel(self) -> bool:
        return bool(self.begun.cancel())

    def error(self) -> Any:
        """The error of a call that is over."""
        return None if self.cancelled() or self.begun.code() is self._channel.root.StatusCode.OK else self.begun

    def time_remaining(self) -> Any:
        return self.begun.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.begun.add_done_callback(lambda _: post(self._loop, callback, self))

    async def write(self, request: Any) -> None:
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        await self.requests.write(request)

    async def done_writing(self) -> None:
        self.requests.end()


class UnaryCall(Call):
    """A call with one response."""

    def __init__(self, channel: Channel, multi_callable: Any, request: Any, arguments: dict[str, Any]) -> None:
        super().__init__(channel, multi_callable, request, arguments)
        self._begun: Any = None
        self._blocking: asyncio.Future[Any] | None = None
        self._refusal: Exception | None = None
        channel.hold(self)
        self._loop.call_soon(self.begin)

    def begin(self) -> None:
        """Begin without waiting, unless it is waited for."""
        if self._begun is None and self._blocking is None and self._refusal is None:
            try:
                self._begun = self._multi_callable.future(self._request, **self._arguments)
            except Exception as error:
                self._refusal = error

    @property
    def begun(self) -> Any:
        self.begin()
        if self._refusal is not None:
            raise self._refusal
        assert self._begun is not None, "nobody can ask a call that a thread waits for"
        return self._begun

    def _run(self) -> Any:
        try:
            response, self._begun = self._multi_callable.with_call(self._request, **self._arguments)
        except self._channel.root.RpcError as error:
            self._begun = error
            raise
        return response

    def __await__(self) -> Any:
        return self._response().__await__()

    async def _response(self) -> Any:
        if self._begun is None and self._blocking is None and self._refusal is None:
            self._blocking = self._channel.work(self._run)
        if self._blocking is not None:
            return await asyncio.shield(self._blocking)
        try:
            return await self._channel.work(self.begun.result)
        except self._channel.root.FutureCancelledError:
            raise asyncio.CancelledError from None


class StreamCall(Call):
    """A call with a stream of responses."""

    def __init__(self, channel: Channel, multi_callable: Any, request: Any, arguments: dict[str, Any]) -> None:
        super().__init__(channel, multi_callable, request, arguments)
        channel.hold(None)
        try:
            self._begun = multi_callable(request, **arguments)
        except channel.root.RpcError as error:
            # The synchronous API raises at once, and this when it is read.
            self._begun = error

    @property
    def begun(self) -> Any:
        return self._begun

    async def read(self) -> Any:
        try:
            if not hasattr(self._begun, "__next__"):
                raise self._begun
            return await self._channel.work(next, self._begun, EOF)
        except self._channel.root.RpcError:
            if self._begun.cancelled():
                raise asyncio.CancelledError from None
            raise

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await self.read()
        if message is EOF:
            raise StopAsyncIteration
        return message
