"""Adapters for grpclib."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Channel, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from benchmarks.adapters import HOST, Hold
from benchmarks.scenarios import PAYLOAD, SERVICE, Client

_UNARY, _DOWNLOAD, _UPLOAD = (f"/{SERVICE}/{method}" for method in ("Unary", "Download", "Upload"))


class _Bytes(CodecBase):
    """Messages are bytes on both sides, as without serializers in grpcio."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Echo:
    async def unary(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def download(self, stream: Any) -> None:
        for _ in range(int(await stream.recv_message())):
            await stream.send_message(PAYLOAD)

    async def upload(self, stream: Any) -> None:
        total = 0
        async for message in stream:
            total += len(message)
        await stream.send_message(b"%d" % total)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _UNARY: Handler(self.unary, Cardinality.UNARY_UNARY, bytes, bytes),
            _DOWNLOAD: Handler(self.download, Cardinality.UNARY_STREAM, bytes, bytes),
            _UPLOAD: Handler(self.upload, Cardinality.STREAM_UNARY, bytes, bytes),
        }


def server(hold: Hold) -> None:
    """Serve with grpclib."""

    async def main() -> None:
        server = Server([_Echo()], codec=_Bytes())
        await server.start(HOST, 0)
        # grpclib has no public way to learn which port the system chose.
        port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        await asyncio.to_thread(hold, port)
        server.close()
        await server.wait_closed()

    asyncio.run(main())


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    """Call with grpclib."""
    async with Channel(HOST, port, codec=_Bytes()) as channel:
        download_method = UnaryStreamMethod(channel, _DOWNLOAD, bytes, bytes)
        upload_method = StreamUnaryMethod(channel, _UPLOAD, bytes, bytes)

        async def download(request: bytes) -> AsyncIterator[bytes]:
            async with download_method.open() as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    yield message

        async def upload(requests: Iterable[bytes]) -> bytes | None:
            async with upload_method.open() as stream:
                for message in requests:
                    await stream.send_message(message)
                await stream.end()
                return await stream.recv_message()

        yield Client(UnaryUnaryMethod(channel, _UNARY, bytes, bytes), download, upload)
