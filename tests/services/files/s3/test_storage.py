"""A storage in S3: how it is opened, and how blobs are read."""

from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files.opening import open_files
from pygrpc.services.files.s3.storage import S3Storage
from pygrpc.services.files.storage import BlobMissing
from tests.services import servers
from tests.services.files.s3.support import storage_of
from tests.services.servers.s3 import S3Server

DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("bucket-", "another-"), "NoSuchBucket"),
        (("http://", "ftp://"), "endpoint must begin with"),
        (("127.0.0.1", "127.0.0.1:x"), "cannot be used|Invalid"),
    ],
)
async def test_a_storage_that_cannot_be_used(s3: str, change: tuple[str, str], why: str) -> None:
    with pytest.raises(StoreError, match=why):
        await S3Storage.open(s3.replace(*change))


async def test_a_server_that_is_not_there(s3_server: S3Server, s3: str) -> None:
    absent = s3.replace(s3_server.endpoint, f"http://127.0.0.1:{servers.free_port()}")
    with pytest.raises(StoreError, match=r'^the file storage "s3://bucket-\w+/some/where/" cannot be used: .*connect'):
        await S3Storage.open(absent)


async def test_credentials_that_are_not_there(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StoreError, match=r"cannot be used: Unable to locate credentials"):
        await S3Storage.open(s3)


async def test_a_store_without_conditional_requests(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage_of(s3) as storage:
        monkeypatch.setattr(storage._bucket, "put_new", storage._bucket.put)
        with pytest.raises(StoreError, match="it takes no conditional requests"):
            await storage.claim("mine")


async def test_a_catalog_of_its_own(s3: str, tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="files in S3 need a database for their catalog"):
        async with open_files(s3):
            raise AssertionError
    async with open_files(s3, database=str(tmp_path / "one.db")) as files:
        await files.storage.check()
    async with open_files(s3, database=str(tmp_path / "one.db")):
        pass
    with pytest.raises(StoreError, match=r"the file storage .* cannot be used: it belongs to another catalog"):
        async with open_files(s3, database=str(tmp_path / "two.db")):
            raise AssertionError


async def test_a_blob_is_read_over_one_connection(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage_of(s3) as storage:
        await storage._bucket.put("blobs/abc", DATA)
        stream = storage._bucket.stream
        offsets = []

        def counted(key: str, offset: int) -> Any:
            offsets.append(offset)
            return stream(key, offset)

        monkeypatch.setattr(storage._bucket, "stream", counted)
        blob = await storage.open_blob("abc")
        assert b"".join([await blob.read(start, 1000) for start in range(0, len(DATA), 1000)]) == DATA
        assert offsets == [0]
        assert await blob.read(17, 3) == DATA[17:20]
        assert await blob.read(20, 3) == DATA[20:23]
        assert offsets == [0, 17]
        # The connection breaks.
        monkeypatch.setattr(blob._body, "read", lambda length: 1 / 0)
        assert await blob.read(23, 3) == DATA[23:26]
        assert offsets == [0, 17, 23]
        blob.close()


async def test_a_blob_that_is_removed_meanwhile(s3: str) -> None:
    async with storage_of(s3) as storage:
        with pytest.raises(BlobMissing):
            await storage.open_blob("abc")
        await storage._bucket.put("blobs/abc", DATA)
        blob = await storage.open_blob("abc")
        await storage.remove_blob("abc")
        with pytest.raises(BlobMissing):
            await blob.read(0, 1)
        blob.close()
