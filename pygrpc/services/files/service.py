"""The RPCs of file.v1.FileService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

from google.protobuf.empty_pb2 import Empty

from pygrpc import aio
from pygrpc.services.callers import Identify
from pygrpc.services.errors import RequestError, Violation, invalid, require
from pygrpc.services.files import callers, downloads, errors, paging, validation
from pygrpc.services.files.catalog import DatabaseCatalog
from pygrpc.services.files.schema import StoredFile
from pygrpc.services.files.storage import Storage
from pygrpc.services.files.uploads import Announced, Uploads, in_time
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc

FILE_ID_KEY = "file-id"
DEFAULT_PAGE_SIZE = 50
DEFAULT_CONTENT_TYPE = "application/octet-stream"

# A table of our own and not the system's, so that all servers say the same.
_CONTENT_TYPES = {
    "css": "text/css",
    "csv": "text/csv",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "webp": "image/webp",
    "xml": "application/xml",
    "zip": "application/zip",
}

_Context: TypeAlias = aio.ServicerContext[Any, Any]


class FileService(file_pb2_grpc.FileServiceServicer):
    """Serves the RPCs of protos/file/v1/file.proto, which says what each of them does.

    One instance belongs to one event loop. Several processes may serve one folder and catalog.
    """

    def __init__(
        self,
        catalog: DatabaseCatalog,
        storage: Storage,
        uploads: Uploads,
        *,
        limits: Limits | None = None,
        identify: Identify = callers.user_id_of,
    ) -> None:
        """Makes the service. The caller closes what it is made on after the service has stopped.

        Args:
            catalog: What is known about files.
            storage: Where their bytes are.
            uploads: The uploads to them.
            limits: The largest requests that are accepted.
            identify: Knows who makes a call.
        """
        self._catalog = catalog
        self._storage = storage
        self._uploads = uploads
        self._limits = limits or Limits()
        self._identify = identify

    async def UploadFile(
        self, request_iterator: AsyncIterator[file_pb2.UploadFileRequest], context: _Context
    ) -> file_pb2.UploadFileResponse:
        """Stores a file that comes in chunks."""
        async with (
            errors.answering(context),
            aclosing(in_time(request_iterator, self._limits.idle_seconds)) as messages,
        ):
            announced = self._announced(await anext(messages, None), self._caller(context))
            checksum = ""
            async with self._uploads.receive(announced) as receiver:
                await context.send_initial_metadata(((FILE_ID_KEY, receiver.upload.file_id),))
                async for message in messages:
                    if message.WhichOneof("payload") != "chunk":
                        raise invalid([Violation("chunk", "must be given in each message but the first")])
                    chunk = message.chunk
                    require(list(validation.check_chunk(chunk, receiver.size, self._limits)))
                    checksum = chunk.checksum or checksum
                    await receiver.write(chunk.data)
                return file_pb2.UploadFileResponse(file=described(await receiver.finish(checksum)))

    async def GetUpload(self, request: file_pb2.GetUploadRequest, context: _Context) -> file_pb2.GetUploadResponse:
        """Tells how far an upload has come."""
        async with errors.answering(context):
            require(list(validation.check_id(request.file_id)))
            who = self._caller(context)
            try:
                upload = await self._catalog.upload(request.file_id, who)
            except RequestError as unknown:
                try:
                    file = await self._catalog.get(request.file_id)
                except RequestError:
                    raise unknown from None
                if file.owner != who:
                    raise errors.not_owner(file.file_id) from None
                return file_pb2.GetUploadResponse(state=file_pb2.UPLOAD_STATE_COMPLETE, received_size=file.size)
            return file_pb2.GetUploadResponse(state=file_pb2.UPLOAD_STATE_UNFINISHED, received_size=upload.received)

    async def CancelUpload(self, request: file_pb2.CancelUploadRequest, context: _Context) -> Empty:
        """Gives an unfinished upload up."""
        async with errors.answering(context):
            require(list(validation.check_id(request.file_id)))
            await self._uploads.cancel(request.file_id, self._caller(context))
            return Empty()

    async def DownloadFile(
        self, request: file_pb2.DownloadFileRequest, context: _Context
    ) -> AsyncIterator[file_pb2.DownloadFileResponse]:
        """Streams a file."""
        async with errors.answering(context):
            require(list(validation.check_download(request)))
            file = await self._readable(request.file_id, context)
            size = min(request.chunk_size or self._limits.default_chunk_size, self._limits.chunk_size)
            offset = request.offset
            async with aclosing(downloads.pieces(self._storage, file, offset, size)) as pieces:
                if offset <= file.size:
                    yield file_pb2.DownloadFileResponse(file=described(file))
                async for piece in pieces:
                    chunk = file_pb2.FileChunk(data=piece, offset=offset)
                    offset += len(piece)
                    if offset == file.size:
                        chunk.checksum = file.checksum
                    yield file_pb2.DownloadFileResponse(chunk=chunk)

    async def ListFiles(self, request: file_pb2.ListFilesRequest, context: _Context) -> file_pb2.ListFilesResponse:
        """Returns one page of files."""
        async with errors.answering(context):
            require(list(validation.check_list(request, self._limits)))
            who = self._caller(context)
            after = paging.decode_token(request.page_token, request.uploaded_by) if request.page_token else None
            size = min(request.page_size or DEFAULT_PAGE_SIZE, self._limits.page_size)
            # One more than wanted tells whether there is another page.
            found, total = await self._catalog.page(who, request.uploaded_by or who, limit=size + 1, after=after)
            response = file_pb2.ListFilesResponse(files=map(described, found[:size]), total_count=total)
            if len(found) > size:
                last = paging.Position(found[size - 1].uploaded_at, found[size - 1].file_id)
                response.next_page_token = paging.encode_token(last, request.uploaded_by)
            return response

    async def GetFileInfo(
        self, request: file_pb2.GetFileInfoRequest, context: _Context
    ) -> file_pb2.GetFileInfoResponse:
        """Returns what is known about one file."""
        async with errors.answering(context):
            require(list(validation.check_id(request.file_id)))
            return file_pb2.GetFileInfoResponse(file=described(await self._readable(request.file_id, context)))

    async def DeleteFile(self, request: file_pb2.DeleteFileRequest, context: _Context) -> Empty:
        """Removes a file."""
        async with errors.answering(context):
            require(list(validation.check_id(request.file_id)))
            file = await self._catalog.delete(request.file_id, self._caller(context))
            await self._storage.remove_blob(file.blob)
            return Empty()

    def _caller(self, context: _Context) -> str:
        return callers.caller(context, self._identify, self._limits)

    async def _readable(self, file_id: str, context: _Context) -> StoredFile:
        who = self._caller(context)
        file = await self._catalog.get(file_id)
        callers.may_read(who, file)
        return file

    def _announced(self, message: file_pb2.UploadFileRequest | None, owner: str) -> Announced:
        if message is None or message.WhichOneof("payload") != "header":
            raise invalid([Violation("header", "must be given in the first message")])
        header = message.header
        require(list(validation.check_header(header, self._limits)))
        return Announced(
            header.file_id,
            owner,
            validation.clean_name(header.filename),
            header.content_type or content_type_of(header.filename),
            header.visibility or file_pb2.VISIBILITY_PRIVATE,
            header.size if header.HasField("size") else None,
            header.checksum,
            header.offset,
        )


def content_type_of(filename: str) -> str:
    """Returns the media type that the end of a file name stands for."""
    return _CONTENT_TYPES.get(filename.lower().rpartition(".")[2], DEFAULT_CONTENT_TYPE)


def described(file: StoredFile) -> file_pb2.FileInfo:
    """Returns a file as clients see it."""
    info = file_pb2.FileInfo(
        file_id=file.file_id,
        filename=file.filename,
        size=file.size,
        content_type=file.content_type,
        checksum=file.checksum,
        uploaded_by=file.owner,
        visibility=file.visibility,  # type: ignore[arg-type]
    )
    info.uploaded_at.FromMicroseconds(file.uploaded_at)
    return info
