"""A storage in one bucket, and its blobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3 import address
from pygrpc.services.files.s3.bucket import Bucket, Conflict, Missing, PastEnd
from pygrpc.services.files.s3.lease import Lease, released
from pygrpc.services.files.s3.part import S3Part, blob_key, folder_of, lease_key, remove
from pygrpc.services.files.storage import BlobMissing

#: So long a part that was being written is taken for that of a live process, in seconds.
LEASE = 30.0
_CATALOG = "catalog"
_BLOBS = "blobs/"
_PARTS = "parts/"


class S3Storage:
    """A Storage in an S3-compatible object store. Use `open` to make one.

    The store has to make conditional requests (If-None-Match and If-Match of PutObject). What a process that was killed
    was writing is busy for LEASE seconds.
    """

    def __init__(self, bucket: Bucket, lease: float) -> None:
        """For `open`."""
        self._bucket = bucket
        self._lease = lease

    @classmethod
    async def open(cls, url: str, *, lease: float = LEASE) -> S3Storage:
        """Uses a bucket, which must exist.

        Args:
            url: See `address.parse`.
            lease: See LEASE.

        Raises:
            StoreError: It cannot be used; the text says why.
        """
        where = address.parse(url)
        try:
            bucket = await asyncio.to_thread(Bucket, where)
            storage = cls(bucket, lease)
            try:
                await storage.check()
            except BaseException:
                await storage.close()
                raise
        except (StoreError, Missing, Conflict) as error:
            raise StoreError(f'the file storage "{where}" cannot be used: {error}') from error
        return storage

    async def claim(self, catalog: str) -> None:
        """See Storage."""
        try:
            await self._bucket.put_new(_CATALOG, catalog.encode())
        except Conflict:
            if (await self._bucket.read(_CATALOG)).data != catalog.encode():
                raise StoreError("it belongs to another catalog of files, in another database") from None
        try:
            await self._bucket.put_new(_CATALOG, catalog.encode())
        except Conflict:
            return
        raise StoreError("it takes no conditional requests, without which one upload might be written twice")

    async def open_part(self, name: str, size: int) -> S3Part:
        """See Storage."""
        return await S3Part.open(self._bucket, name, size, self._lease)

    async def discard_part(self, name: str) -> None:
        """See Storage."""
        lease = await Lease.take(self._bucket, lease_key(name), self._lease)
        try:
            await remove(self._bucket, folder_of(name), blob_key(name))
        finally:
            await released(lease)

    async def open_blob(self, name: str) -> S3Blob:
        """See Storage."""
        if not await self._bucket.has(blob_key(name)):
            raise BlobMissing(name)
        return S3Blob(self._bucket, name)

    async def remove_blob(self, name: str) -> None:
        """See Storage."""
        await self._bucket.delete((blob_key(name),))

    def part_names(self) -> Iterator[str]:
        """See Storage."""
        return self._bucket.folders(_PARTS)

    def blob_names(self) -> Iterator[str]:
        """See Storage."""
        for each in self._bucket.keys(_BLOBS):
            yield each.key.removeprefix(_BLOBS)

    async def check(self) -> None:
        """See Storage."""
        await self._bucket.check()

    async def close(self) -> None:
        """See Storage."""
        await self._bucket.close()


class S3Blob:
    """A Blob that comes over one connection as long as it is read in order."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        """Makes it without a request."""
        self._bucket, self._name = bucket, name
        self._body: Any = None
        self._position = 0
        # A task that is cancelled does not wait for its thread.
        self._lock = threading.Lock()

    async def read(self, offset: int, length: int) -> bytes:
        """See Blob."""
        return await self._bucket.run(self._read, offset, length)

    def close(self) -> None:
        """See Blob."""

        def locked() -> None:
            with self._lock:
                self._drop()

        self._bucket.submit(locked)

    def _read(self, offset: int, length: int) -> bytes:
        with self._lock:
            if self._body is not None and self._position == offset:
                try:
                    return self._next(length)
                except Exception:
                    # A store may drop the connection of a slow reader; the rest comes over another one.
                    self._drop()
            self._drop()
            try:
                self._body = self._bucket.stream(blob_key(self._name), offset)
            except Missing:
                raise BlobMissing(self._name) from None
            except PastEnd:
                return b""
            self._position = offset
            return self._next(length)

    def _next(self, length: int) -> bytes:
        data: bytes = self._body.read(length)
        self._position += len(data)
        return data

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
