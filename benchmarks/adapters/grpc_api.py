"""Adapters for packages with grpcio's API: its own two, and pygrpc."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

from benchmarks import certificates
from benchmarks.adapters import Hold
from benchmarks.work import HOST, KIB, SERVICE, Client, Work

WORKERS = 32


def _options(work: Work) -> list[tuple[str, int]]:
    """Return what the work cannot do without; everything else is left at its default."""
    options = []
    if work.connections > 1:
        # grpcio's channels to the same address share a connection otherwise.
        options.append(("grpc.use_local_subchannel_pool", 1))
    if work.size > 4096 * KIB:
        options += [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if work.metadata > 4 * KIB:
        # A header counts 32 bytes more than its name and value (RFC 9113, section 6.5.2).
        options += [
            (f"grpc.{limit}", 2 * work.metadata) for limit in ("max_metadata_size", "absolute_max_metadata_size")
        ]
    return options


def _handlers(grpc: Any, unary: Any, download: Any, upload: Any, **more: Any) -> tuple[Any, ...]:
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Download": grpc.unary_stream_rpc_method_handler(download),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        **more,
    }
    return (grpc.method_handlers_generic_handler(SERVICE, methods),)


def _listen(grpc: Any, server: Any, work: Work) -> int:
    if not work.tls:
        return int(server.add_insecure_port(f"{HOST}:0"))
    pair = (certificates.path("server.key").read_bytes(), certificates.path("server.pem").read_bytes())
    return int(server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([pair])))


def _channel(grpc: Any, module: Any, port: int, work: Work, interceptors: Any = None) -> Any:
    keywords = {"options": _options(work)} | ({} if interceptors is None else {"interceptors": interceptors})
    if not work.tls:
        return module.insecure_channel(f"{HOST}:{port}", **keywords)
    credentials = grpc.ssl_channel_credentials(certificates.path("ca.pem").read_bytes())
    return module.secure_channel(f"{HOST}:{port}", credentials, **keywords)


def _client(channel: Any, work: Work, hold: Any = None) -> Client:
    unary = channel.unary_unary(f"/{SERVICE}/Unary")
    download = channel.unary_stream(f"/{SERVICE}/Download")
    upload = channel.stream_unary(f"/{SERVICE}/Upload")
    options = work.call_options()
    if options is None:
        return Client(unary, download, upload, hold)
    return Client(
        lambda request: unary(request, **options()),
        lambda request: download(request, **options()),
        lambda requests: upload(requests, **options()),
        hold,
    )


def aio_server(package: str, hold: Hold, work: Work) -> None:
    """Serve with `package.aio`."""
    grpc, aio = import_module(package), import_module(f"{package}.aio")
    payload = work.payload

    async def unary(request: bytes, context: Any) -> bytes:
        return request

    async def download(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield payload

    async def upload(requests: AsyncIterator[bytes], context: Any) -> bytes:
        total = 0
        async for message in requests:
            total += len(message)
        return b"%d" % total

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in requests:
            yield message

    class Interceptor(aio.ServerInterceptor):  # type: ignore[misc,name-defined]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            return await continuation(details)

    async def main() -> None:
        server = aio.server(interceptors=[Interceptor()] if work.interceptors else None, options=_options(work))
        handlers = _handlers(grpc, unary, download, upload, Echo=grpc.stream_stream_rpc_method_handler(echo))
        server.add_generic_rpc_handlers(handlers)
        port = _listen(grpc, server, work)
        await server.start()
        await asyncio.to_thread(hold, port)
        await server.stop(None)

    asyncio.run(main())


def _aio_interceptors(aio: Any) -> list[Any]:
    # An interceptor has one kind: `grpc.aio` looks no further once it has found one.
    class Unary(aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return await continuation(details, request)

    class Download(aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            return await continuation(details, request)

    class Upload(aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
        async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
            return await continuation(details, requests)

    return [Unary(), Download(), Upload()]


@asynccontextmanager
async def aio_client(package: str, port: int, work: Work) -> AsyncIterator[Client]:
    """Call with `package.aio`."""
    grpc, aio = import_module(package), import_module(f"{package}.aio")
    async with _channel(grpc, aio, port, work, _aio_interceptors(aio) if work.interceptors else None) as channel:
        echo = channel.stream_stream(f"/{SERVICE}/Echo")

        async def hold(request: bytes) -> tuple[Any, bytes]:
            call = echo()
            await call.write(request)
            return call, await call.read()

        yield _client(channel, work, hold)


def blocking_server(package: str, hold: Hold, work: Work) -> None:
    """Serve with the synchronous API of `package`."""
    grpc = import_module(package)
    payload = work.payload

    def unary(request: bytes, context: Any) -> bytes:
        return request

    def download(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield payload

    def upload(requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(map(len, requests))

    class Interceptor(grpc.ServerInterceptor):  # type: ignore[misc,name-defined]
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            return continuation(details)

    with ThreadPoolExecutor(WORKERS) as pool:
        server = grpc.server(pool, interceptors=[Interceptor()] if work.interceptors else None, options=_options(work))
        server.add_generic_rpc_handlers(_handlers(grpc, unary, download, upload))
        port = _listen(grpc, server, work)
        server.start()
        hold(port)
        server.stop(None).wait()


def _blocking_interceptor(grpc: Any) -> Any:
    kinds = (grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor)

    def intercept(self: Any, continuation: Any, details: Any, request: bytes | Iterable[bytes]) -> Any:
        return continuation(details, request)

    names = ("intercept_unary_unary", "intercept_unary_stream", "intercept_stream_unary")
    return type("Interceptor", kinds, dict.fromkeys(names, intercept))()


@contextmanager
def blocking_client(package: str, port: int, work: Work) -> Iterator[Client]:
    """Call with the synchronous API of `package`."""
    grpc = import_module(package)
    with _channel(grpc, grpc, port, work) as channel:
        intercepted = grpc.intercept_channel(channel, _blocking_interceptor(grpc)) if work.interceptors else channel
        yield _client(intercepted, work)
