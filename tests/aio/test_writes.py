"""When a connection writes: a lone call at once, several calls together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

import pygrpc
from pygrpc import aio
from pygrpc.aio.transport import Transport
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


class Turns:
    """A loop of which the test runs the turns."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def time(self) -> float:
        return 0.0

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


class Output:
    """A core that has something to write, or fails."""

    failure = wakeup = None
    closing = sending_paused = False
    ready = True

    def __init__(self) -> None:
        self.queued: list[bytes] = []

    def data_to_send(self) -> bytes:
        return self.queued.pop(0) if self.queued else b""

    def receive_data(self, data: bytes, now: float) -> None:
        raise ZeroDivisionError


def test_a_writer_who_flushes_by_itself_needs_one_turn_for_all_messages() -> None:
    loop, core, wire = Turns(), Output(), Wire()
    transport: Transport[Any] = Transport(cast(Any, loop))
    transport.core, transport._transport = core, wire
    for number in range(5):
        core.queued.append(b"%d" % number)
        transport.flush_soon()
        transport.flush()
    assert wire.written == [b"0", b"1", b"2", b"3", b"4"]
    assert len(loop.ready) == 1
    core.queued.append(b"last")
    transport.flush_soon()
    loop.turn()
    assert wire.written[-1] == b"last"
    core.queued.append(b"of the next turn")
    transport.flush_soon()
    loop.turn()
    assert wire.written[-1] == b"of the next turn"
    assert not loop.ready


def test_an_error_while_bytes_are_handled_holds_no_output_back() -> None:
    loop, core, wire = Turns(), Output(), Wire()
    transport: Transport[Any] = Transport(cast(Any, loop))
    transport.core, transport._transport = core, wire
    with pytest.raises(ZeroDivisionError):
        transport.data_received(b"x")
    core.queued.append(b"goodbye")
    transport.flush_soon()
    loop.turn()
    assert wire.written == [b"goodbye"]
