"""UserChat over a socket."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.support import failed, running, until


def says(user_id: str, content: str) -> user_pb2.ChatMessage:
    return user_pb2.ChatMessage(user_id=user_id, content=content)


async def joined(stub: Any) -> Any:
    """Joins the chat and reads the welcome."""
    call = stub.UserChat()
    welcome = await call.read()
    assert (welcome.user_id, welcome.content) == ("system", "Welcome to the chat!")
    return call


async def heard(call: Any) -> tuple[str, str]:
    message = await call.read()
    assert message.timestamp.seconds > 0
    return message.user_id, message.content


async def test_three_clients_talk(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann, bob, cid = [await joined(server.stub) for _ in range(3)]
        await ann.write(says("ann", "hello"))
        assert await heard(ann) == ("ann", "Echo: hello")
        await bob.write(says("bob", "hi"))
        assert await heard(bob) == ("ann", "hello")
        assert await heard(bob) == ("bob", "Echo: hi")
        assert [await heard(cid), await heard(cid)] == [("ann", "hello"), ("bob", "hi")]
        assert await heard(ann) == ("bob", "hi")
        for call in (ann, bob, cid):
            await call.done_writing()
            assert await call.read() is client_aio.EOF
            assert (await call.code()).name == "OK"
        assert server.service.chat.members == 0


async def test_the_time_is_the_servers(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann = await joined(server.stub)
        message = says("ann", "hello")
        message.timestamp.seconds = 17
        await ann.write(message)
        assert (await ann.read()).timestamp.seconds > 1_000_000_000
        ann.cancel()


async def test_who_leaves_is_out_of_the_chat(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann, bob, cid = [await joined(server.stub) for _ in range(3)]
        await bob.done_writing()
        assert await bob.read() is client_aio.EOF
        cid.cancel()
        await until(lambda: server.service.chat.members == 1)
        await ann.write(says("ann", "anybody?"))
        assert await heard(ann) == ("ann", "Echo: anybody?")
        ann.cancel()


async def test_everything_is_echoed_before_the_end(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann = await joined(server.stub)
        for number in range(50):
            await ann.write(says("ann", str(number)))
        await ann.done_writing()
        assert [await heard(ann) for _ in range(50)] == [("ann", f"Echo: {number}") for number in range(50)]
        assert await ann.read() is client_aio.EOF


async def test_a_burst_longer_than_the_queues_reaches_all(client_aio: ModuleType) -> None:
    async with running(client_aio, queue_limit=4) as server:
        ann, bob = [await joined(server.stub) for _ in range(2)]

        async def hear_all(call: Any) -> list[str]:
            return [(await heard(call))[1] for _ in range(100)]

        hearing = asyncio.gather(hear_all(ann), hear_all(bob))
        for number in range(100):
            await ann.write(says("ann", str(number)))
        numbers = [str(number) for number in range(100)]
        assert await hearing == [[f"Echo: {number}" for number in numbers], numbers]
        ann.cancel()
        bob.cancel()


async def failure_at_read(call: Any, client_aio: ModuleType) -> Any:
    try:
        while await call.read() is not client_aio.EOF:
            pass
    except client_aio.AioRpcError as error:
        return failed(error)
    raise AssertionError("the call did not fail")


async def test_a_bad_message_ends_the_call_of_its_sender_only(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann, bob = [await joined(server.stub) for _ in range(2)]
        await ann.write(says("ann", "good"))
        assert await heard(ann) == ("ann", "Echo: good")
        await ann.write(says("", ""))
        failure = await failure_at_read(ann, client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.violations == {"user_id": "must not be empty", "content": "must not be empty"}
        assert await heard(bob) == ("ann", "good")
        await bob.write(says("bob", "still here"))
        assert await heard(bob) == ("bob", "Echo: still here")
        bob.cancel()


async def test_nobody_speaks_for_the_system(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann = await joined(server.stub)
        await ann.write(says("SYSTEM", "Your account has expired."))
        failure = await failure_at_read(ann, client_aio)
        assert failure.violations == {"user_id": 'must not be "system", which is the server'}


async def test_a_client_that_does_not_read_is_dropped(client_aio: ModuleType) -> None:
    async with running(client_aio, queue_limit=4) as server:
        ann, slow = [await joined(server.stub) for _ in range(2)]
        count = 0
        # The windows of HTTP/2 hold some MiB before the server notices: talk until it does.
        while server.service.chat.members == 2:
            count += 1
            assert count < 20_000
            await ann.write(says("ann", "x" * 4096))
            await heard(ann)
        failure = await failure_at_read(slow, client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "the client reads too slowly")
        assert failure.detail(ErrorInfo).reason == "READER_TOO_SLOW"
        await ann.write(says("ann", "still here"))
        assert await heard(ann) == ("ann", "Echo: still here")
        ann.cancel()


async def test_the_chat_ends_when_the_server_shuts_down(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann = await joined(server.stub)
        server.service.shut_down()
        failure = await failure_at_read(ann, client_aio)
        assert (failure.code, failure.message) == ("UNAVAILABLE", "the server is shutting down")
        failure = await failure_at_read(server.stub.UserChat(), client_aio)
        assert failure.code == "UNAVAILABLE"
