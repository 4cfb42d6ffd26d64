"""Context variables: what was set before a server starts, or a call, reaches what runs for it."""

from __future__ import annotations

import contextvars
from typing import Any

from pygrpc import aio
from tests.aio.support import make_server, method

WHERE: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


class OnServer(aio.ServerInterceptor):
    """Says where it runs, and sets the variable for what follows if it is told so."""

    def __init__(self, sets: str | None) -> None:
        self.seen: list[str] = []
        self._sets = sets

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.seen.append(WHERE.get())
        if self._sets is not None:
            WHERE.set(self._sets)
        return await continuation(handler_call_details)


class OnClient(aio.UnaryUnaryClientInterceptor):
    """Says where it runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.seen.append(WHERE.get())
        return await continuation(client_call_details, request)


async def tell(request: bytes, context: Any) -> bytes:
    return WHERE.get().encode()


def tell_in_a_thread(request: bytes, context: Any) -> bytes:
    return WHERE.get().encode()


async def check(behaviour: Any, interceptors: list[OnServer], expected: bytes) -> None:
    token = WHERE.set("server")
    server = make_server(uu=behaviour, interceptors=interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    WHERE.reset(token)
    on_client = OnClient()
    async with aio.insecure_channel(f"127.0.0.1:{port}", interceptors=[on_client]) as channel:
        WHERE.set("caller")
        assert await method(channel, "uu")(b"") == expected
        # Calls do not change each other's.
        assert await method(channel, "uu")(b"") == expected
    assert on_client.seen == ["caller"] * 2
    await server.stop(None)


async def test_handlers_see_what_was_set_when_the_server_started() -> None:
    await check(tell, [], b"server")
    await check(tell_in_a_thread, [], b"server")


async def test_handlers_see_what_an_interceptor_has_set() -> None:
    first, second = OnServer("interceptor"), OnServer(None)
    await check(tell, [first, second], b"interceptor")
    assert (first.seen, second.seen) == (["server"] * 2, ["interceptor"] * 2)
    await check(tell_in_a_thread, [OnServer("interceptor")], b"interceptor")
