"""The connections of a load test, and its calls, of each of the four kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pygrpc
from pygrpc import aio
from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.requests import Place
from pygrpc.load.result import Outcome


def channel_options(plan: Plan) -> list[tuple[str, str | int]]:
    """Returns the options of the plan's channels, of which each has a connection of its own."""
    named = [("grpc.ssl_target_name_override", plan.tls.server_name)] if plan.tls and plan.tls.server_name else []
    return [("grpc.use_local_subchannel_pool", 1), *named, *plan.options]


def credentials(plan: Plan) -> pygrpc.ChannelCredentials | None:
    """Returns the credentials of the plan's channels; None for channels in the clear."""
    tls = plan.tls
    return None if tls is None else pygrpc.ssl_channel_credentials(tls.roots, tls.key, tls.certificate)


async def connect(plan: Plan) -> list[aio.Channel]:
    """Opens the connections of a plan.

    Raises:
        LoadError: The server can't be reached.
    """
    options, identity = channel_options(plan), credentials(plan)
    channels = [
        aio.insecure_channel(plan.target, options)
        if identity is None
        else aio.secure_channel(plan.target, identity, options)
        for _ in range(plan.connections)
    ]
    try:
        async with asyncio.timeout(plan.connect_timeout):
            await asyncio.gather(*(_ready(channel, plan) for channel in channels))
    except TimeoutError:
        await close(channels)
        raise LoadError(f"{plan.target} could not be connected to within {plan.connect_timeout:g} s") from None
    except BaseException:
        await close(channels)
        raise
    return channels


async def close(channels: list[aio.Channel]) -> None:
    """Closes connections."""
    await asyncio.gather(*(channel.close() for channel in channels))


async def _ready(channel: aio.Channel, plan: Plan) -> None:
    """Waits until a channel is connected; one try is enough."""
    state = channel.get_state(try_to_connect=True)
    while state is not pygrpc.ChannelConnectivity.READY:
        if state is pygrpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise LoadError(f"{plan.target} can't be reached: {await _failure(channel)}")
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


async def _failure(channel: aio.Channel) -> str:
    """Tells why a channel can't connect: a state has no text, but a call that fails for it has."""
    try:
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=1)
    except aio.AioRpcError as error:
        return error.details() or error.code().name
    return "the first attempt to connect failed"


class Calls:
    """Makes the calls of a plan; an instance is called with the number of the call and of the client that makes it."""

    def __init__(self, plan: Plan, channels: list[aio.Channel]) -> None:
        """Takes the connections, which the clients share evenly."""
        self._plan = plan
        self._render = plan.requests.renderer()
        self._options: dict[str, Any] = {"timeout": plan.timeout, "metadata": plan.metadata or None}
        kinds = {
            (False, False): ("unary_unary", self._one_response),
            (False, True): ("unary_stream", self._many_responses),
            (True, False): ("stream_unary", self._one_response),
            (True, True): ("stream_stream", self._many_responses),
        }
        kind, self._receive = kinds[plan.client_streaming, plan.server_streaming]
        self._methods = [getattr(channel, kind)(f"/{plan.method}") for channel in channels]

    async def __call__(self, number: int, client: int) -> Outcome:
        """Makes a call.

        Args:
            number: The number of the call among those of this process, from 0; it chooses the request.
            client: The number of the client, from 0; it chooses the connection.
        """
        # The processes take turns, so that a number is never used twice, and each request comes as often as others.
        number = number * self._plan.processes + self._plan.process
        sent: list[int] = []
        request: Any
        if self._plan.client_streaming:
            request = self._requests(number, client, sent)
        else:
            request = self._render(number, Place(number + 1, 1, client, self._plan.process))
            sent.append(len(request))
        received: list[int] = []
        code, message = "OK", ""
        try:
            await self._receive(self._methods[client % len(self._methods)](request, **self._options), received)
        except aio.AioRpcError as error:
            code, message = error.code().name, error.details() or ""
        return Outcome(code, message, len(sent), len(received), sum(sent), sum(received))

    def _requests(self, number: int, client: int, sent: list[int]) -> Iterator[bytes]:
        for index in range(self._plan.messages):
            request = self._render(index, Place(number + 1, index + 1, client, self._plan.process))
            sent.append(len(request))
            yield request

    async def _one_response(self, call: Any, received: list[int]) -> None:
        received.append(len(await call))

    async def _many_responses(self, call: Any, received: list[int]) -> None:
        try:
            async for response in call:
                received.append(len(response))
                if len(received) == self._plan.receive:
                    return
        finally:
            # A call that has ended takes no harm; one that has not is left to the server no longer than this.
            call.cancel()
