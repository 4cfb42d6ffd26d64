"""Servers with files in S3: one that is killed in the middle of an upload, and two that behave as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pygrpc import aio
from pygrpc.services.files.s3.storage import S3Storage
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from tests.services.files.s3.support import bucket_of, keys
from tests.services.files.support import ANN, download, failure_of, header, reason, requests, upload
from tests.services.program import serving

DATA = bytes(range(256)) * (40 << 10)
PIECE = 1 << 20


async def test_nothing_is_seen_of_an_upload_in_whose_middle_the_server_is_killed(s3: str, tmp_path: Path) -> None:
    arguments = (tmp_path / "users.db", "--files", s3, "--log-level", "error")
    async with serving(*arguments) as program, aio.insecure_channel(program.address) as channel:
        stub = file_pb2_grpc.FileServiceStub(channel)
        whole = await upload(stub, DATA, size=PIECE, file_id="whole")
        call = stub.UploadFile(metadata=ANN)
        await call.write(header(file_id="half"))
        await call.initial_metadata()
        for message in list(requests(DATA, PIECE))[1:]:
            await call.write(message)
        async with bucket_of(s3) as bucket:
            # The first bytes are stored.
            while not any(key.endswith("/0000000000000000") for key in await keys(bucket)):
                pass
            program.process.kill()
            assert (await program.finished())[0] == -9
            with pytest.raises(aio.AioRpcError):
                await call
    async with serving(*arguments) as program, aio.insecure_channel(program.address) as channel:
        stub = file_pb2_grpc.FileServiceStub(channel)
        assert await download(stub, "whole") == (whole, DATA)
        assert list((await stub.ListFiles(file_pb2.ListFilesRequest(), metadata=ANN)).files) == [whole]
        assert reason(await failure_of(download(stub, "half"), aio)) == ("NOT_FOUND", "FILE_NOT_FOUND")
        state = await stub.GetUpload(file_pb2.GetUploadRequest(file_id="half"), metadata=ANN)
        assert (state.state, state.received_size) == (file_pb2.UPLOAD_STATE_UNFINISHED, 0)
    # When its lease is over, whoever goes on with it finds what was made durable, or begins anew.
    storage = await S3Storage.open(s3, lease=-60.0)
    [part] = await storage._bucket.run(lambda: list(storage.part_names()))
    await storage.discard_part(part)
    # The lease of the test is over at once too, and so it is not given back.
    assert [key.rpartition("/")[2] for key in await keys(storage._bucket) if "parts/" in key] == ["lease"]
    await storage.close()


async def test_two_servers_on_one_bucket_and_database(s3: str, postgresql: str) -> None:
    arguments = (postgresql, "--files", s3, "--log-level", "error")
    async with (
        serving(*arguments) as one,
        serving(*arguments) as other,
        aio.insecure_channel(one.address) as channel,
        aio.insecure_channel(other.address) as another,
    ):
        here, there = file_pb2_grpc.FileServiceStub(channel), file_pb2_grpc.FileServiceStub(another)
        first = here.UploadFile(metadata=ANN)
        messages = list(requests(DATA, PIECE, file_id="mine"))
        for message in messages[:3]:
            await first.write(message)
        await first.initial_metadata()
        assert reason(await failure_of(upload(there, DATA, file_id="mine"), aio)) == ("ABORTED", "UPLOAD_BUSY")
        for message in messages[3:]:
            await first.write(message)
        await first.done_writing()
        info = (await first).file
        assert await download(there, "mine") == (info, DATA)
        assert await download(there, "mine", offset=PIECE + 1) == (info, DATA[PIECE + 1 :])
        await there.DeleteFile(file_pb2.DeleteFileRequest(file_id="mine"), metadata=ANN)
        assert reason(await failure_of(download(here, "mine"), aio)) == ("NOT_FOUND", "FILE_NOT_FOUND")
    async with bucket_of(s3) as bucket:
        assert await keys(bucket) == ["catalog"]
