"""The file services on a real socket with a client of either library, and what the tests ask of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc import aio
from pygrpc.services.files import Limits, OpenFiles, Storage, open_files
from pygrpc.services.files.storage import Part
from pygrpc.services.protos.file import file_pb2 as old_pb2
from pygrpc.services.protos.file import file_pb2_grpc as old_pb2_grpc
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from tests.services.support import Failure, failed, until

ANN = (("user-id", "ann"),)
BOB = (("user-id", "bob"),)


class Place(NamedTuple):
    """Where files are: a folder or a URL; and their catalog, if it is not in the folder."""

    url: Path | str
    database: str = ""


class Watched:
    """A storage that knows the part that was opened last."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.part: Part | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open_part(self, name: str, size: int) -> Part:
        self.part = await self._inner.open_part(name, size)
        return self.part


@dataclass(frozen=True)
class Running:
    """A server in this process, and a client connected to it."""

    stub: Any
    old: Any
    files: OpenFiles
    address: str
    watched: Watched

    def parts(self) -> list[str]:
        return list(self.files.storage.part_names())

    def blobs(self) -> list[str]:
        return list(self.files.storage.blob_names())


@asynccontextmanager
async def running(
    client_aio: ModuleType,
    place: Place | Path,
    *,
    limits: Limits | None = None,
    wrap: Callable[[Storage], Storage] = lambda storage: storage,
    clock: Callable[[], int] | None = None,
) -> AsyncIterator[Running]:
    """Serves files on a free port."""
    extra: Any = {} if clock is None else {"clock": clock}
    url, database = place if isinstance(place, Place) else Place(place)
    watched: list[Watched] = []

    def watch(storage: Storage) -> Storage:
        watched.append(Watched(wrap(storage)))
        return watched[0]

    async with open_files(url, database=database, limits=limits, wrap=watch, **extra) as files:
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        files.add_to(server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with client_aio.insecure_channel(address) as channel:
                yield Running(
                    file_pb2_grpc.FileServiceStub(channel),
                    old_pb2_grpc.FileServiceStub(channel),
                    files,
                    address,
                    watched[0],
                )
        finally:
            await server.stop(None)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def header(filename: str = "a.txt", **given: Any) -> file_pb2.UploadFileRequest:
    return file_pb2.UploadFileRequest(header=file_pb2.UploadFileHeader(filename=filename, **given))


def chunk(data: bytes, **given: Any) -> file_pb2.UploadFileRequest:
    return file_pb2.UploadFileRequest(chunk=file_pb2.FileChunk(data=data, **given))


def requests(data: bytes, size: int = 1000, **given: Any) -> Iterator[file_pb2.UploadFileRequest]:
    """Makes the messages of an upload."""
    yield header(**given)
    for start in range(given.get("offset", 0), len(data), size):
        yield chunk(data[start : start + size], offset=start)


async def upload(stub: Any, data: bytes, metadata: Any = ANN, **given: Any) -> file_pb2.FileInfo:
    """Uploads a file."""
    response: file_pb2.UploadFileResponse = await stub.UploadFile(requests(data, **given), metadata=metadata)
    return response.file


async def download(stub: Any, file_id: str, metadata: Any = ANN, **given: Any) -> tuple[file_pb2.FileInfo, bytes]:
    """Downloads a file, and checks the order of the messages."""
    request = file_pb2.DownloadFileRequest(file_id=file_id, **given)
    info, data = None, b""
    offset = given.get("offset", 0)
    async for message in stub.DownloadFile(request, metadata=metadata):
        if info is None:
            assert message.WhichOneof("payload") == "file"
            info = message.file
            continue
        assert message.chunk.offset == offset + len(data)
        data += message.chunk.data
        assert message.chunk.checksum == (info.checksum if offset + len(data) == info.size else "")
    assert info is not None
    return info, data


def old_chunks(
    data: bytes, size: int = 1000, *, file_id: str = "", filename: str = "a.txt", checksum: str | None = None
) -> list[old_pb2.FileChunk]:
    """Makes the messages of an unversioned upload, as the clients of that contract do."""
    total = max(1, -(-len(data) // size))
    return [
        old_pb2.FileChunk(
            file_id=file_id,
            filename=filename,
            data=data[number * size : (number + 1) * size],
            chunk_number=number + 1,
            total_chunks=total,
            checksum=(sha256(data) if checksum is None else checksum) if number == total - 1 else "",
        )
        for number in range(total)
    ]


async def failure_of(call: Any, client_aio: ModuleType) -> Failure:
    """Awaits or reads a call that has to fail."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except client_aio.AioRpcError as error:
        return failed(error)
    raise AssertionError("the call did not fail")


def reason(failure: Failure) -> tuple[str, str]:
    return failure.code, failure.detail(ErrorInfo).reason


async def interrupted(
    server: Running, messages: Iterable[file_pb2.UploadFileRequest], received: int, metadata: Any = ANN
) -> str:
    """Begins an upload, waits until the server has so many bytes of it, cancels it, and returns its id."""
    call = server.stub.UploadFile(metadata=metadata)
    for message in messages:
        await call.write(message)
    file_id = str(dict(await call.initial_metadata())["file-id"])
    await arrived(server, received)
    call.cancel()
    await settled(server)
    return file_id


async def arrived(server: Running, size: int) -> None:
    """Waits until the upload that was begun last has so many bytes."""
    await until(lambda: server.watched.part is not None and server.watched.part.size >= size)


async def written(path: Path, size: int) -> None:
    """Waits until a file has so many bytes."""
    await until(lambda: path.stat().st_size >= size)


async def settled(server: Running) -> None:
    """Waits until no call has an upload."""
    await until(lambda: not server.files.uploads.receiving)
    await server.files.uploads.close()
