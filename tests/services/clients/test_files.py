"""What the file client does besides transfers."""

from __future__ import annotations

from pathlib import Path

from pygrpc.services.clients.files import FileClient
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.clients.support import collected, fails, world
from tests.services.clients.test_uploads import source


async def test_lists_and_the_rest(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        files = FileClient(here.clients.connection)
        for number in range(3):
            await files.upload(source(tmp_path, b"data"), file_id=f"file-{number}")
        assert [each.file_id for each in await collected(files.list(page_size=2))] == ["file-0", "file-1", "file-2"]
        await files.delete("file-1")
        with fails("NOT_FOUND"):
            await files.info("file-1")
        with fails("NOT_FOUND"):
            await files.cancel_upload("file-1")


async def test_files_of_others(tmp_path: Path) -> None:
    async with world(tmp_path, metadata=(("user-id", "ann"),)) as here, here.more() as others:
        path = source(tmp_path, b"data")
        await here.clients.files.upload(path, file_id="mine")
        await here.clients.files.upload(path, file_id="ours", visibility=file_pb2.VISIBILITY_PUBLIC)
        assert [each.file_id for each in await collected(others.files.list("ann"))] == ["ours"]
        assert await collected(others.files.list()) == []
        with fails("PERMISSION_DENIED"):
            await others.files.info("mine")
