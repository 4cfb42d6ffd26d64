"""Parts in S3 when something goes wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3 import part as module
from pygrpc.services.files.s3.bucket import Conflict, Missing
from pygrpc.services.files.s3.part import S3Part
from pygrpc.services.files.s3.storage import S3Storage
from pygrpc.services.files.storage import BlobMissing, PartBusy, PartMissing, StorageFull
from tests.services.files.s3.support import keys, storage_of
from tests.services.files.support import sha256

MIB = 1 << 20
LARGE = b"x" * (9 * MIB)


async def large(storage: S3Storage) -> S3Part:
    """Returns a part of a segment and a bit."""
    part = await storage.open_part("abc", 0)
    for start in range(0, len(LARGE), MIB):
        await part.write(LARGE[start : start + MIB])
    return part


async def test_what_is_stored_and_when(s3: str) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        folder = "parts/abc/"
        assert await keys(storage._bucket) == [folder + "0000000000000000", folder + "lease"]
        await part.sync()
        written = [folder + "0000000000000000", folder + "0000000000800000", folder + "lease"]
        assert await keys(storage._bucket) == written
        await part.prepare()
        assert await keys(storage._bucket) == written
        await part.publish()
        await part.close()
        assert await keys(storage._bucket) == ["blobs/abc"]


async def test_a_segment_that_somebody_else_has_changed_is_not_published(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)

        async def changed(*arguments: Any) -> str:
            raise Conflict("PreconditionFailed")

        monkeypatch.setattr(storage._bucket, "upload_copy", changed)
        with pytest.raises(StoreError, match="somebody else has changed an upload"):
            await part.prepare()
        await part.close()
        with pytest.raises(BlobMissing):
            await storage.open_blob("abc")


async def test_a_lease_that_is_lost_ends_all_writing(s3: str, caplog: pytest.LogCaptureFixture) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        part._lease._end = 0.0
        for operation in (part.write(b"x"), part.sync(), part.prepare(), part.publish(), part.discard()):
            with pytest.raises(StoreError, match="may be another process's now"):
                await operation
        with caplog.at_level(logging.WARNING, "pygrpc"):
            await part.close()
        assert len(caplog.messages) == 1
        # Nothing is taken from whoever may have it now.
        assert await keys(storage._bucket) == ["parts/abc/0000000000000000", "parts/abc/lease"]
        with pytest.raises(PartBusy):
            await storage.open_part("abc", 0)


async def test_a_write_that_fails_is_made_good(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage_of(s3) as storage:
        part = await storage.open_part("abc", 0)
        for _ in range(7):
            await part.write(b"a" * MIB)

        async def fails(key: str, data: bytes) -> str:
            raise StoreError("out of order")

        with monkeypatch.context() as patch:
            patch.setattr(storage._bucket, "put", fails)
            for operation in (part.write(b"b" * MIB), part.sync()):
                with pytest.raises(StoreError, match="out of order"):
                    await operation
        await part.sync()
        await part.close()
        part = await storage.open_part("abc", 8 * MIB)
        assert part.checksum() == sha256(b"a" * (7 * MIB) + b"b" * MIB)
        await part.discard()
        await part.close()
        assert await keys(storage._bucket) == []


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_that_is_lost_at_the_end(s3: str, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        await part.prepare()
        complete = storage._bucket.complete_upload

        async def twice(*arguments: Any) -> None:
            if done:
                await complete(*arguments)
            raise Missing("NoSuchUpload")

        with monkeypatch.context() as patch:
            patch.setattr(storage._bucket, "complete_upload", twice)
            if done:
                await part.publish()
            else:
                with pytest.raises(StoreError, match="can't be completed"):
                    await part.publish()
        await part.close()
        assert await storage._bucket.has("blobs/abc") == done


async def test_a_multipart_upload_that_was_left_is_given_up(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage_of(s3) as storage:
        bucket = storage._bucket
        part = await large(storage)
        await part.sync()
        await part.prepare()

        async def fails(key: str) -> None:
            raise StoreError("out of order")

        with monkeypatch.context() as patch:
            patch.setattr(bucket, "abort_uploads", fails)
            await part.close()
        assert await bucket.run(lambda: list(bucket._uploads("blobs/abc"))) == [part._upload]
        part = await storage.open_part("abc", len(LARGE))
        assert await bucket.run(lambda: list(bucket._uploads("blobs/abc"))) == []
        await part.prepare()
        await part.publish()
        await part.close()
        assert await keys(bucket) == ["blobs/abc"]


async def test_segments_that_have_gone(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        await part.sync()
        await part.close()
        with monkeypatch.context() as patch:

            def gone(key: str, offset: int) -> Any:
                raise Missing(key)

            patch.setattr(storage._bucket, "stream", gone)
            with pytest.raises(StoreError, match="somebody else has changed an upload"):
                await storage.open_part("abc", len(LARGE))
        await storage._bucket.delete(["parts/abc/0000000000000000"])
        with pytest.raises(PartMissing):
            await storage.open_part("abc", len(LARGE))


async def test_no_more_segments_than_a_multipart_upload_takes(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SEGMENTS", 2)
    async with storage_of(s3) as storage:
        part = await storage.open_part("abc", 0)
        for _ in range(8):
            await part.write(b"x" * MIB)
        with pytest.raises(StorageFull):
            await part.write(b"x")
        await part.close()


async def test_leftovers_that_cannot_be_removed_do_no_harm(
    s3: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        await part.prepare()
        await part.publish()
        delete = storage._bucket.delete

        async def fails(names: Any) -> None:
            if "lease" not in names[0]:
                raise StoreError("out of order")
            await delete(names)

        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "pygrpc"):
            patch.setattr(storage._bucket, "delete", fails)
            await part.close()
        assert caplog.messages == ["What an upload has left could not be removed: out of order"]
        assert await keys(storage._bucket) == ["blobs/abc", "parts/abc/0000000000000000"]
        await storage.discard_part("abc")
        assert await keys(storage._bucket) == ["blobs/abc"]


async def test_a_prepared_upload_that_is_not_published_leaves_nothing(s3: str) -> None:
    async with storage_of(s3) as storage:
        part = await large(storage)
        await part.prepare()
        assert await storage._bucket.run(lambda: list(storage._bucket._uploads("blobs/abc"))) == [part._upload]
        await part.discard()
        await part.close()
        assert await keys(storage._bucket) == []
        assert await storage._bucket.run(lambda: list(storage._bucket._uploads("blobs/abc"))) == []
