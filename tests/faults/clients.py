"""The synchronous and the asyncio client behind one face, so that each fault is written down once."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pygrpc
from pygrpc import aio
from tests.faults.proxy import BOUND
from tests.faults.servers import method

#: How a call ended: the name of its code, and its answers or its details.
End = tuple[str, Any]


class SyncStream:
    """A call of ``ss`` or ``us`` that goes on."""

    def __init__(self, channel: Any, name: str, **arguments: Any) -> None:
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        requests = b"" if name[0] == "u" else iter(self._requests.get, None)
        self._call = method(channel, name)(requests, timeout=BOUND, **arguments)

    def write(self, request: bytes) -> None:
        self._requests.put(request)

    def read(self) -> bytes:
        answer: bytes = next(self._call)
        return answer

    def end(self) -> End:
        """Reads to the end."""
        self._requests.put(None)
        try:
            return "OK", list(self._call)
        except pygrpc.RpcError as error:
            return error.code().name, error.details()


class SyncClient:
    """A channel of ``pygrpc``."""

    def __init__(self, target: str, options: Any) -> None:
        self.channel = pygrpc.insecure_channel(target, options=options)

    def call(self, request: bytes = b"", name: str = "uu", **arguments: Any) -> End:
        """Makes a call with a single request and waits for its end."""
        return self.begin(request, name, **arguments)()

    def begin(self, request: bytes = b"", name: str = "uu", **arguments: Any) -> Callable[[], End]:
        """Makes a call; what is returned waits for its end."""
        call = getattr(method(self.channel, name), "future" if name[1] == "u" else "__call__")
        begun = call(request, **{"timeout": BOUND, **arguments})

        def end() -> End:
            try:
                return "OK", begun.result() if name[1] == "u" else list(begun)
            except pygrpc.RpcError as error:
                return error.code().name, error.details()

        return end

    def upload(self, requests: Iterator[bytes], **arguments: Any) -> End:
        """Makes a call with a stream of requests and waits for its end."""
        try:
            return "OK", method(self.channel, "su")(requests, **{"timeout": BOUND, **arguments})
        except pygrpc.RpcError as error:
            return error.code().name, error.details()

    def stream(self, name: str = "ss", **arguments: Any) -> SyncStream:
        return SyncStream(self.channel, name, **arguments)

    def wait_for_state(self, wanted: Callable[[str], bool], connect: bool = False) -> None:
        """Waits until the channel is in a state; connects if it is idle and told so."""
        reached = threading.Event()

        def look(state: Any) -> None:
            if wanted(state.name):
                reached.set()

        self.channel.subscribe(look, try_to_connect=connect)
        assert reached.wait(BOUND), "the channel did not get into the state"
        self.channel.unsubscribe(look)

    def close(self) -> None:
        self.channel.close()


class AioStream:
    """A call of ``ss`` or ``us`` that goes on."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], channel: Any, name: str, **arguments: Any):
        self._run = run
        self._name = name

        async def begin() -> Any:
            requests = (b"",) if name[0] == "u" else ()
            return method(channel, name)(*requests, timeout=BOUND, **arguments)

        self._call = run(begin())

    def write(self, request: bytes) -> None:
        self._run(self._call.write(request))

    def read(self) -> bytes:
        answer: bytes = self._run(self._call.read())
        return answer

    def end(self) -> End:
        async def end() -> End:
            answers = []
            try:
                if self._name[0] == "s" and not self._call.done():
                    await self._call.done_writing()
                while (answer := await self._call.read()) is not aio.EOF:
                    answers.append(answer)
            except aio.AioRpcError as error:
                return error.code().name, error.details()
            return (await self._call.code()).name, answers

        ended: End = self._run(end())
        return ended


class AioClient:
    """A channel of ``pygrpc.aio``, whose loop runs while a method waits."""

    def __init__(self, target: str, options: Any) -> None:
        self._runner = asyncio.Runner()
        self._run = self._runner.run

        async def make() -> Any:
            return aio.insecure_channel(target, options=options)

        self.channel = self._run(make())

    def call(self, request: bytes = b"", name: str = "uu", **arguments: Any) -> End:
        return self.begin(request, name, **arguments)()

    def begin(self, request: bytes = b"", name: str = "uu", **arguments: Any) -> Callable[[], End]:
        async def begin() -> Any:
            return method(self.channel, name)(request, **{"timeout": BOUND, **arguments})

        begun = self._run(begin())

        async def end() -> End:
            try:
                return "OK", await begun if name[1] == "u" else [answer async for answer in begun]
            except aio.AioRpcError as error:
                return error.code().name, error.details()

        return lambda: self._run(end())

    def upload(self, requests: Iterator[bytes], **arguments: Any) -> End:
        async def each() -> AsyncIterator[bytes]:
            for request in requests:
                yield request

        async def run() -> End:
            try:
                return "OK", await method(self.channel, "su")(each(), **{"timeout": BOUND, **arguments})
            except aio.AioRpcError as error:
                return error.code().name, error.details()

        ended: End = self._run(run())
        return ended

    def stream(self, name: str = "ss", **arguments: Any) -> AioStream:
        return AioStream(self._run, self.channel, name, **arguments)

    def wait_for_state(self, wanted: Callable[[str], bool], connect: bool = False) -> None:
        async def wait() -> None:
            async with asyncio.timeout(BOUND):
                while not wanted((state := self.channel.get_state(connect)).name):
                    await self.channel.wait_for_state_change(state)

        self._run(wait())

    def close(self) -> None:
        self._run(self.channel.close())
        self._runner.close()


Client = SyncClient | AioClient
CLIENTS: dict[str, type[SyncClient] | type[AioClient]] = {"sync": SyncClient, "aio": AioClient}
