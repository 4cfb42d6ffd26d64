"""A large file goes up and down without being in the memory of the server, for all clients."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import pygrpc
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from tests.services.files.support import ANN, Place, chunk, header
from tests.services.program import serving

MIB = 1 << 20
PIECE = bytes(range(256)) * 2048
#: In pieces of 512 KiB: 256 MiB in a folder, and 64 MiB in S3.
PIECES = {"folder": 512, "s3": 128}


def resident(pid: int, what: str) -> int:
    """Returns memory of a process in bytes: VmRSS now, VmHWM at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_memory_of_the_server_does_not_grow_with_the_file(tmp_path: Path, place: Place) -> None:
    count = PIECES["folder" if isinstance(place.url, Path) else "s3"]
    async with serving(tmp_path / "users.db", "--files", place.url, "--log-level", "warning") as program:
        pid = program.process.pid
        async with pygrpc.aio.insecure_channel(program.address) as channel:
            stub = file_pb2_grpc.FileServiceStub(channel)
            # A first small transfer loads what is loaded once.
            await stub.UploadFile(iter([header(file_id="small"), chunk(PIECE)]), metadata=ANN)
            before = resident(pid, "VmRSS")

            def messages() -> Iterator[file_pb2.UploadFileRequest]:
                yield header(file_id="large", size=count * len(PIECE))
                message = chunk(PIECE)
                for _ in range(count):
                    yield message

            info = (await stub.UploadFile(messages(), metadata=ANN)).file
            request = file_pb2.DownloadFileRequest(file_id="large", chunk_size=MIB)
            digest, size = hashlib.sha256(), 0
            async for message in stub.DownloadFile(request, metadata=ANN):
                digest.update(message.chunk.data)
                size += len(message.chunk.data)
        assert size == info.size == count * len(PIECE)
        assert digest.hexdigest() == info.checksum
        assert resident(pid, "VmHWM") - before < 64 * MIB


@pytest.mark.parametrize("library", [pygrpc, grpc], ids=["pygrpc-client", "grpcio-client"])
async def test_synchronous_clients(tmp_path: Path, library: Any) -> None:
    def transfer(address: str) -> None:
        with library.insecure_channel(address) as channel:
            stub: Any = file_pb2_grpc.FileServiceStub(channel)
            messages = iter([header("a.bin", file_id="mine"), *(chunk(PIECE) for _ in range(8))])
            info = stub.UploadFile(messages, metadata=ANN, timeout=20).file
            call = stub.DownloadFile(file_pb2.DownloadFileRequest(file_id="mine", offset=5), metadata=ANN, timeout=20)
            assert next(call).file == info
            assert b"".join(message.chunk.data for message in call) == (PIECE * 8)[5:]
            listed = stub.ListFiles(file_pb2.ListFilesRequest(), metadata=ANN, timeout=20)
            assert list(listed.files) == [info]
            with pytest.raises(library.RpcError) as raised:
                stub.DeleteFile(file_pb2.DeleteFileRequest(file_id="mine"), timeout=20)
            assert raised.value.code() is library.StatusCode.PERMISSION_DENIED
            stub.DeleteFile(file_pb2.DeleteFileRequest(file_id="mine"), metadata=ANN, timeout=20)

    async with serving(tmp_path / "users.db", "--files", tmp_path / "files", "--log-level", "warning") as program:
        await asyncio.to_thread(transfer, program.address)
