"""When a server writes: a lone call at once, several calls together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pygrpc
from pygrpc import aio
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import Http2Settings, create_engine
from tests.core.engine_bench import Recorder
from tests.core.pair import REQUEST


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Client:
    """The other end of a wire."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.wire = Wire()
        self.protocol = protocol
        self.events = Recorder()
        self.engine = create_engine(self.events, Http2Settings(), True)
        self.engine.start()
        protocol.connection_made(self.wire)
        protocol.data_received(self.engine.data_to_send())
        self.wire.written.clear()

    def call(self, times: int) -> None:
        """Sends so many requests at once."""
        for _ in range(times):
            stream_id = self.engine.open_stream(REQUEST, False)
            self.engine.send_data(stream_id, frame_message(b"x"), True)
        self.protocol.data_received(self.engine.data_to_send())


@asynccontextmanager
async def serving(behavior: Any) -> AsyncIterator[Client]:
    server = aio.server()
    method = pygrpc.unary_unary_rpc_method_handler(behavior)
    server.add_registered_method_handlers("a.B", {"C": method})
    await server.start()
    protocol = server.accept_in_process()  # type: ignore[attr-defined]
    client = Client(protocol)
    yield client
    protocol.connection_lost(None)
    await server.stop(None)


async def test_a_lone_answer_is_written_in_the_turn_of_its_handler() -> None:
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def behavior(request: bytes, context: Any) -> bytes:
        # This comes before whatever the answer schedules.
        asyncio.get_running_loop().call_soon(lambda: seen.set_result(len(client.wire.written)))
        return request

    async with serving(behavior) as client:
        client.call(1)
        assert await asyncio.wait_for(seen, 20) == 1
        assert frame_message(b"x") in client.wire.written[0]


async def test_answers_of_one_turn_share_a_write() -> None:
    served = 0
    done = asyncio.Event()

    async def behavior(request: bytes, context: Any) -> bytes:
        nonlocal served
        served += 1
        if served == 5:
            asyncio.get_running_loop().call_soon(done.set)
        return request

    async with serving(behavior) as client:
        client.call(5)
        await asyncio.wait_for(done.wait(), 20)
        (written,) = client.wire.written
        assert written.count(frame_message(b"x")) == 5
