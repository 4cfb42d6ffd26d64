"""A server that is sent any bytes over its socket: it answers or closes, and goes on to serve the others.

The hook in conftest.py fails a test when anything reaches the exception handler of the event loop.
"""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pygrpc import aio
from tests.aio.support import method, serving
from tests.core.pair import PREFACE
from tests.properties.strategies import Mutation, any_frames, mutated, mutations
from tests.properties.test_any_bytes import CLIENT_BYTES, SETTINGS_FRAME, request_blocks

conversations = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda changes: mutated(CLIENT_BYTES, changes), mutations),
    st.lists(any_frames(request_blocks), max_size=20).map(lambda frames: PREFACE + SETTINGS_FRAME + b"".join(frames)),
)


async def say(target: str, data: bytes, abruptly: bool) -> None:
    """Says something in two pieces, and listens until the server has nothing to answer any more."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            writer.write(piece)
            await writer.drain()
        if abruptly:
            writer.transport.abort()
        else:
            writer.write_eof()
            await reader.read()
    except ConnectionError:
        # The server has closed the connection before all was said.
        pass
    finally:
        writer.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(conversations, st.booleans()), min_size=1, max_size=5))
async def test_a_server_that_is_sent_any_bytes(said: list[tuple[bytes, bool]]) -> None:
    async with serving() as target, aio.insecure_channel(target) as channel:
        await asyncio.gather(*(say(target, data, abruptly) for data, abruptly in said))
        assert await method(channel, "uu")(b"still there") == b"still there"


async def test_a_conversation_that_breaks_off_anywhere() -> None:
    async with serving() as target, aio.insecure_channel(target) as channel:
        for end in range(0, len(CLIENT_BYTES), 5):
            await say(target, Mutation("cut", end / len(CLIENT_BYTES), 1, b"")(CLIENT_BYTES), end % 2 == 0)
        assert await method(channel, "uu")(b"still there") == b"still there"
