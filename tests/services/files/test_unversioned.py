"""The contract without a version, from clients to the letter of it: they send the user-id with uploads only."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pygrpc.services.files import unversioned
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file import file_pb2 as old_pb2
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.files.support import (
    ANN,
    BOB,
    Place,
    arrived,
    download,
    failure_of,
    old_chunks,
    reason,
    running,
    settled,
    sha256,
    upload,
)

DATA = bytes(range(256)) * 600


def test_the_contract_field_for_field() -> None:
    fields = {
        message.name: [(field.number, field.name, field.type, field.is_repeated) for field in message.fields]
        for message in old_pb2.DESCRIPTOR.message_types_by_name.values()
    }
    text, bytes_, int64, int32, bool_, message = 9, 12, 3, 5, 8, 11
    assert fields == {
        "FileChunk": [
            (1, "file_id", text, False),
            (2, "filename", text, False),
            (3, "data", bytes_, False),
            (4, "chunk_number", int64, False),
            (5, "total_chunks", int64, False),
            (6, "checksum", text, False),
        ],
        "UploadResponse": [
            (1, "file_id", text, False),
            (2, "success", bool_, False),
            (3, "message", text, False),
            (4, "total_size", int64, False),
            (5, "checksum", text, False),
        ],
        "DownloadRequest": [(1, "file_id", text, False)],
        "ListFilesRequest": [(1, "user_id", text, False), (2, "limit", int32, False), (3, "offset", int32, False)],
        "ListFilesResponse": [(1, "files", message, True), (2, "total_count", int32, False)],
        "DeleteFileRequest": [(1, "file_id", text, False), (2, "user_id", text, False)],
        "DeleteFileResponse": [(1, "success", bool_, False), (2, "message", text, False)],
        "GetFileInfoRequest": [(1, "file_id", text, False)],
        "FileInfo": [
            (1, "file_id", text, False),
            (2, "filename", text, False),
            (3, "size", int64, False),
            (4, "content_type", text, False),
            (5, "checksum", text, False),
            (6, "uploaded_at", int64, False),
            (7, "uploaded_by", text, False),
        ],
    }
    [service] = old_pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "file.FileService"
    methods = [(method.name, method.client_streaming, method.server_streaming) for method in service.methods]
    assert methods == [
        ("UploadFile", True, False),
        ("DownloadFile", False, True),
        ("ListFiles", False, False),
        ("DeleteFile", False, False),
        ("GetFileInfo", False, False),
    ]


@pytest.mark.parametrize("data", [DATA, DATA[: 2 << 16], b"x", b""], ids=["odd", "even", "one byte", "empty"])
async def test_a_file_there_and_back(client_aio: ModuleType, place: Place, data: bytes) -> None:
    async with running(client_aio, place) as server:
        chunks = old_chunks(data, 1 << 16, file_id="file_1700000000000_k3j2h1g0f", filename="test-file.txt")
        response = await server.old.UploadFile(iter(chunks), metadata=ANN)
        assert response == old_pb2.UploadResponse(
            file_id="file_1700000000000_k3j2h1g0f",
            success=True,
            message="Upload completed successfully",
            total_size=len(data),
            checksum=sha256(data),
        )
        call = server.old.DownloadFile(old_pb2.DownloadRequest(file_id=response.file_id))
        assert [chunk async for chunk in call] == chunks
        info = await server.old.GetFileInfo(old_pb2.GetFileInfoRequest(file_id=response.file_id))
        assert (info.filename, info.size, info.content_type) == ("test-file.txt", len(data), "text/plain")
        assert (info.checksum, info.uploaded_by) == (sha256(data), "ann")
        assert info.uploaded_at > 1_500_000_000_000
        listed = await server.old.ListFiles(old_pb2.ListFilesRequest(user_id="ann", limit=20))
        assert (list(listed.files), listed.total_count) == ([info], 1)
        request = old_pb2.DeleteFileRequest(file_id=info.file_id, user_id="ann")
        assert await server.old.DeleteFile(request) == old_pb2.DeleteFileResponse(
            success=True, message="File deleted successfully"
        )
        assert server.blobs() == []


async def test_what_a_client_may_leave_out(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        chunks = old_chunks(b"x" * 2500, checksum="")
        chunks[1].filename = ""
        response = await server.old.UploadFile(iter(chunks))
        assert response.file_id
        info = await server.old.GetFileInfo(old_pb2.GetFileInfoRequest(file_id=response.file_id))
        assert (info.uploaded_by, info.size) == ("anonymous", 2500)
        await server.old.DeleteFile(old_pb2.DeleteFileRequest(file_id=response.file_id))


async def test_the_same_files_in_both_contracts(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        await server.old.UploadFile(iter(old_chunks(DATA, file_id="old", filename="old.txt")), metadata=ANN)
        await upload(server.stub, DATA, file_id="new", filename="new.txt")
        await upload(server.stub, DATA, file_id="open", visibility=file_pb2.VISIBILITY_PUBLIC)
        info, data = await download(server.stub, "old", metadata=BOB)
        assert (data, info.visibility) == (DATA, file_pb2.VISIBILITY_PUBLIC)

        async def listed(metadata: Any, **given: Any) -> list[str]:
            response = await server.old.ListFiles(old_pb2.ListFilesRequest(**given), metadata=metadata)
            assert response.total_count >= len(response.files)
            return [file.file_id for file in response.files]

        assert await listed(ANN) == ["old", "new", "open"]
        assert await listed(None, user_id="ann") == ["old", "new", "open"]
        assert await listed(BOB) == ["old", "open"]
        assert await listed(BOB, user_id="ann") == ["old", "open"]
        assert await listed(BOB, user_id="bob") == []
        assert await listed(ANN, limit=1, offset=1) == ["new"]
        # Who is named by the metadata is nobody else by the request.
        for metadata, file_id in ((BOB, "new"), (None, "new")):
            call = server.old.DownloadFile(old_pb2.DownloadRequest(file_id=file_id), metadata=metadata)
            assert reason(await failure_of(call, client_aio)) == ("PERMISSION_DENIED", "NOT_OWNER")
        delete = old_pb2.DeleteFileRequest(file_id="new", user_id="ann")
        failure = await failure_of(server.old.DeleteFile(delete, metadata=BOB), client_aio)
        assert reason(failure) == ("PERMISSION_DENIED", "NOT_OWNER")
        assert (await server.old.DeleteFile(delete, metadata=ANN)).success


async def test_the_list_has_ten_files_unless_told_otherwise(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path, limits=Limits(page_size=11)) as server:
        for _ in range(12):
            await server.old.UploadFile(iter(old_chunks(b"x")), metadata=ANN)
        for limit, count in ((0, unversioned.DEFAULT_LIMIT), (3, 3), (100, 11)):
            response = await server.old.ListFiles(old_pb2.ListFilesRequest(limit=limit))
            assert (len(response.files), response.total_count) == (count, 12)


def changed(**given: Any) -> list[old_pb2.FileChunk]:
    chunks = old_chunks(b"x" * 2500)
    chunks[1].MergeFrom(old_pb2.FileChunk(**given))
    return chunks


#: Chunks of an upload, and how it ends: the code, and the reason or the fields that are wrong.
REFUSED: list[tuple[list[old_pb2.FileChunk], str, str | set[str]]] = [
    ([], "INVALID_ARGUMENT", {"filename"}),
    (old_chunks(b"x", filename="../x"), "INVALID_ARGUMENT", {"filename"}),
    (old_chunks(b"x", file_id="a/b"), "INVALID_ARGUMENT", {"file_id"}),
    ([old_pb2.FileChunk(filename="a", chunk_number=1)], "INVALID_ARGUMENT", {"total_chunks"}),
    ([old_pb2.FileChunk(filename="a", total_chunks=1)], "INVALID_ARGUMENT", {"chunk_number"}),
    (changed(chunk_number=1), "INVALID_ARGUMENT", {"chunk_number"}),
    (changed(chunk_number=3), "INVALID_ARGUMENT", {"chunk_number"}),
    (changed(filename="other"), "INVALID_ARGUMENT", {"filename"}),
    (changed(file_id="other"), "INVALID_ARGUMENT", {"file_id"}),
    (changed(checksum="0"), "INVALID_ARGUMENT", {"checksum"}),
    (changed(data=b"x" * 3001), "INVALID_ARGUMENT", {"data"}),
    (
        [*old_chunks(b"x"), old_pb2.FileChunk(chunk_number=2, total_chunks=1)],
        "INVALID_ARGUMENT",
        {"chunk_number"},
    ),
    (old_chunks(b"x" * 2500)[:2], "DATA_LOSS", "CHUNKS_MISSING"),
    (old_chunks(b"x" * 2500, checksum="0" * 64), "DATA_LOSS", "CHECKSUM_MISMATCH"),
    (old_chunks(b"x" * 10_001), "RESOURCE_EXHAUSTED", "FILE_TOO_LARGE"),
    (old_chunks(b"x", file_id="taken"), "ALREADY_EXISTS", "FILE_EXISTS"),
]


async def test_uploads_that_are_refused_leave_nothing(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path, limits=Limits(file_size=10_000, chunk_size=3000)) as server:
        await upload(server.stub, b"", file_id="taken")
        for chunks, code, why in REFUSED:
            failure = await failure_of(server.old.UploadFile(iter(chunks), metadata=ANN), client_aio)
            assert failure.code == code
            assert why == (set(failure.violations) if code == "INVALID_ARGUMENT" else reason(failure)[1])
            await settled(server)
            assert (server.parts(), len(server.blobs())) == ([], 1)


async def test_a_broken_upload_is_thrown_away(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        call = server.old.UploadFile(metadata=ANN)
        await call.write(old_chunks(b"x" * 2500, file_id="mine")[0])
        # The server answers nothing before the end: what it has written tells that the chunk has arrived.
        await arrived(server, 1000)
        call.cancel()
        await settled(server)
        assert server.parts() == []
        await server.old.UploadFile(iter(old_chunks(DATA, file_id="mine")), metadata=BOB)


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("GetFileInfo", old_pb2.GetFileInfoRequest(file_id="../x"), {"file_id"}),
        ("DownloadFile", old_pb2.DownloadRequest(), {"file_id"}),
        ("DeleteFile", old_pb2.DeleteFileRequest(file_id="/", user_id="\n"), {"file_id", "user_id"}),
        ("ListFiles", old_pb2.ListFilesRequest(user_id="a" * 200, limit=-1, offset=-1), {"user_id", "limit", "offset"}),
    ],
)
async def test_a_bad_request(
    client_aio: ModuleType, tmp_path: Path, method: str, request_: Any, fields: set[str]
) -> None:
    async with running(client_aio, tmp_path) as server:
        failure = await failure_of(getattr(server.old, method)(request_), client_aio)
        assert (failure.code, set(failure.violations)) == ("INVALID_ARGUMENT", fields)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetFileInfo", old_pb2.GetFileInfoRequest(file_id="x")),
        ("DownloadFile", old_pb2.DownloadRequest(file_id="x")),
        ("DeleteFile", old_pb2.DeleteFileRequest(file_id="x")),
    ],
)
async def test_a_missing_file(client_aio: ModuleType, tmp_path: Path, method: str, request_: Any) -> None:
    async with running(client_aio, tmp_path) as server:
        failure = await failure_of(getattr(server.old, method)(request_), client_aio)
        assert reason(failure) == ("NOT_FOUND", "FILE_NOT_FOUND")


async def test_errors_have_the_texts_that_clients_know(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:

        async def said(call: Any) -> tuple[str, str]:
            failure = await failure_of(call, client_aio)
            return failure.code, failure.message

        old = server.old
        for call in (
            old.GetFileInfo(old_pb2.GetFileInfoRequest(file_id="none")),
            old.DownloadFile(old_pb2.DownloadRequest(file_id="none")).read(),
            old.DeleteFile(old_pb2.DeleteFileRequest(file_id="none")),
        ):
            assert await said(call) == ("NOT_FOUND", "File none not found")
        chunks = old_chunks(b"x" * 2500)
        call = old.UploadFile(iter(chunks[:2]), metadata=ANN)
        assert await said(call) == ("DATA_LOSS", "Missing chunks: expected 3, got 2")
        call = old.UploadFile(iter(old_chunks(DATA, checksum="0" * 64)), metadata=ANN)
        assert await said(call) == ("DATA_LOSS", "Checksum verification failed")
        stored = await old.UploadFile(iter(chunks), metadata=ANN)
        call = old.DeleteFile(old_pb2.DeleteFileRequest(file_id=stored.file_id, user_id="bob"))
        assert await said(call) == ("PERMISSION_DENIED", "Permission denied")
        [blob] = server.blobs()
        (tmp_path / "blobs" / blob).unlink()
        call = old.DownloadFile(old_pb2.DownloadRequest(file_id=stored.file_id)).read()
        assert await said(call) == ("INTERNAL", "File data not found on disk")
