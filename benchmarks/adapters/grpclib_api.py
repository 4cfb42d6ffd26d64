"""Adapters for grpclib."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.events import RecvRequest, SendRequest, listen
from grpclib.server import Server

from benchmarks.adapters import Hold
from benchmarks.certificates import client_context, server_context
from benchmarks.work import HOST, SERVICE, Client, Work

_UNARY, _DOWNLOAD, _UPLOAD, _ECHO = (f"/{SERVICE}/{method}" for method in ("Unary", "Download", "Upload", "Echo"))


class _Bytes(CodecBase):
    """Messages are bytes on both sides, as without serializers in grpcio."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Echo:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    async def unary(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def download(self, stream: Any) -> None:
        for _ in range(int(await stream.recv_message())):
            await stream.send_message(self._payload)

    async def upload(self, stream: Any) -> None:
        total = 0
        async for message in stream:
            total += len(message)
        await stream.send_message(b"%d" % total)

    async def echo(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _UNARY: Handler(self.unary, Cardinality.UNARY_UNARY, bytes, bytes),
            _DOWNLOAD: Handler(self.download, Cardinality.UNARY_STREAM, bytes, bytes),
            _UPLOAD: Handler(self.upload, Cardinality.STREAM_UNARY, bytes, bytes),
            _ECHO: Handler(self.echo, Cardinality.STREAM_STREAM, bytes, bytes),
        }


async def _pass_on(event: object) -> None:
    """Do nothing: grpclib has listeners where the others have interceptors."""


def server(hold: Hold, work: Work) -> None:
    """Serve with grpclib."""

    async def main() -> None:
        server = Server([_Echo(work.payload)], codec=_Bytes())
        if work.interceptors:
            listen(server, RecvRequest, _pass_on)
        await server.start(HOST, 0, ssl=server_context(work))
        # grpclib has no public way to learn which port the system chose.
        port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        await asyncio.to_thread(hold, port)
        server.close()
        await server.wait_closed()

    asyncio.run(main())


@asynccontextmanager
async def client(port: int, work: Work) -> AsyncIterator[Client]:
    """Call with grpclib."""
    options = work.call_options() or dict
    async with Channel(HOST, port, codec=_Bytes(), ssl=client_context(work)) as channel:
        if work.interceptors:
            listen(channel, SendRequest, _pass_on)
        unary_method = UnaryUnaryMethod(channel, _UNARY, bytes, bytes)
        download_method = UnaryStreamMethod(channel, _DOWNLOAD, bytes, bytes)
        upload_method = StreamUnaryMethod(channel, _UPLOAD, bytes, bytes)
        echo_method = StreamStreamMethod(channel, _ECHO, bytes, bytes)

        async def unary(request: bytes) -> bytes | None:
            return await unary_method(request, **options())

        async def download(request: bytes) -> AsyncIterator[bytes]:
            async with download_method.open(**options()) as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    yield message

        async def upload(requests: Iterable[bytes]) -> bytes | None:
            async with upload_method.open(**options()) as stream:
                for message in requests:
                    await stream.send_message(message)
                await stream.end()
                return await stream.recv_message()

        async def hold(request: bytes) -> tuple[Any, bytes | None]:
            stream = await echo_method.open().__aenter__()
            await stream.send_message(request)
            return stream, await stream.recv_message()

        yield Client(unary_method if work.call_options() is None else unary, download, upload, hold)
