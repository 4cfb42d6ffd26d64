"""The life of an upload without a server: cancelled at each of its moments; and the tables under it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from pygrpc.services.errors import RequestError
from pygrpc.services.files import OpenFiles, open_files, schema
from pygrpc.services.files.storage import PartBusy
from pygrpc.services.files.uploads import Announced, in_time
from tests.services.files.support import sha256

MINE = Announced("mine", "ann", "a.txt", "text/plain", 1)


async def test_the_migrations_make_the_tables_that_are_used(tmp_path: Path) -> None:
    async with open_files(tmp_path) as files, files.catalog._read() as connection:
        for table in (schema.files, schema.uploads):
            columns = await connection.run_sync(lambda sync, name=table.name: inspect(sync).get_columns(name))
            assert [column["name"] for column in columns] == [column.name for column in table.columns]
            assert not any(column["nullable"] for column in columns)
        for query in (
            "SELECT * FROM files WHERE owner = 'ann' ORDER BY uploaded_at, file_id",
            "SELECT * FROM files ORDER BY uploaded_at, file_id",
        ):
            plan = " ".join(str(row) for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
            assert "files_by_" in plan
            assert "TEMP B-TREE" not in plan
    assert schema.StoredFile._fields == tuple(column.name for column in schema.files.columns)
    assert schema.Upload._fields == tuple(column.name for column in schema.uploads.columns)


async def whole(files: OpenFiles, data: bytes, announced: Announced = MINE) -> schema.StoredFile:
    async with files.uploads.receive(announced) as receiver:
        await receiver.write(data)
        return await receiver.finish()


async def test_a_call_that_is_cancelled_at_its_beginning_locks_nothing(tmp_path: Path) -> None:
    async with open_files(tmp_path) as files:
        reached, go_on = asyncio.Event(), asyncio.Event()
        begin = files.catalog.begin

        async def slow(*arguments: object) -> schema.Upload:
            reached.set()
            await go_on.wait()
            return await begin(*arguments)  # type: ignore[arg-type]

        files.catalog.begin = slow  # type: ignore[method-assign]
        call = asyncio.create_task(whole(files, b"x"))
        await reached.wait()
        call.cancel()
        await asyncio.wait((call,))
        assert call.cancelled()
        go_on.set()
        await files.uploads.close()
        files.catalog.begin = begin  # type: ignore[method-assign]
        assert (await whole(files, b"whole")).checksum == sha256(b"whole")


async def test_a_call_that_is_cancelled_at_its_end_has_made_the_file(tmp_path: Path) -> None:
    async with open_files(tmp_path) as files:
        reached, go_on = asyncio.Event(), asyncio.Event()
        complete = files.catalog.complete

        async def slow(*arguments: object) -> schema.StoredFile:
            reached.set()
            await go_on.wait()
            return await complete(*arguments)  # type: ignore[arg-type]

        files.catalog.complete = slow  # type: ignore[method-assign]
        call = asyncio.create_task(whole(files, b"whole"))
        await reached.wait()
        with pytest.raises(RequestError, match="there is no file"):
            await files.catalog.get("mine")
        with pytest.raises(PartBusy):
            await files.uploads.cancel("mine", "ann")
        call.cancel()
        go_on.set()
        await asyncio.wait((call,))
        await files.uploads.close()
        assert (await files.catalog.get("mine")).checksum == sha256(b"whole")
        assert list(files.storage.part_names()) == []


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_rename_that_is_not_committed_is_no_file(tmp_path: Path, resumable: bool) -> None:
    async with open_files(tmp_path) as files:
        announced = MINE._replace(resumable=resumable)
        async with files.uploads.receive(announced) as receiver:
            await receiver.write(b"x")
            # Somebody has removed the upload meanwhile, so that the transaction fails.
            await files.catalog.forget(receiver.upload)
            with pytest.raises(RequestError, match="there is no upload"):
                await receiver.finish()
        with pytest.raises(RequestError, match="there is no file"):
            await files.catalog.get("mine")
    async with open_files(tmp_path) as files:
        assert [*files.storage.part_names(), *files.storage.blob_names()] == []


async def test_messages_that_come_in_time() -> None:
    async def messages() -> AsyncIterator[int]:
        yield 1
        yield 2
        await asyncio.Event().wait()

    found = []
    async with aclosing(in_time(messages(), 0.1)) as numbers:
        with pytest.raises(RequestError, match=r"no message of the upload came for 0\.1 seconds"):
            async for number in numbers:
                found.append(number)
    assert found == [1, 2]


async def test_an_idle_upload_can_be_resumed(tmp_path: Path) -> None:
    async def messages() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with open_files(tmp_path) as files:
        with pytest.raises(RequestError, match="no message of the upload came"):
            async with files.uploads.receive(MINE) as receiver, aclosing(in_time(messages(), 0.05)) as chunks:
                async for chunk in chunks:
                    await receiver.write(chunk)
        assert (await files.catalog.upload("mine", "ann")).received == 5
        assert (await whole(files, b" second", MINE._replace(offset=5))).checksum == sha256(b"first second")
