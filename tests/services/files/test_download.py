"""Downloads, lists and deletions over a socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc.services.errors import StoreError
from pygrpc.services.files import callers, downloads, storage
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.files.support import ANN, BOB, Place, Running, download, failure_of, reason, running, sha256, upload

DATA = bytes(range(256)) * 20


async def test_a_download_begins_at_an_offset(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place, limits=Limits(chunk_size=3000)) as server:
        info = await upload(server.stub, DATA)
        for offset in (0, 1, 1000, len(DATA) - 1, len(DATA)):
            for size in (0, 1000, len(DATA), 1 << 30):
                found = await download(server.stub, info.file_id, offset=offset, chunk_size=size)
                assert found == (info, DATA[offset:]), (offset, size)


async def test_the_chunks_have_the_size_that_is_asked_for(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path, limits=Limits(chunk_size=3000, default_chunk_size=2000)) as server:
        info = await upload(server.stub, DATA)
        for asked, sizes in {0: [2000, 2000, 1120], 2500: [2500, 2500, 120], 9000: [3000, 2120]}.items():
            request = file_pb2.DownloadFileRequest(file_id=info.file_id, chunk_size=asked)
            messages = [message async for message in server.stub.DownloadFile(request, metadata=ANN)]
            assert [len(message.chunk.data) for message in messages[1:]] == sizes


async def test_an_offset_behind_the_end(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        info = await upload(server.stub, DATA)
        failure = await failure_of(download(server.stub, info.file_id, offset=len(DATA) + 1), client_aio)
        assert reason(failure) == ("OUT_OF_RANGE", "OFFSET_BEYOND_FILE")
        failure = await failure_of(download(server.stub, "a/b", offset=-1, chunk_size=-1), client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert set(failure.violations) == {"file_id", "offset", "chunk_size"}


def calls_for_one_file(stub: Any, file_id: str, metadata: Any) -> list[Any]:
    return [
        stub.DownloadFile(file_pb2.DownloadFileRequest(file_id=file_id), metadata=metadata),
        stub.GetFileInfo(file_pb2.GetFileInfoRequest(file_id=file_id), metadata=metadata),
        stub.DeleteFile(file_pb2.DeleteFileRequest(file_id=file_id), metadata=metadata),
    ]


async def test_a_missing_file(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        for call in calls_for_one_file(server.stub, "nothing", ANN):
            failure = await failure_of(call, client_aio)
            assert reason(failure) == ("NOT_FOUND", "FILE_NOT_FOUND")
            assert failure.message == 'there is no file "nothing"'
            resource = failure.detail(ResourceInfo)
            assert (resource.resource_type, resource.resource_name) == ("file.v1.FileInfo", "nothing")


async def test_a_bad_id(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        for file_id in ("", "../../etc/passwd", "a" * 65, ".a"):
            for call in calls_for_one_file(server.stub, file_id, ANN):
                assert set((await failure_of(call, client_aio)).violations) == {"file_id"}


@pytest.mark.parametrize("other", [BOB, None, (("user-id", "Ann"),)], ids=["another", "nobody", "another case"])
async def test_a_private_file_is_its_owners(client_aio: ModuleType, tmp_path: Path, other: Any) -> None:
    async with running(client_aio, tmp_path) as server:
        info = await upload(server.stub, DATA)
        for call in calls_for_one_file(server.stub, info.file_id, other):
            failure = await failure_of(call, client_aio)
            assert reason(failure) == ("PERMISSION_DENIED", "NOT_OWNER")
        assert (await download(server.stub, info.file_id))[1] == DATA


async def test_a_public_file_is_read_by_all_and_deleted_by_its_owner(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        info = await upload(server.stub, DATA, visibility=file_pb2.VISIBILITY_PUBLIC)
        assert await download(server.stub, info.file_id, metadata=BOB) == (info, DATA)
        delete = file_pb2.DeleteFileRequest(file_id=info.file_id)
        failure = await failure_of(server.stub.DeleteFile(delete, metadata=BOB), client_aio)
        assert reason(failure) == ("PERMISSION_DENIED", "NOT_OWNER")
        await server.stub.DeleteFile(delete, metadata=ANN)
        assert server.blobs() == []
        failure = await failure_of(server.stub.DeleteFile(delete, metadata=ANN), client_aio)
        assert reason(failure) == ("NOT_FOUND", "FILE_NOT_FOUND")
        # The id is free again.
        await upload(server.stub, b"new", metadata=BOB, file_id=info.file_id)


async def test_who_calls_has_a_sensible_name(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        long = ((callers.USER_ID_KEY, "a" * 129),)
        failure = await failure_of(upload(server.stub, DATA, metadata=long), client_aio)
        assert failure.violations == {"user-id": "must not be longer than 128 characters"}


async def test_a_file_that_is_deleted_during_its_download_comes_whole(client_aio: ModuleType, tmp_path: Path) -> None:
    data = DATA * 400
    async with running(client_aio, tmp_path) as server:
        info = await upload(server.stub, data, size=100_000)
        call = server.stub.DownloadFile(file_pb2.DownloadFileRequest(file_id=info.file_id), metadata=ANN)
        assert (await call.read()).file == info
        await server.stub.DeleteFile(file_pb2.DeleteFileRequest(file_id=info.file_id), metadata=ANN)
        rest = b""
        while (message := await call.read()) is not client_aio.EOF:
            rest += message.chunk.data
        assert sha256(rest) == info.checksum


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"), [(flip, "FILE_DAMAGED"), (shorten, "FILE_DAMAGED"), (Path.unlink, "FILE_LOST")]
)
async def test_a_damaged_file_is_noticed(
    client_aio: ModuleType, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    async with running(client_aio, tmp_path) as server:
        info = await upload(server.stub, DATA)
        [blob] = server.blobs()
        damage(tmp_path / "blobs" / blob)
        failure = await failure_of(download(server.stub, info.file_id), client_aio)
        assert reason(failure) == ("DATA_LOSS", said)


async def listed(server: Running, metadata: Any = ANN, **given: Any) -> tuple[list[str], str, int]:
    response = await server.stub.ListFiles(file_pb2.ListFilesRequest(**given), metadata=metadata)
    return [file.filename for file in response.files], response.next_page_token, response.total_count


async def test_files_are_listed_page_by_page(client_aio: ModuleType, tmp_path: Path) -> None:
    # A clock that stands still: the order is that of the uploads all the same.
    async with running(client_aio, tmp_path, clock=lambda: 10**15, limits=Limits(page_size=3)) as server:
        assert await listed(server) == ([], "", 0)
        for name in "abcde":
            await upload(server.stub, b"x", filename=name)
        await upload(server.stub, b"x", BOB, filename="bobs")
        first, token, total = await listed(server, page_size=2)
        assert (first, total) == (["a", "b"], 5)
        second, token, _ = await listed(server, page_size=100, page_token=token)
        assert (second, token) == (["c", "d", "e"], "")
        assert (await listed(server))[0] == ["a", "b", "c"]


async def test_others_see_what_is_public(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        await upload(server.stub, b"x", filename="mine")
        await upload(server.stub, b"x", filename="ours", visibility=file_pb2.VISIBILITY_PUBLIC)
        assert (await listed(server))[0] == ["mine", "ours"]
        assert (await listed(server, uploaded_by="ann"))[0] == ["mine", "ours"]
        assert await listed(server, BOB, uploaded_by="ann") == (["ours"], "", 1)
        assert await listed(server, BOB) == ([], "", 0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
        ({"page_token": "\u00e9"}, "page_token"),
        ({"uploaded_by": "a" * 129}, "uploaded_by"),
        ({"uploaded_by": "a\0"}, "uploaded_by"),
    ],
)
async def test_a_bad_request_for_a_list(client_aio: ModuleType, tmp_path: Path, given: Any, field: str) -> None:
    async with running(client_aio, tmp_path) as server:
        assert set((await failure_of(listed(server, **given), client_aio)).violations) == {field}


class Broken:
    """A storage that fails when it is told to."""

    def __init__(self, inner: storage.Storage) -> None:
        self.inner = inner
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def open_part(self, name: str, size: int) -> Any:
        part = await self.inner.open_part(name, size)
        write = part.write

        async def fail(data: bytes) -> None:
            if self.failure is not None:
                raise self.failure
            await write(data)

        part.write = fail  # type: ignore[method-assign]
        return part


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (storage.StorageFull("No space left on device"), "RESOURCE_EXHAUSTED", "STORAGE_FULL"),
        (StoreError("Input/output error"), "UNAVAILABLE", "STORAGE_FAILED"),
    ],
)
async def test_a_storage_that_fails(
    client_aio: ModuleType, tmp_path: Path, error: Exception, code: str, why: str
) -> None:
    broken: list[Broken] = []

    def wrap(inner: storage.Storage) -> storage.Storage:
        broken.append(Broken(inner))
        return broken[0]

    async with running(client_aio, tmp_path, wrap=wrap) as server:
        broken[0].failure = error
        failure = await failure_of(upload(server.stub, DATA, file_id="mine"), client_aio)
        assert reason(failure) == (code, why)
        assert str(error) not in failure.message
        assert failure.detail(ErrorInfo).domain == "file.v1.FileService"
        broken[0].failure = None
        assert (await upload(server.stub, DATA, file_id="mine")).checksum == sha256(DATA)


async def test_pieces_need_no_server(tmp_path: Path, client_aio: ModuleType) -> None:
    async with running(client_aio, tmp_path) as server:
        info = await upload(server.stub, DATA)
        file = await server.files.catalog.get(info.file_id)
        found = [piece async for piece in downloads.pieces(server.files.storage, file, 20, 5000)]
        assert (b"".join(found), [len(piece) for piece in found]) == (DATA[20:], [5000, 100])
