"""The RPCs of file.FileService, the contract without a version, over the files of file.v1.FileService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc import StatusCode, aio
from pygrpc.services.callers import Identify
from pygrpc.services.errors import RequestError, Violation, answering, invalid, require
from pygrpc.services.files import callers, downloads, errors, validation
from pygrpc.services.files.catalog import DatabaseCatalog
from pygrpc.services.files.schema import StoredFile
from pygrpc.services.files.service import content_type_of
from pygrpc.services.files.storage import Storage
from pygrpc.services.files.uploads import Announced, Uploads, in_time
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file import file_pb2, file_pb2_grpc
from pygrpc.services.protos.file.v1.file_pb2 import VISIBILITY_PUBLIC

DEFAULT_LIMIT = 10
# Clients of this contract get chunks of this size, whatever the limits are.
CHUNK_SIZE = 64 << 10
_MOST_INT32 = 2**31 - 1

_Context: TypeAlias = aio.ServicerContext[Any, Any]


class UnversionedFileService(file_pb2_grpc.FileServiceServicer):
    """Serves the RPCs of protos/file/file.proto, which says what each of them does."""

    def __init__(
        self,
        catalog: DatabaseCatalog,
        storage: Storage,
        uploads: Uploads,
        *,
        limits: Limits | None = None,
        identify: Identify = callers.user_id_of,
    ) -> None:
        """Makes the service; see FileService, with which it shares all of this."""
        self._catalog = catalog
        self._storage = storage
        self._uploads = uploads
        self._limits = limits or Limits()
        self._identify = identify

    async def UploadFile(
        self, request_iterator: AsyncIterator[file_pb2.FileChunk], context: _Context
    ) -> file_pb2.UploadResponse:
        """Stores a file that comes in chunks."""
        async with (
            _answering(context),
            aclosing(in_time(request_iterator, self._limits.idle_seconds)) as chunks,
        ):
            first = await anext(chunks, None)
            if first is None:
                raise invalid([Violation("filename", "must be given in the first chunk, and there was none")])
            require(list(validation.check_first_chunk(first, self._limits)))
            async with self._uploads.receive(self._announced(first, self._caller(context))) as receiver:
                chunk: file_pb2.FileChunk | None = first
                number, checksum = 0, ""
                while chunk is not None:
                    number += 1
                    require(list(validation.check_numbered_chunk(chunk, first, number, self._limits)))
                    checksum = chunk.checksum or checksum
                    await receiver.write(chunk.data)
                    chunk = await anext(chunks, None)
                if number < first.total_chunks:
                    raise errors.chunks_missing(first.total_chunks, number)
                file = await receiver.finish(checksum)
            return file_pb2.UploadResponse(
                file_id=file.file_id,
                success=True,
                message="Upload completed successfully",
                total_size=file.size,
                checksum=file.checksum,
            )

    async def DownloadFile(
        self, request: file_pb2.DownloadRequest, context: _Context
    ) -> AsyncIterator[file_pb2.FileChunk]:
        """Streams a file."""
        async with _answering(context):
            file = await self._readable(request.file_id, context)
            # A client learns the name from the chunks, so that an empty file has one too.
            total = max(1, -(-file.size // CHUNK_SIZE))
            number = 0
            async with aclosing(downloads.pieces(self._storage, file, 0, CHUNK_SIZE)) as pieces:
                while number < total:
                    number += 1
                    yield file_pb2.FileChunk(
                        file_id=file.file_id,
                        filename=file.filename,
                        data=await anext(pieces, b""),
                        chunk_number=number,
                        total_chunks=total,
                        checksum=file.checksum if number == total else "",
                    )

    async def ListFiles(self, request: file_pb2.ListFilesRequest, context: _Context) -> file_pb2.ListFilesResponse:
        """Returns files that the caller may see."""
        async with _answering(context):
            require(list(validation.check_unversioned_list(request, self._limits)))
            found, total = await self._catalog.page(
                self._caller(context, request.user_id),
                request.user_id,
                limit=min(request.limit or DEFAULT_LIMIT, self._limits.page_size),
                offset=request.offset,
            )
            return file_pb2.ListFilesResponse(files=map(described, found), total_count=min(total, _MOST_INT32))

    async def DeleteFile(self, request: file_pb2.DeleteFileRequest, context: _Context) -> file_pb2.DeleteFileResponse:
        """Removes a file."""
        async with _answering(context):
            require(
                [
                    *validation.check_id(request.file_id),
                    *validation.check_owner(request.user_id, self._limits, "user_id"),
                ]
            )
            file = await self._catalog.delete(request.file_id, self._caller(context, request.user_id))
            await self._storage.remove_blob(file.blob)
            return file_pb2.DeleteFileResponse(success=True, message="File deleted successfully")

    async def GetFileInfo(self, request: file_pb2.GetFileInfoRequest, context: _Context) -> file_pb2.FileInfo:
        """Returns what is known about one file."""
        async with _answering(context):
            return described(await self._readable(request.file_id, context))

    def _caller(self, context: _Context, claimed: str = "") -> str:
        return callers.caller(context, self._identify, self._limits, claimed)

    async def _readable(self, file_id: str, context: _Context) -> StoredFile:
        require(list(validation.check_id(file_id)))
        who = self._caller(context)
        file = await self._catalog.get(file_id)
        callers.may_read(who, file)
        return file

    def _announced(self, first: file_pb2.FileChunk, owner: str) -> Announced:
        name = validation.clean_name(first.filename)
        return Announced(first.file_id, owner, name, content_type_of(name), VISIBILITY_PUBLIC, resumable=False)


def _answering(context: _Context) -> AbstractAsyncContextManager[None]:
    """Ends the call with the right status if the body raises an error."""
    return answering(context, _translated)


def _translated(error: Exception) -> RequestError | None:
    """Returns the status of an error: that of file.v1, in the words of this contract."""
    failure = errors.translated(error)
    details = () if failure is None else failure.details
    reason = next((each.reason for each in details if isinstance(each, ErrorInfo)), "")
    resource = next((each.resource_name for each in details if isinstance(each, ResourceInfo)), "")
    match reason:
        case "FILE_NOT_FOUND":
            return RequestError(StatusCode.NOT_FOUND, f"File {resource} not found", *details)
        case "NOT_OWNER":
            return RequestError(StatusCode.PERMISSION_DENIED, "Permission denied", *details)
        case "CHECKSUM_MISMATCH":
            return RequestError(StatusCode.DATA_LOSS, "Checksum verification failed", *details)
        case "FILE_LOST":
            return RequestError(StatusCode.INTERNAL, "File data not found on disk", *details)
        case _:
            return failure


def described(file: StoredFile) -> file_pb2.FileInfo:
    """Returns a file as clients of this contract see it."""
    return file_pb2.FileInfo(
        file_id=file.file_id,
        filename=file.filename,
        size=file.size,
        content_type=file.content_type,
        checksum=file.checksum,
        uploaded_at=file.uploaded_at // 1000,
        uploaded_by=file.owner,
    )
