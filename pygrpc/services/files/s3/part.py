"""A part in an object store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3.bucket import Bucket, Conflict, Found, Missing, PastEnd
from pygrpc.services.files.s3.lease import Lease, released
from pygrpc.services.files.storage import PartMissing, StorageFull

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Bytes of a segment. A part that is written has one in memory.
SEGMENT = 8 << 20
#: S3 takes no smaller ones into a multipart upload, but for the last, and not more of them.
_LEAST_SEGMENT = 5 << 20
_MOST_SEGMENTS = 10_000
_PIECE = 1 << 20
#: Copies that the store makes at the same time for one part.
_COPIES = 8


class _Segment(NamedTuple):
    key: str
    etag: str


class S3Part:
    """A Part in segments. Use `open` to make one."""

    def __init__(self, bucket: Bucket, name: str, lease: Lease) -> None:
        """For `open`."""
        self._bucket, self._lease = bucket, lease
        self._folder, self._blob = folder_of(name), blob_key(name)
        self._digest = hashlib.sha256()
        #: Segments that are whole, and what comes after them.
        self._segments: list[_Segment] = []
        self._rest = bytearray()
        #: How much of the rest is stored as a segment too.
        self._stored = 0
        self._upload = ""
        self._etags: list[str] = []
        self._published = False
        self._turn = asyncio.Lock()
        self.size = 0

    @classmethod
    async def open(cls, bucket: Bucket, name: str, size: int, seconds: float) -> S3Part:
        """Goes on with a part after its first `size` bytes. See Storage.open_part."""
        lease = await Lease.take(bucket, lease_key(name), seconds)
        part = cls(bucket, name, lease)
        try:
            await part._load(size)
        except (Missing, PastEnd) as error:
            await released(lease)
            raise StoreError(f"somebody else has changed an upload: {error}") from error
        except BaseException:
            await released(lease)
            raise
        return part

    async def write(self, data: bytes) -> None:
        """See Part."""
        await self._in_turn(self._write(data))

    async def sync(self) -> None:
        """See Part."""
        await self._in_turn(self._sync())

    def checksum(self) -> str:
        """See Part."""
        return self._digest.hexdigest()

    async def prepare(self) -> None:
        """See Part."""
        await self._in_turn(self._prepare())

    async def publish(self) -> None:
        """See Part."""
        await self._in_turn(self._publish())

    async def discard(self) -> None:
        """See Part."""
        await self._in_turn(self._discard())

    async def close(self) -> None:
        """See Part."""
        await self._in_turn(self._close())

    async def _in_turn(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Runs an operation to its end, whatever becomes of the caller, and after those that were begun before."""

        async def locked() -> _T:
            async with self._turn:
                return await operation

        task = asyncio.get_running_loop().create_task(locked())
        # An error is lost if the caller was cancelled, as that of a thread would be.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(task)

    async def _load(self, size: int) -> None:
        """Reads what is there, for the checksum."""
        found = await self._bucket.run(lambda: segments_of(self._bucket, self._folder))
        if found:
            # Somebody may have been killed, or cut off from the store, just before the end.
            await self._bucket.abort_uploads(self._blob)
        kept = []
        for each in found:
            if self.size == size or self._key(self.size) != each.key or self._rest:
                break
            length = min(each.size, size - self.size)
            data = await self._bucket.run(self._hash, each.key, length, length < _LEAST_SEGMENT or length < each.size)
            self.size += length
            kept.append(each.key)
            if data is None:
                self._segments.append(_Segment(each.key, each.etag))
            else:
                self._rest += data
                self._stored = length if length == each.size else 0
        if self.size < size:
            raise PartMissing(self._folder)
        # What is behind the good bytes must not come back when the part is opened the next time.
        await self._bucket.delete([each.key for each in found if each.key not in kept])
        if self._rest:
            await self._sync()

    def _hash(self, key: str, length: int, keep: bool) -> bytes | None:
        """Reads the first bytes of an object; returns them if they are to be kept in memory. Blocks."""
        kept = []
        body = self._bucket.stream(key, 0)
        with body:
            while length:
                piece = body.read(min(_PIECE, length))
                if not piece:
                    raise StoreError("an object is shorter than it was")
                self._digest.update(piece)
                length -= len(piece)
                if keep:
                    kept.append(piece)
        return b"".join(kept) if keep else None

    async def _write(self, data: bytes) -> None:
        self._lease.check()
        if len(self._segments) >= _MOST_SEGMENTS - 1:
            raise StorageFull("files in S3 have a largest size")
        await self._bucket.run(self._digest.update, data)
        self._rest += data
        self.size += len(data)
        if len(self._rest) >= SEGMENT:
            key, etag = await self._put_rest()
            self._segments.append(_Segment(key, etag))
            self._rest.clear()
            self._stored = 0

    async def _sync(self) -> None:
        if self._published or self._stored == len(self._rest):
            return
        self._lease.check()
        await self._put_rest()
        self._stored = len(self._rest)

    async def _put_rest(self) -> _Segment:
        key = self._key(self.size - len(self._rest))
        return _Segment(key, await self._bucket.put(key, bytes(self._rest)))

    async def _discard(self) -> None:
        self._lease.check()
        await remove(self._bucket, self._folder, self._blob)

    async def _prepare(self) -> None:
        self._lease.check()
        if not self._segments:
            # One request makes a blob of it.
            return
        try:
            self._upload = await self._bucket.begin_upload(self._blob)
            self._etags = await self._copied(self._upload)
            if self._rest:
                number, rest = len(self._etags) + 1, bytes(self._rest)
                self._etags.append(await self._bucket.upload_bytes(self._blob, self._upload, number, rest))
        except (Conflict, Missing) as error:
            raise StoreError(f"somebody else has changed an upload: {error}") from error

    async def _copied(self, upload: str) -> list[str]:
        """Has the segments copied into a multipart upload; returns the entity tags of the copies."""
        numbered = iter(enumerate(self._segments, 1))
        etags = [""] * len(self._segments)

        async def copy() -> None:
            for number, segment in numbered:
                etags[number - 1] = await self._bucket.upload_copy(
                    self._blob, upload, number, segment.key, segment.etag
                )

        copying = [asyncio.create_task(copy()) for _ in range(_COPIES)]
        try:
            await asyncio.gather(*copying)
        finally:
            # The others would go on after one has failed.
            for task in copying:
                task.cancel()
            await asyncio.wait(copying)
        return etags

    async def _publish(self) -> None:
        self._lease.check()
        if not self._segments:
            await self._bucket.put(self._blob, bytes(self._rest))
        else:
            try:
                await self._bucket.complete_upload(self._blob, self._upload, self._etags)
            except Missing as error:
                # Either that is done, and its answer was lost, so that it was asked for again; or the upload is gone.
                if not await self._bucket.has(self._blob):
                    raise StoreError(f"an upload can't be completed: {error}") from error
        self._published = True

    async def _close(self) -> None:
        self._rest.clear()
        try:
            if not self._lease.held:
                _log.warning("An upload was in the hands of this process for too long without a word from the store.")
            elif self._published:
                await remove_segments(self._bucket, self._folder)
            elif self._upload:
                await self._bucket.abort_uploads(self._blob)
        except StoreError as error:
            # The file is whole, or its upload can be resumed; the leftovers are removed by the sweep.
            _log.warning("What an upload has left could not be removed: %s", error)
        await released(self._lease)

    def _key(self, start: int) -> str:
        return f"{self._folder}{start:016x}"


def blob_key(name: str) -> str:
    """Returns the key of a blob."""
    return f"blobs/{name}"


def folder_of(name: str) -> str:
    """Returns what the keys of a part begin with."""
    return f"parts/{name}/"


def lease_key(name: str) -> str:
    """Returns the key of the lease of a part."""
    return folder_of(name) + "lease"


def segments_of(bucket: Bucket, folder: str) -> Sequence[Found]:
    """Returns the segments of a part in their order. Blocks; for a thread."""
    return [each for each in bucket.keys(folder) if each.key != folder + "lease"]


async def remove_segments(bucket: Bucket, folder: str) -> None:
    """Removes the segments of a part."""
    found = await bucket.run(lambda: segments_of(bucket, folder))
    await bucket.delete([each.key for each in found])


async def remove(bucket: Bucket, folder: str, blob: str) -> None:
    """Removes all of a part but its lease, which the caller has."""
    await bucket.abort_uploads(blob)
    await remove_segments(bucket, folder)
