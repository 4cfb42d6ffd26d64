"""The client of the file service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias, Unpack

from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.downloads import Download
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.uploads import Upload
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc

#: Told how many bytes of a transfer are done, of how many.
Progress: TypeAlias = Callable[[int, int], object]

_PAGE_SIZE = 200
_Stub = file_pb2_grpc.FileServiceStub


class FileClient:
    """Makes the calls of protos/file/v1/file.proto.

    Each method takes the options of `CallOptions` besides its own arguments, and raises ServiceError. Without a token
    that says more, the caller is who the metadata "user-id" say.
    """

    def __init__(self, connection: Connection) -> None:
        """Makes a client on a connection, which others may share and the caller closes."""
        self._connection = connection

    async def upload(
        self,
        path: str | Path,
        *,
        file_id: str = "",
        filename: str = "",
        content_type: str = "",
        visibility: int = file_pb2.VISIBILITY_PRIVATE,
        progress: Progress | None = None,
        **how: Unpack[CallOptions],
    ) -> file_pb2.FileInfo:
        """Stores a file, checked by its SHA-256.

        An upload that breaks off is taken up again where it was. With a `file_id`, so is one that an earlier call or an
        earlier program has begun and not finished; if that is complete already, nothing is sent.

        Args:
            path: The file.
            file_id: Its id; made up if empty.
            filename: Its name; that of `path` if empty.
            content_type: Its media type; by its name if empty.
            visibility: Who may see and read it.
            progress: Told how far it is.
            **how: The timeout is the longest time without progress.

        Raises:
            OSError: The file can't be read.
            ServiceError: The upload failed; of what has arrived, the server keeps all unless the code is DATA_LOSS.
        """
        header = file_pb2.UploadFileHeader(
            file_id=file_id, filename=filename or Path(path).name, content_type=content_type
        )
        header.visibility = visibility  # type: ignore[assignment]
        return await Upload(self._connection, Path(path), header, progress, how).run()

    async def download(
        self,
        file_id: str,
        path: str | Path,
        *,
        resume: bool = True,
        progress: Progress | None = None,
        **how: Unpack[CallOptions],
    ) -> file_pb2.FileInfo:
        """Fetches a file, checked by its SHA-256.

        The bytes go to a hidden file beside `path`, which becomes `path` when all is there. A download that breaks off
        is taken up again where it was, also by a later call.

        Args:
            file_id: The file.
            path: Where to put it; what is there is replaced. A folder takes it under its own name.
            resume: Whether to go on with what an earlier call has left.
            progress: Told how far it is.
            **how: The timeout is the longest time without progress.

        Raises:
            OSError: The file can't be written.
            ServiceError: The download failed. With DATA_LOSS, what came is not what the server has said it would be.
        """
        return await Download(self._connection, file_id, Path(path), resume, progress, how).run()

    async def list(
        self, uploaded_by: str = "", *, page_size: int = _PAGE_SIZE, **how: Unpack[CallOptions]
    ) -> AsyncIterator[file_pb2.FileInfo]:
        """Iterates over the caller's files, or the public ones of somebody else, in the order of their upload.

        Args:
            uploaded_by: Whose files; the caller's if empty.
            page_size: How many files to ask for at a time.
            **how: Hold for each page.
        """
        token = ""
        while True:
            request = file_pb2.ListFilesRequest(uploaded_by=uploaded_by, page_size=page_size, page_token=token)
            response = await self._connection.unary(_Stub, "ListFiles", request, how)
            for file in response.files:
                yield file
            token = response.next_page_token
            if not token:
                return

    async def info(self, file_id: str, **how: Unpack[CallOptions]) -> file_pb2.FileInfo:
        """Returns what is known about a file."""
        request = file_pb2.GetFileInfoRequest(file_id=file_id)
        file: file_pb2.FileInfo = (await self._connection.unary(_Stub, "GetFileInfo", request, how)).file
        return file

    async def delete(self, file_id: str, **how: Unpack[CallOptions]) -> None:
        """Removes a file for good."""
        await self._connection.unary(_Stub, "DeleteFile", file_pb2.DeleteFileRequest(file_id=file_id), how)

    async def unfinished(self, file_id: str, **how: Unpack[CallOptions]) -> file_pb2.GetUploadResponse:
        """Tells how far an upload has come."""
        response: file_pb2.GetUploadResponse = await self._connection.unary(
            _Stub, "GetUpload", file_pb2.GetUploadRequest(file_id=file_id), how
        )
        return response

    async def cancel_upload(self, file_id: str, **how: Unpack[CallOptions]) -> None:
        """Gives an unfinished upload up."""
        await self._connection.unary(_Stub, "CancelUpload", file_pb2.CancelUploadRequest(file_id=file_id), how)
