"""What a server that was killed has left behind: nothing of it is seen, and it is removed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files import catalog, opening
from pygrpc.services.protos.file import file_pb2_grpc as old_pb2_grpc
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from tests.services.files.support import (
    ANN,
    arrived,
    download,
    failure_of,
    header,
    interrupted,
    old_chunks,
    reason,
    requests,
    running,
    sha256,
    upload,
    written,
)
from tests.services.program import failing, serving
from tests.services.support import until

DATA = bytes(range(256)) * 400


def parts(folder: Path) -> list[Path]:
    return list((folder / "parts").iterdir())


async def test_a_server_that_is_killed_during_uploads(client_aio: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    arguments = ("--files", folder, "--log-level", "warning")
    async with (
        serving(tmp_path / "users.db", *arguments) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        stub, old = file_pb2_grpc.FileServiceStub(channel), old_pb2_grpc.FileServiceStub(channel)
        whole = await upload(stub, DATA, file_id="whole")
        first = stub.UploadFile(metadata=ANN)
        await first.write(header(file_id="resumable"))
        await first.initial_metadata()
        [part] = parts(folder)
        await first.write(next(iter(list(requests(DATA, 50_000))[1:])))
        await written(part, 50_000)
        second = old.UploadFile(metadata=ANN)
        await second.write(old_chunks(DATA, 50_000, file_id="old")[0])
        await until(lambda: len(parts(folder)) == 2)
        [other] = [path for path in parts(folder) if path != part]
        await written(other, 50_000)
        program.process.kill()
        assert (await program.finished())[0] == -9
        for call in (first, second):
            with pytest.raises(client_aio.AioRpcError):
                await call
    async with (
        serving(tmp_path / "users.db", *arguments) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        stub = file_pb2_grpc.FileServiceStub(channel)
        assert parts(folder) == [part]
        assert await download(stub, "whole") == (whole, DATA)
        listed = await stub.ListFiles(file_pb2.ListFilesRequest(), metadata=ANN)
        assert list(listed.files) == [whole]
        for file_id in ("resumable", "old"):
            assert reason(await failure_of(download(stub, file_id), client_aio)) == ("NOT_FOUND", "FILE_NOT_FOUND")
        # Less than was received counts, since no checkpoint was reached; the client goes on from what the server says.
        state = await stub.GetUpload(file_pb2.GetUploadRequest(file_id="resumable"), metadata=ANN)
        assert state.received_size == 0
        info = await upload(stub, DATA, file_id="resumable", offset=state.received_size)
        assert info.checksum == sha256(DATA)
        assert parts(folder) == []


async def test_a_server_that_is_stopped_keeps_what_has_arrived(client_aio: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    arguments = ("--files", folder, "--log-level", "warning", "--grace", 0)
    async with (
        serving(tmp_path / "users.db", *arguments) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        call = file_pb2_grpc.FileServiceStub(channel).UploadFile(metadata=ANN)
        for message in list(requests(DATA, 50_000, file_id="mine"))[:2]:
            await call.write(message)
        await call.initial_metadata()
        await written(parts(folder)[0], 50_000)
        program.process.send_signal(signal.SIGTERM)
        assert await program.finished() == (0, "", "")
        with pytest.raises(client_aio.AioRpcError):
            await call
    async with running(client_aio, folder) as server:
        state = await server.stub.GetUpload(file_pb2.GetUploadRequest(file_id="mine"), metadata=ANN)
        assert state.received_size == 50_000
        assert (await upload(server.stub, DATA, file_id="mine", offset=50_000)).checksum == sha256(DATA)


async def test_what_nobody_knows_is_removed(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        kept = await upload(server.stub, DATA)
        await interrupted(server, list(requests(DATA, file_id="kept"))[:2], 1000)
        known = [*server.parts(), *server.blobs()]
    (tmp_path / "parts" / "1234").write_bytes(b"x")
    (tmp_path / "blobs" / "5678").write_bytes(b"x")
    async with running(client_aio, tmp_path) as server:
        assert [*server.parts(), *server.blobs()] == known
        assert (await download(server.stub, kept.file_id))[1] == DATA
        await upload(server.stub, DATA, file_id="kept", offset=1000)


async def test_a_second_server_leaves_what_the_first_is_at(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as first:
        call = first.old.UploadFile(metadata=ANN)
        await call.write(old_chunks(DATA, 50_000, file_id="mine")[0])
        await until(lambda: bool(first.parts()))
        await arrived(first, 50_000)
        async with running(client_aio, tmp_path) as second:
            assert len(second.parts()) == 1
            failure = await failure_of(upload(second.stub, DATA, file_id="mine"), client_aio)
            assert reason(failure) == ("ABORTED", "UPLOAD_BUSY")
            for chunk in old_chunks(DATA, 50_000, file_id="mine")[1:]:
                await call.write(chunk)
            await call.done_writing()
            assert (await call).success
            assert (await download(second.stub, "mine"))[1] == DATA


async def test_a_crash_between_the_rename_and_the_commit(client_aio: ModuleType, tmp_path: Path) -> None:
    async with running(client_aio, tmp_path) as server:
        await interrupted(server, list(requests(DATA, file_id="mine"))[:2], 1000)
        [part] = server.parts()
        os.rename(tmp_path / "parts" / part, tmp_path / "blobs" / part)
    async with running(client_aio, tmp_path) as server:
        assert (server.parts(), server.blobs()) == ([], [])
        failure = await failure_of(upload(server.stub, DATA, file_id="mine", offset=1000), client_aio)
        assert reason(failure) == ("OUT_OF_RANGE", "OFFSET_BEYOND_UPLOAD")
        assert (await upload(server.stub, DATA, file_id="mine")).checksum == sha256(DATA)


async def test_a_folder_or_catalog_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no folder")
    arguments = ("--port", 0, "--database", tmp_path / "users.db", "--files", tmp_path / "text")
    status, output, problem = await failing(*arguments)
    assert (status, output) == (1, "")
    assert problem.startswith(f'pygrpc serve: the file folder "{tmp_path / "text"}" cannot be used: ')
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / opening.CATALOG).write_text("no database " * 100)
    with pytest.raises(StoreError, match=r"the file catalog .* cannot be used: file is not a database"):
        async with opening.open_files(tmp_path / "files"):
            raise AssertionError


async def test_the_catalog_forgets_what_is_removed(tmp_path: Path) -> None:
    async with opening.open_files(tmp_path) as files:
        assert isinstance(files.catalog, catalog.DatabaseCatalog)
        assert await files.catalog.not_resumable() == []
        cleaning = asyncio.create_task(files.uploads.clean_up(0))
        await asyncio.sleep(0)
        cleaning.cancel()
        await asyncio.wait((cleaning,))
        assert cleaning.cancelled()
