"""The objects that programs get from a library, made by the public names of `grpc` and `grpc.aio`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}
SERVICE = "parity.Service"

#: Seconds that a wait may take.
BOUND = 20.0


def handlers(root: Any, functions: dict[str, Any]) -> tuple[Any, Any]:
    """Returns a method handler and the generic handler that it belongs to."""
    made = {arity: getattr(root, f"{name}_rpc_method_handler")(functions[arity]) for arity, name in ARITIES.items()}
    return made["uu"], root.method_handlers_generic_handler(SERVICE, made)


def sync_objects(root: Any) -> dict[str, Any]:
    """Returns objects of the synchronous API by what they are."""
    found: dict[str, Any] = {}

    def uu(request: bytes, context: Any) -> bytes:
        found["servicer context"] = context
        return request

    class Client(root.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            found["client call details"] = details
            found["call for interceptors"] = proceed(details, request)
            return found["call for interceptors"]

    class Server(root.ServerInterceptor):
        def intercept_service(self, proceed: Any, details: Any) -> Any:
            found["handler call details"] = details
            return proceed(details)

    def us(request: bytes, context: Any) -> Iterator[bytes]:
        yield request

    functions = {"uu": uu, "us": us, "su": lambda requests, _: b"".join(requests), "ss": lambda requests, _: requests}
    found["method handler"], found["generic handler"] = handlers(root, functions)
    with futures.ThreadPoolExecutor(4) as pool:
        server = found["server"] = root.server(pool, [found["generic handler"]], [Server()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with root.insecure_channel(f"127.0.0.1:{port}") as channel:
            found["channel"] = channel
            found["future of readiness"] = root.channel_ready_future(channel)
            found["future of readiness"].result(BOUND)
            for arity in ARITIES:
                found.update(sync_calls(root, channel, arity))
            found["intercepted channel"] = root.intercept_channel(channel, Client())
            method = found["intercepted multi-callable"] = found["intercepted channel"].unary_unary(f"/{SERVICE}/uu")
            found["intercepted future"] = method.future(b"")
            found["intercepted future"].result(BOUND)
            found["intercepted call"] = method.with_call(b"")[1]
        server.stop(None).wait(BOUND)
    return found


def sync_calls(root: Any, channel: Any, arity: str) -> dict[str, Any]:
    """Returns the multi-callable of an arity, and what its calls return and raise."""

    def request() -> Any:
        return b"" if arity[0] == "u" else iter([b""])

    factory = getattr(channel, ARITIES[arity])
    method, absent = factory(f"/{SERVICE}/{arity}"), factory(f"/{SERVICE}/absent")
    found = {"multi-callable": method}
    if arity[1] == "u":
        found["future"] = method.future(request())
        found["future"].result(BOUND)
        found["call"] = method.with_call(request())[1]
        found["error of a future"] = absent.future(request()).exception(BOUND)
        try:
            absent(request())
        except root.RpcError as error:
            found["error"] = error
    else:
        found["call"] = method(request())
        assert list(found["call"]) == [b""]
    return {f"{arity} {what}": value for what, value in found.items()}


def credentials(root: Any) -> dict[str, Any]:
    """Returns credentials of each kind that needs no cloud, and a channel with some."""
    channel, call = root.ssl_channel_credentials(), root.access_token_call_credentials("token")
    with root.secure_channel("127.0.0.1:1", channel) as secure:
        return {
            "secure channel": secure,
            "channel credentials": channel,
            "call credentials": call,
            "composite call credentials": root.composite_call_credentials(call, call),
            "composite channel credentials": root.composite_channel_credentials(channel, call),
            "local channel credentials": root.local_channel_credentials(),
            "local server credentials": root.local_server_credentials(),
            "insecure server credentials": root.insecure_server_credentials(),
        }


async def aio_objects(root: Any) -> dict[str, Any]:
    """Returns objects of the asyncio API by what they are."""
    aio = root.aio
    found: dict[str, Any] = {}

    async def uu(request: bytes, context: Any) -> bytes:
        found["servicer context"] = context
        return request

    async def us(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request

    async def su(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    async def ss(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    def interceptor(arity: str) -> Any:
        async def intercept(self: Any, proceed: Any, details: Any, request: Any) -> Any:
            found[f"{arity} client call details"] = details
            return await proceed(details, request)

        base = getattr(aio, "".join(part.title() for part in ARITIES[arity].split("_")) + "ClientInterceptor")
        return type("Interceptor", (base,), {f"intercept_{ARITIES[arity]}": intercept})()

    _, generic = handlers(root, {"uu": uu, "us": us, "su": su, "ss": ss})
    server = found["server"] = aio.server(handlers=[generic])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for kind, interceptors in (("plain", []), ("intercepted", [interceptor(arity) for arity in ARITIES])):
        async with aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors) as channel:
            found[f"{kind} channel"] = channel
            for arity, name in ARITIES.items():
                method = found[f"{kind} {arity} multi-callable"] = getattr(channel, name)(f"/{SERVICE}/{arity}")
                call = found[f"{kind} {arity} call"] = method(b"" if arity[0] == "u" else [b""])
                if arity[1] == "u":
                    assert await call == b""
                else:
                    assert [message async for message in call] == [b""]
            found[f"{kind} metadata"] = await call.initial_metadata()
            try:
                await channel.unary_unary(f"/{SERVICE}/absent")(b"")
            except aio.AioRpcError as error:
                found[f"{kind} error"] = error
    await server.stop(None)
    return found
