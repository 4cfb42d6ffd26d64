"""What every storage has to do: parts that become blobs, in a folder and in S3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files.folder import LocalFolder
from pygrpc.services.files.s3.storage import S3Storage
from pygrpc.services.files.storage import BlobMissing, PartBusy, PartMissing, Storage
from tests.services.files.support import Place, sha256

MIB = 1 << 20


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Storage]:
    where = place.url
    storage: Storage = await (LocalFolder.open(where) if isinstance(where, Path) else S3Storage.open(where))
    try:
        yield storage
    finally:
        await storage.close()


async def names(storage: Storage) -> tuple[list[str], list[str]]:
    """Returns the names of the parts and of the blobs."""
    return await asyncio.to_thread(lambda: (sorted(storage.part_names()), sorted(storage.blob_names())))


async def stored(storage: Storage, name: str, *pieces: bytes) -> None:
    part = await storage.open_part(name, 0)
    for piece in pieces:
        await part.write(piece)
    await part.prepare()
    await part.publish()
    await part.close()


async def content(storage: Storage, name: str, step: int = MIB) -> bytes:
    """Reads a blob to its end."""
    blob, data = await storage.open_blob(name), b""
    while piece := await blob.read(len(data), step):
        data += piece
    blob.close()
    return data


async def test_a_part_becomes_a_blob(place: Place) -> None:
    async with opened(place) as storage:
        await storage.check()
        part = await storage.open_part("abc", 0)
        await part.write(b"hello ")
        await part.write(b"world")
        assert (part.size, part.checksum()) == (11, sha256(b"hello world"))
        assert await names(storage) == (["abc"], [])
        with pytest.raises(BlobMissing):
            await storage.open_blob("abc")
        await part.sync()
        await part.prepare()
        assert (await names(storage))[1] == []
        await part.publish()
        await part.close()
        assert await names(storage) == ([], ["abc"])
        blob = await storage.open_blob("abc")
        found = [await blob.read(*where) for where in ((6, 100), (0, 5), (5, 1), (11, 1))]
        assert found == [b"world", b"hello", b" ", b""]
        blob.close()
        await storage.remove_blob("abc")
        await storage.remove_blob("abc")
        assert await names(storage) == ([], [])


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 20 * MIB + 7])
async def test_a_part_of_any_size(place: Place, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    async with opened(place) as storage:
        await stored(storage, "abc", *(data[start : start + MIB] for start in range(0, size, MIB)))
        assert await content(storage, "abc") == data
        assert await names(storage) == ([], ["abc"])


async def test_a_part_is_gone_on_with(place: Place) -> None:
    async with opened(place) as storage:
        part = await storage.open_part("abc", 0)
        await part.write(b"hello world")
        await part.sync()
        await part.close()
        assert await names(storage) == (["abc"], [])
        part = await storage.open_part("abc", 6)
        await part.write(b"all")
        assert part.checksum() == sha256(b"hello all")
        await part.sync()
        await part.close()
        for name, size in (("abc", 10), ("none", 1)):
            with pytest.raises(PartMissing):
                await storage.open_part(name, size)
        part = await storage.open_part("abc", 9)
        assert part.checksum() == sha256(b"hello all")
        await part.discard()
        await part.close()
        assert await names(storage) == ([], [])


@pytest.mark.parametrize("kept", [0, 1, 8 * MIB, 9 * MIB + 5, 18 * MIB])
async def test_a_large_part_is_gone_on_with(place: Place, kept: int) -> None:
    first, second = b"a" * (18 * MIB), b"b" * (9 * MIB)
    async with opened(place) as storage:
        part = await storage.open_part("abc", 0)
        for start in range(0, len(first), MIB):
            await part.write(first[start : start + MIB])
            if start == 4 * MIB:
                # In the middle of what is written at a time.
                await part.sync()
        await part.sync()
        await part.close()
        part = await storage.open_part("abc", kept)
        assert part.size == kept
        for start in range(0, len(second), MIB):
            await part.write(second[start : start + MIB])
        expected = first[:kept] + second
        assert part.checksum() == sha256(expected)
        await part.prepare()
        await part.publish()
        await part.close()
        assert sha256(await content(storage, "abc")) == sha256(expected)
        assert await names(storage) == ([], ["abc"])


async def test_a_part_belongs_to_one_at_a_time(place: Place) -> None:
    async with opened(place) as storage, opened(place) as other:
        part = await storage.open_part("abc", 0)
        for each in (storage, other):
            with pytest.raises(PartBusy):
                await each.open_part("abc", 0)
            with pytest.raises(PartBusy):
                await each.discard_part("abc")
        await part.write(b"x")
        await part.sync()
        await part.close()
        await other.discard_part("abc")
        await other.discard_part("abc")
        assert await names(storage) == ([], [])


async def test_a_write_that_is_cancelled_is_done_or_not(place: Place) -> None:
    async with opened(place) as storage:
        part = await storage.open_part("abc", 0)
        writing = asyncio.create_task(part.write(b"hello"))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait((writing,))
        await part.sync()
        assert (part.size, part.checksum()) in ((5, sha256(b"hello")), (0, sha256(b"")))
        await part.close()


async def test_a_storage_belongs_to_one_catalog(place: Place) -> None:
    async with opened(place) as storage, opened(place) as other:
        await asyncio.gather(storage.claim("mine"), other.claim("mine"))
        await storage.claim("mine")
        with pytest.raises(StoreError, match="belongs to another catalog"):
            await other.claim("yours")
        assert await names(storage) == ([], [])
