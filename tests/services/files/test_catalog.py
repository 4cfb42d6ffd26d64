"""The catalog of files without a server, in each database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.errors import RequestError
from pygrpc.services.files import DatabaseCatalog, Limits
from pygrpc.services.files.paging import Position
from pygrpc.services.files.schema import StoredFile, Upload
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.stores import Clock

PRIVATE, PUBLIC = file_pb2.VISIBILITY_PRIVATE, file_pb2.VISIBILITY_PUBLIC
LIMITS = Limits(uploads=4, uploads_of_owner=2)


@asynccontextmanager
async def opened(database: str, clock: Callable[[], int] | None = None) -> AsyncIterator[DatabaseCatalog]:
    catalog = await DatabaseCatalog.open(database, clock=clock or Clock())
    try:
        yield catalog
    finally:
        await catalog.close()


async def nothing() -> None:
    """Stands for the rename of a part."""


async def stored(
    catalog: DatabaseCatalog, file_id: str, owner: str = "ann", visibility: int = PRIVATE, size: int = 5 << 32
) -> StoredFile:
    upload = await catalog.begin(file_id, owner, 0, True, Limits())
    file = StoredFile(file_id, owner, f"{file_id}.txt", size, "text/plain", "c" * 64, visibility, 0, upload.part)
    return await catalog.complete(upload, file, nothing)


def reason(error: RequestError) -> str:
    return next(detail.reason for detail in error.details if isinstance(detail, ErrorInfo))


async def test_an_upload_becomes_a_file(database: str) -> None:
    async with opened(database) as catalog:
        upload = await catalog.begin("", "ann", 0, True, LIMITS)
        assert upload == Upload(upload.file_id, "ann", upload.part, 0, True, Clock().now)
        await catalog.note(upload, 5 << 32)
        assert (await catalog.upload(upload.file_id, "ann")).received == 5 << 32
        assert (await catalog.begin(upload.file_id, "ann", 5 << 32, True, LIMITS)).part == upload.part
        file = StoredFile(upload.file_id, "ann", "ä.txt", 5 << 32, "text/plain", "c" * 64, PRIVATE, 0, upload.part)
        done = await catalog.complete(upload, file, nothing)
        assert done == file._replace(uploaded_at=Clock().now)
        assert await catalog.get(upload.file_id) == done
        with pytest.raises(RequestError) as raised:
            await catalog.upload(upload.file_id, "ann")
        assert reason(raised.value) == "UPLOAD_NOT_FOUND"
        assert await catalog.delete(upload.file_id, "ann") == done
        with pytest.raises(RequestError) as raised:
            await catalog.get(upload.file_id)
        assert reason(raised.value) == "FILE_NOT_FOUND"


async def test_a_file_that_cannot_be_published_is_none(database: str) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async with opened(database) as catalog:
        upload = await catalog.begin("mine", "ann", 0, True, LIMITS)
        file = StoredFile("mine", "ann", "a.txt", 1, "text/plain", "c" * 64, PRIVATE, 0, upload.part)
        with pytest.raises(ZeroDivisionError):
            await catalog.complete(upload, file, fail)
        assert await catalog.upload("mine", "ann") == upload


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("file", "ann", 0), "FILE_EXISTS"),
        (("upload", "bob", 0), "NOT_OWNER"),
        (("upload", "ann", 8), "OFFSET_BEYOND_UPLOAD"),
        (("new", "ann", 1), "OFFSET_BEYOND_UPLOAD"),
        (("new", "eve", 0), "TOO_MANY_UPLOADS"),
    ],
)
async def test_what_cannot_be_uploaded(database: str, arguments: tuple[str, str, int], expected: str) -> None:
    async with opened(database) as catalog:
        await stored(catalog, "file")
        await catalog.note(await catalog.begin("upload", "ann", 0, True, LIMITS), 7)
        for _ in range(2):
            await catalog.begin("", "eve", 0, False, LIMITS)
        with pytest.raises(RequestError) as raised:
            await catalog.begin(*arguments, True, LIMITS)
        assert reason(raised.value) == expected


async def test_pages_have_what_the_viewer_may_see(database: str) -> None:
    async with opened(database) as catalog:
        for file_id, owner, visibility in (
            ("a", "ann", PRIVATE),
            ("b", "bob", PRIVATE),
            ("c", "bob", PUBLIC),
            ("d", "ann", PUBLIC),
            ("e", "ann", PRIVATE),
        ):
            await stored(catalog, file_id, owner, visibility)

        async def ids(viewer: str, owner: str = "", **page: int) -> tuple[str, int]:
            found, total = await catalog.page(viewer, owner, **({"limit": 9} | page))
            return "".join(file.file_id for file in found), total

        assert await ids("ann") == ("acde", 4)
        assert await ids("ann", "ann") == ("ade", 3)
        assert await ids("ann", "bob") == ("c", 1)
        assert await ids("ann", limit=2, offset=1) == ("cd", 4)
        first, _ = await catalog.page("ann", limit=2)
        rest, _ = await catalog.page("ann", limit=9, after=Position(first[-1].uploaded_at, first[-1].file_id))
        assert [file.file_id for file in rest] == ["d", "e"]


async def test_what_is_to_be_removed(database: str) -> None:
    clock = Clock()
    async with opened(database, clock) as catalog:
        kept = await stored(catalog, "kept")
        old = await catalog.begin("old", "ann", 0, True, LIMITS)
        clock.now += 1
        passing = await catalog.begin("passing", "ann", 0, False, LIMITS)
        assert await catalog.abandoned(clock.now) == [old]
        assert await catalog.not_resumable() == [passing]
        assert await catalog.unknown_parts([old.part, "1234"]) == ["1234"]
        removed: list[str] = []

        async def remove(name: str) -> None:
            removed.append(name)

        await catalog.remove_unknown_blobs([kept.blob, "5678"], remove)
        assert removed == ["5678"]
        await catalog.forget(old)
        assert await catalog.abandoned(clock.now) == []


async def test_an_upload_becomes_one_file_whoever_finishes_it(shared_database: str) -> None:
    async with opened(shared_database) as here, opened(shared_database) as there:
        upload = await here.begin("mine", "ann", 0, True, LIMITS)
        file = StoredFile("mine", "ann", "a.txt", 1, "text/plain", "c" * 64, PRIVATE, 0, upload.part)
        published: list[str] = []

        async def publish() -> None:
            published.append(upload.part)

        results = await asyncio.gather(
            *(catalog.complete(upload, file, publish) for catalog in (here, there, here)), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, RequestError)]
        assert [reason(failure) for failure in failures] == ["UPLOAD_NOT_FOUND"] * 2
        assert published == [upload.part]
        assert (await there.get("mine")).blob == upload.part
