"""One upload, over as many calls as it takes."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from pygrpc import StatusCode
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc

CHUNK_SIZE = 256 << 10
#: Bytes that are read from the disk at a time.
_READ_SIZE = 1 << 20
#: How long to give the server to write down what came, in seconds, each time that it is asked.
_SETTLING = (0.05, 0.1, 0.2, 0.4)
_Stub = file_pb2_grpc.FileServiceStub


class Upload:
    """Sends a file until the server has all of it."""

    def __init__(
        self,
        connection: Connection,
        path: Path,
        header: file_pb2.UploadFileHeader,
        progress: Callable[[int, int], object] | None,
        how: CallOptions,
    ) -> None:
        """Prepares an upload; the header lacks what the file itself says."""
        self._connection = connection
        self._path = path
        self._header = header
        self._progress = progress or (lambda done, total: None)
        self._how = how
        self._patience = how.get("timeout", connection.options.timeout)
        # How far the calls of this upload have come, as far as the client knows.
        self._written = 0

    async def run(self) -> file_pb2.FileInfo:
        """Sends the file and returns it as the server has it."""
        header = self._header
        known = bool(header.file_id)
        header.file_id = header.file_id or f"up-{uuid.uuid4().hex}"
        with self._path.open("rb") as file:
            header.size, header.checksum = await asyncio.to_thread(size_and_checksum, file)
            pacing = self._connection.pacing()
            while True:
                try:
                    if known:
                        stored = await self._settled()
                        pacing.begin()
                        if stored is None:
                            return await self._complete()
                        if stored > header.offset:
                            pacing.progressed()
                        header.offset = stored
                    return await self._send(file, pacing.begin)
                except ServiceError as error:
                    known = True
                    await pacing.after(error)

    async def _settled(self) -> int | None:
        """Asks what the server has, after it has made out the end of the call that broke off, if there was one."""
        stored = await self._stored()
        for delay in _SETTLING:
            if stored is None or stored > self._header.offset or self._written <= self._header.offset:
                break
            # Something was sent and nothing seems to have come: the server writes that down only when the call is over.
            await asyncio.sleep(delay)
            stored = await self._stored()
        return stored

    async def _stored(self) -> int | None:
        """Asks how many bytes of the upload the server has; None if it has made a file of them."""
        request = file_pb2.GetUploadRequest(file_id=self._header.file_id)
        try:
            upload = await self._connection.unary(_Stub, "GetUpload", request, self._how)
        except ServiceError as error:
            if error.code is StatusCode.NOT_FOUND:
                return 0
            raise
        if upload.state == file_pb2.UPLOAD_STATE_COMPLETE:
            return None
        # More than there is to send can't be the beginning of this file.
        return int(upload.received_size) if upload.received_size <= self._header.size else 0

    async def _complete(self) -> file_pb2.FileInfo:
        """Returns the file that is there already, if it is the one that was to be sent."""
        request = file_pb2.GetFileInfoRequest(file_id=self._header.file_id)
        info: file_pb2.FileInfo = (await self._connection.unary(_Stub, "GetFileInfo", request, self._how)).file
        if info.checksum != self._header.checksum:
            message = f'there is already a file "{info.file_id}", with other contents'
            raise ServiceError(StatusCode.ALREADY_EXISTS, message, target=self._connection.target)
        self._progress(info.size, info.size)
        return info

    async def _send(self, file: BinaryIO, accepted: Callable[[], object]) -> file_pb2.FileInfo:
        """Makes one call that sends the file from the header's offset on."""
        with self._connection.calling(_Stub, "UploadFile", self._how, None) as begin:
            call = begin()
            try:
                async with asyncio.timeout(self._patience) as patience:
                    await self._write_all(call, file, patience, accepted)
                    # The status of a call that broke off while it was written comes here, too.
                    info: file_pb2.FileInfo = (await call).file
            except TimeoutError:
                message = f"the upload did not move on for {self._patience:g} s"
                raise ServiceError(StatusCode.DEADLINE_EXCEEDED, message, target=self._connection.target) from None
            finally:
                call.cancel()
        self._progress(info.size, info.size)
        return info

    async def _write_all(
        self, call: Any, file: BinaryIO, patience: asyncio.Timeout, accepted: Callable[[], object]
    ) -> None:
        header = self._header
        clock = asyncio.get_running_loop().time
        try:
            await call.write(file_pb2.UploadFileRequest(header=header))
            await call.initial_metadata()
            if not call.done():
                accepted()
            done = header.offset
            self._progress(done, header.size)
            async for data in _pieces(file, header.offset):
                await call.write(file_pb2.UploadFileRequest(chunk=file_pb2.FileChunk(data=data, offset=done)))
                done += len(data)
                self._written = done
                self._progress(done, header.size)
                if self._patience is not None:
                    patience.reschedule(clock() + self._patience)
            await call.done_writing()
        except asyncio.InvalidStateError:
            # The call is over; awaiting it says why.
            return


async def _pieces(file: BinaryIO, offset: int) -> AsyncIterator[bytes]:
    """Reads a file from an offset on, in pieces for one message each."""
    file.seek(offset)
    while data := await asyncio.to_thread(file.read, _READ_SIZE):
        for start in range(0, len(data), CHUNK_SIZE):
            yield data[start : start + CHUNK_SIZE]


def size_and_checksum(file: BinaryIO) -> tuple[int, str]:
    """Reads a file to its end; returns how many bytes that were and their SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    size = 0
    while data := file.read(_READ_SIZE):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()
