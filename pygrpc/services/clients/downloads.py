"""One download, over as many calls as it takes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import aclosing, closing
from pathlib import Path

from pygrpc import StatusCode
from pygrpc.services.clients.connection import Connection, Deadline
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.pacing import Pacing
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc

CHUNK_SIZE = 256 << 10
_READ_SIZE = 1 << 20
_Stub = file_pb2_grpc.FileServiceStub


class Download:
    """Fetches a file until all of it is there."""

    def __init__(
        self,
        connection: Connection,
        file_id: str,
        path: Path,
        resume: bool,
        progress: Callable[[int, int], object] | None,
        how: CallOptions,
    ) -> None:
        """Prepares a download."""
        self._connection = connection
        self._file_id = file_id
        self._path = path
        self._resume = resume
        self._progress = progress or (lambda done, total: None)
        self._how = how
        self._patience = how.get("timeout", connection.options.timeout)

    async def run(self) -> file_pb2.FileInfo:
        """Fetches the file and returns what the server says of it."""
        request = file_pb2.GetFileInfoRequest(file_id=self._file_id)
        info: file_pb2.FileInfo = (await self._connection.unary(_Stub, "GetFileInfo", request, self._how)).file
        target = self._path / safe_name(info.filename) if self._path.is_dir() else self._path
        with closing(await asyncio.to_thread(Part, part_of(target, info.checksum), self._resume)) as part:
            left_over = part.size
            await self._fetch(info, part)
            if left_over and part.checksum != info.checksum:
                # What an earlier run has left was no beginning of this file: all of it has to come anew.
                part.clear()
                await self._fetch(info, part)
            if part.checksum != info.checksum:
                part.discard()
                message = "what came does not have the checksum that the server has for the file"
                raise ServiceError(StatusCode.DATA_LOSS, message, target=self._connection.target)
            await asyncio.to_thread(part.publish, target)
        return info

    async def _fetch(self, info: file_pb2.FileInfo, part: Part) -> None:
        """Adds to the part what is missing of the file."""
        if part.size > info.size:
            part.clear()
        pacing = self._connection.pacing()
        pacing.begin()
        self._progress(part.size, info.size)
        while part.size < info.size:
            try:
                await self._fetch_once(info, part, pacing)
            except ServiceError as error:
                await pacing.after(error)

    async def _fetch_once(self, info: file_pb2.FileInfo, part: Part, pacing: Pacing) -> None:
        request = file_pb2.DownloadFileRequest(file_id=self._file_id, offset=part.size, chunk_size=CHUNK_SIZE)
        clock = asyncio.get_running_loop().time
        responses = self._connection.responses(_Stub, "DownloadFile", request, self._how, Deadline(None), pacing)
        try:
            async with asyncio.timeout(self._patience) as patience, aclosing(responses):
                async for response in responses:
                    if not response.HasField("chunk"):
                        continue
                    if len(response.chunk.data) > info.size - part.size:
                        raise self._damaged("more came than the file has")
                    await asyncio.to_thread(part.write, response.chunk.data)
                    pacing.progressed()
                    self._progress(part.size, info.size)
                    if self._patience is not None:
                        patience.reschedule(clock() + self._patience)
        except TimeoutError:
            message = f"the download did not move on for {self._patience:g} s"
            raise ServiceError(StatusCode.DEADLINE_EXCEEDED, message, target=self._connection.target) from None
        if part.size < info.size:
            raise self._damaged("the server has ended the download before the end of the file")

    def _damaged(self, message: str) -> ServiceError:
        return ServiceError(StatusCode.DATA_LOSS, message, target=self._connection.target)


class Part:
    """What has come of a file, under a name of its own.

    Attributes:
        size: How many bytes that are.
    """

    def __init__(self, path: Path, keep: bool) -> None:
        """Opens the part, with what an earlier run has left if that is to be kept."""
        self._path = path
        self._digest = hashlib.sha256()
        self.size = 0
        self._file = path.open("a+b" if keep else "w+b")
        self._file.seek(0)
        while data := self._file.read(_READ_SIZE):
            self._digest.update(data)
            self.size += len(data)

    @property
    def checksum(self) -> str:
        """SHA-256 of what has come, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Appends bytes; they are in the file when this returns, so that they outlive the process."""
        self._file.write(data)
        self._file.flush()
        self._digest.update(data)
        self.size += len(data)

    def clear(self) -> None:
        """Forgets all bytes."""
        self._file.truncate(0)
        self._file.seek(0)
        self._digest = hashlib.sha256()
        self.size = 0

    def publish(self, target: Path) -> None:
        """Gives the part, which is whole, its name; it is durable before."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(target)

    def discard(self) -> None:
        """Removes the part."""
        self._path.unlink()

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()


def part_of(target: Path, checksum: str) -> Path:
    """Returns where a download is kept until it is whole: beside its target, and never the same for two contents."""
    return target.with_name(f".{target.name[:100]}.{checksum[:16]}.part")


def safe_name(filename: str) -> str:
    """Returns a file name of the server if it is a plain name, which leads out of no folder.

    Raises:
        OSError: It is something else.
    """
    if (
        filename in ("", ".", "..")
        or any(each in filename for each in ("/", "\\", "\0"))
        or Path(filename).name != filename
    ):
        raise OSError(f"the server calls the file {filename!r}, which is no plain name: give a name for it")
    return filename
