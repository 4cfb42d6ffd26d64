"""Uploads over a socket: whole, refused, broken off and resumed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc.services.files import errors, service
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.files.support import (
    ANN,
    BOB,
    Place,
    Running,
    arrived,
    chunk,
    download,
    failure_of,
    header,
    interrupted,
    reason,
    requests,
    running,
    settled,
    sha256,
    upload,
)

DATA = bytes(range(256)) * 20
ID_RULE = "must be 1 to 64 of the characters A-Z a-z 0-9 _ - . and not begin with a dot"
#: Messages of an upload, and what is wrong with them.
BAD_UPLOADS: list[tuple[list[file_pb2.UploadFileRequest], dict[str, str]]] = [
    ([], {"header": "must be given in the first message"}),
    ([chunk(b"x")], {"header": "must be given in the first message"}),
    ([header(), header()], {"chunk": "must be given in each message but the first"}),
    (
        [header(), chunk(b"x"), chunk(b"y", offset=2)],
        {"chunk.offset": "must be 1, where the bytes before it ended"},
    ),
    ([header(), chunk(b"x" * 1001)], {"chunk.data": "must not have more than 1000 bytes"}),
    ([header("../a")], {"header.filename": "must be a name and not a path"}),
    ([header("a", file_id="..")], {"header.file_id": ID_RULE}),
    ([header("a", size=-1)], {"header.size": "must not be negative"}),
    ([header("a", offset=-1)], {"header.offset": "must not be negative"}),
    ([header("a", offset=3)], {"header.offset": "needs the file_id of the upload that it continues"}),
    ([header("a", file_id="a", offset=3, size=2)], {"header.offset": "must not be larger than size"}),
    ([header("a", checksum="abc")], {"header.checksum": "must be a SHA-256 of 64 hexadecimal digits"}),
    ([header("a", content_type="a\nb")], {"header.content_type": "must be a media type such as text/plain"}),
    ([header("a", content_type="a/" + "b" * 200)], {"header.content_type": "must not be longer than 127 characters"}),
    ([header("a", visibility=9)], {"header.visibility": "must be one of VISIBILITY_PRIVATE, VISIBILITY_PUBLIC"}),
]


async def test_a_file_comes_back_as_it_was_sent(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        info = await upload(server.stub, DATA, filename="cafe\u0301.PDF", size=len(DATA), checksum=sha256(DATA).upper())
        assert (info.filename, info.size, info.content_type) == ("caf\u00e9.PDF", len(DATA), "application/pdf")
        assert (info.checksum, info.uploaded_by) == (sha256(DATA), "ann")
        assert info.visibility == file_pb2.VISIBILITY_PRIVATE
        assert info.uploaded_at.seconds > 1_500_000_000
        assert await download(server.stub, info.file_id) == (info, DATA)
        read = await server.stub.GetFileInfo(file_pb2.GetFileInfoRequest(file_id=info.file_id), metadata=ANN)
        assert read.file == info
        assert (server.parts(), len(server.blobs())) == ([], 1)


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one byte", "more"])
async def test_nothing_but_the_name_is_needed(client_aio: ModuleType, place: Place, data: bytes) -> None:
    async with running(client_aio, place) as server:
        messages = [header("noend"), *([chunk(data)] if data else [])]
        info = (await server.stub.UploadFile(iter(messages))).file
        assert (info.content_type, info.uploaded_by) == (service.DEFAULT_CONTENT_TYPE, "anonymous")
        assert await download(server.stub, info.file_id, metadata=None) == (info, data)


async def test_the_client_chooses_id_type_and_visibility(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        given: dict[str, Any] = {"file_id": "file_17-a.b", "content_type": "text/plain; charset=utf-8"}
        info = await upload(server.stub, DATA, visibility=file_pb2.VISIBILITY_PUBLIC, **given)
        assert (info.file_id, info.content_type) == (given["file_id"], given["content_type"])
        assert (await download(server.stub, info.file_id, metadata=BOB))[1] == DATA
        failure = await failure_of(upload(server.stub, b"other", file_id="file_17-a.b"), client_aio)
        assert reason(failure) == ("ALREADY_EXISTS", "FILE_EXISTS")
        assert failure.detail(ResourceInfo).resource_name == "file_17-a.b"
        assert (await download(server.stub, info.file_id))[1] == DATA


async def test_requests_that_break_a_rule(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path, limits=Limits(chunk_size=1000)) as server:
        for messages, violations in BAD_UPLOADS:
            failure = await failure_of(server.stub.UploadFile(iter(messages), metadata=ANN), client_aio)
            assert (failure.code, failure.violations) == ("INVALID_ARGUMENT", violations)
        assert server.blobs() == []


@pytest.mark.parametrize(
    ("messages", "code", "why"),
    [
        ([header(checksum="0" * 64), chunk(b"x")], "DATA_LOSS", "CHECKSUM_MISMATCH"),
        ([header(), chunk(b"x"), chunk(b"y", checksum="0" * 64)], "DATA_LOSS", "CHECKSUM_MISMATCH"),
        ([header(size=2), chunk(b"x")], "DATA_LOSS", "SIZE_MISMATCH"),
        ([header(size=2), chunk(b"xyz")], "DATA_LOSS", "SIZE_MISMATCH"),
        ([header(size=101)], "RESOURCE_EXHAUSTED", "FILE_TOO_LARGE"),
        ([header(), chunk(b"x" * 60), chunk(b"x" * 41)], "RESOURCE_EXHAUSTED", "FILE_TOO_LARGE"),
    ],
)
async def test_what_is_not_as_announced_is_thrown_away(
    place: Place, client_aio: ModuleType, messages: Any, code: str, why: str
) -> None:
    async with running(client_aio, place, limits=Limits(file_size=100)) as server:
        messages[0].header.file_id = "mine"
        failure = await failure_of(server.stub.UploadFile(iter(messages), metadata=ANN), client_aio)
        assert (*reason(failure), failure.detail(ErrorInfo).domain) == (code, why, errors.DOMAIN)
        await settled(server)
        assert (server.parts(), server.blobs()) == ([], [])
        missing = server.stub.GetUpload(file_pb2.GetUploadRequest(file_id="mine"), metadata=ANN)
        assert reason(await failure_of(missing, client_aio)) == ("NOT_FOUND", "UPLOAD_NOT_FOUND")


async def state(server: Running, file_id: str) -> tuple[int, int]:
    request = file_pb2.GetUploadRequest(file_id=file_id)
    response = await server.stub.GetUpload(request, metadata=ANN)
    return response.state, response.received_size


@pytest.mark.parametrize("file_id", ["mine", ""], ids=["id of the client", "id of the server"])
async def test_a_broken_upload_is_resumed(client_aio: ModuleType, place: Place, file_id: str) -> None:
    async with running(client_aio, place) as server:
        messages = list(requests(DATA, file_id=file_id))
        given = await interrupted(server, messages[:4], 3000)
        assert file_id in ("", given)
        assert await state(server, given) == (file_pb2.UPLOAD_STATE_UNFINISHED, 3000)
        missing = server.stub.GetFileInfo(file_pb2.GetFileInfoRequest(file_id=given), metadata=ANN)
        assert reason(await failure_of(missing, client_aio)) == ("NOT_FOUND", "FILE_NOT_FOUND")
        too_far = await failure_of(upload(server.stub, DATA, file_id=given, offset=3001), client_aio)
        assert reason(too_far) == ("OUT_OF_RANGE", "OFFSET_BEYOND_UPLOAD")
        assert dict(too_far.detail(ErrorInfo).metadata) == {"received_size": "3000"}
        # Fewer bytes than are stored may be counted on, too.
        info = await upload(server.stub, DATA, file_id=given, offset=2500, checksum=sha256(DATA), size=len(DATA))
        assert (info.file_id, info.checksum) == (given, sha256(DATA))
        assert await state(server, given) == (file_pb2.UPLOAD_STATE_COMPLETE, len(DATA))
        assert (await download(server.stub, given))[1] == DATA


async def test_an_upload_begins_anew(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        file_id = await interrupted(server, list(requests(DATA, file_id="mine"))[:4], 3000)
        info = await upload(server.stub, b"other", file_id=file_id)
        assert await download(server.stub, file_id) == (info, b"other")


async def test_an_unfinished_upload_is_its_owners(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        await interrupted(server, list(requests(DATA, file_id="mine"))[:2], 1000)
        for call in (
            upload(server.stub, DATA, metadata=BOB, file_id="mine"),
            server.stub.GetUpload(file_pb2.GetUploadRequest(file_id="mine"), metadata=BOB),
            server.stub.CancelUpload(file_pb2.CancelUploadRequest(file_id="mine"), metadata=BOB),
        ):
            assert reason(await failure_of(call, client_aio)) == ("PERMISSION_DENIED", "NOT_OWNER")
        await upload(server.stub, DATA, file_id="mine", offset=1000)
        call = server.stub.GetUpload(file_pb2.GetUploadRequest(file_id="mine"), metadata=BOB)
        assert reason(await failure_of(call, client_aio)) == ("PERMISSION_DENIED", "NOT_OWNER")


async def test_an_upload_is_sent_by_one_call(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        first = server.stub.UploadFile(metadata=ANN)
        await first.write(header(file_id="mine"))
        await first.initial_metadata()
        cancel = server.stub.CancelUpload(file_pb2.CancelUploadRequest(file_id="mine"), metadata=ANN)
        for call in (upload(server.stub, DATA, file_id="mine"), cancel):
            assert reason(await failure_of(call, client_aio)) == ("ABORTED", "UPLOAD_BUSY")
        await first.write(chunk(b"first"))
        await first.done_writing()
        assert (await first).file.size == 5


async def test_an_upload_is_given_up(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place) as server:
        await interrupted(server, list(requests(DATA, file_id="mine"))[:2], 1000)
        await server.stub.CancelUpload(file_pb2.CancelUploadRequest(file_id="mine"), metadata=ANN)
        assert server.parts() == []
        again = server.stub.CancelUpload(file_pb2.CancelUploadRequest(file_id="mine"), metadata=ANN)
        assert reason(await failure_of(again, client_aio)) == ("NOT_FOUND", "UPLOAD_NOT_FOUND")
        from_middle = upload(server.stub, DATA, file_id="mine", offset=1000)
        assert reason(await failure_of(from_middle, client_aio)) == ("OUT_OF_RANGE", "OFFSET_BEYOND_UPLOAD")
        await upload(server.stub, DATA, file_id="mine")


@pytest.mark.parametrize("limits", [Limits(uploads=2), Limits(uploads_of_owner=2)])
async def test_unfinished_uploads_are_limited(client_aio: ModuleType, tmp_path: Path, limits: Limits) -> None:
    async with running(client_aio, tmp_path, limits=limits) as server:
        calls = [server.stub.UploadFile(metadata=ANN) for _ in range(2)]
        for call in calls:
            await call.write(header())
            await call.initial_metadata()
        failure = await failure_of(upload(server.stub, DATA), client_aio)
        assert reason(failure) == ("RESOURCE_EXHAUSTED", "TOO_MANY_UPLOADS")
        if limits.uploads > 2:
            await upload(server.stub, DATA, metadata=BOB)
        for call in calls:
            await call.done_writing()
            await call
        await upload(server.stub, DATA)


async def test_an_idle_upload_ends(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path, limits=Limits(idle_seconds=0.05)) as server:
        for call in (server.stub.UploadFile(metadata=ANN), server.old.UploadFile(metadata=ANN)):
            assert reason(await failure_of(call, client_aio)) == ("DEADLINE_EXCEEDED", "UPLOAD_IDLE")
        assert server.parts() == []


async def test_what_arrives_is_made_durable_now_and_then(client_aio: ModuleType, place: Place) -> None:
    async with running(client_aio, place, limits=Limits(checkpoint_size=2500)) as server:
        call = server.stub.UploadFile(metadata=ANN)
        for message in list(requests(DATA, file_id="mine"))[:5]:
            await call.write(message)
        await call.initial_metadata()
        await arrived(server, 4000)
        assert await state(server, "mine") == (file_pb2.UPLOAD_STATE_UNFINISHED, 3000)
        call.cancel()
        await settled(server)
        assert await state(server, "mine") == (file_pb2.UPLOAD_STATE_UNFINISHED, 4000)


async def test_abandoned_uploads_are_removed(client_aio: ModuleType, place: Place) -> None:
    now = [10**15]
    async with running(client_aio, place, clock=lambda: now[0], limits=Limits(abandoned_seconds=60)) as server:
        await interrupted(server, list(requests(DATA, file_id="old"))[:2], 1000)
        now[0] += 60 * 1_000_000
        assert await server.files.uploads.remove_abandoned() == 0
        now[0] += 1
        busy = server.stub.UploadFile(metadata=ANN)
        await busy.write(header(file_id="busy"))
        await busy.initial_metadata()
        assert await server.files.uploads.remove_abandoned() == 1
        now[0] += 61 * 1_000_000
        assert await server.files.uploads.remove_abandoned() == 0
        assert len(server.parts()) == 1
        await busy.done_writing()
        assert (await busy).file.file_id == "busy"


async def test_a_missing_part_is_started_over(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        await interrupted(server, list(requests(DATA, file_id="mine"))[:4], 3000)
        [part] = server.parts()
        (tmp_path / "parts" / part).unlink()
        failure = await failure_of(upload(server.stub, DATA, file_id="mine", offset=3000), client_aio)
        assert dict(failure.detail(ErrorInfo).metadata) == {"received_size": "0"}
        assert await state(server, "mine") == (file_pb2.UPLOAD_STATE_UNFINISHED, 0)
        assert (await upload(server.stub, DATA, file_id="mine")).size == len(DATA)
