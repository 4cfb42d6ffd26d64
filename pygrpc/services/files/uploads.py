"""The life of an upload: begun, interrupted, resumed, finished or given up."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from pygrpc.services.errors import StoreError
from pygrpc.services.files import errors
from pygrpc.services.files.catalog import DatabaseCatalog
from pygrpc.services.files.errors import Rejected
from pygrpc.services.files.schema import StoredFile, Upload
from pygrpc.services.files.storage import Part, PartBusy, PartMissing, Storage
from pygrpc.services.files.validation import Limits

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_BATCH = 500
# An upload that is so old, and that nobody has in hand, is none that is about to begin.
_YOUNG_SECONDS = 60.0


class Announced(NamedTuple):
    """What the client says about the file that it uploads.

    Attributes:
        file_id: Empty if the server shall choose.
        owner: Who uploads it.
        size: In bytes; None if the client does not say.
        checksum: SHA-256 in hexadecimal; empty if the client does not say.
        offset: So many bytes are stored already.
        resumable: Whether what has arrived is kept if the call breaks off.
    """

    file_id: str
    owner: str
    filename: str
    content_type: str
    visibility: int
    size: int | None = None
    checksum: str = ""
    offset: int = 0
    resumable: bool = True


class Receiver:
    """Takes the bytes of one upload."""

    def __init__(
        self, catalog: DatabaseCatalog, upload: Upload, part: Part, announced: Announced, limits: Limits
    ) -> None:
        """For Uploads.receive."""
        self.upload = upload
        self._catalog = catalog
        self._part = part
        self._announced = announced
        self._limits = limits
        self._durable = part.size
        self._finishing: asyncio.Task[StoredFile] | None = None

    @property
    def size(self) -> int:
        """How many bytes have arrived, those of earlier calls included."""
        return self._part.size

    async def write(self, data: bytes) -> None:
        """Appends bytes.

        Raises:
            Rejected: These are more than there may be.
        """
        size = self._part.size + len(data)
        if size > self._limits.file_size:
            raise errors.file_too_large(self._limits.file_size)
        if self._announced.size is not None and size > self._announced.size:
            raise errors.size_mismatch(self._announced.size, size)
        if data:
            await self._part.write(data)
        if size - self._durable >= self._limits.checkpoint_size:
            await self._checkpoint()

    async def finish(self, checksum: str = "") -> StoredFile:
        """Makes a file of what has arrived; once begun, that is done even if the call is cancelled.

        Args:
            checksum: SHA-256 in hexadecimal, if the client has said it after the beginning.

        Raises:
            Rejected: It is not what was announced.
        """
        self._finishing = asyncio.get_running_loop().create_task(self._finish(checksum))
        return await asyncio.shield(self._finishing)

    async def end(self, keep: bool) -> None:
        """Lets go of the upload, and of what has arrived unless that is kept for later."""
        if self._finishing is not None:
            await asyncio.wait((self._finishing,))
        done = self._finishing is not None and not self._finishing.cancelled() and not self._finishing.exception()
        try:
            if keep and not done:
                await self._checkpoint()
            elif not done:
                await self._part.discard()
                await self._catalog.forget(self.upload)
        finally:
            await self._part.close()

    async def _finish(self, checksum: str) -> StoredFile:
        announced, part = self._announced, self._part
        if announced.size is not None and part.size != announced.size:
            raise errors.size_mismatch(announced.size, part.size)
        computed = part.checksum()
        for given in (announced.checksum, checksum):
            if given and given.lower() != computed:
                raise errors.checksum_mismatch(given.lower(), computed)
        await part.prepare()
        file = StoredFile(
            self.upload.file_id,
            announced.owner,
            announced.filename,
            part.size,
            announced.content_type,
            computed,
            announced.visibility,
            0,
            self.upload.part,
        )
        return await self._catalog.complete(self.upload, file, part.publish)

    async def _checkpoint(self) -> None:
        size = self._part.size
        await self._part.sync()
        await self._catalog.note(self.upload, size)
        self._durable = size


class Uploads:
    """All uploads to one storage."""

    def __init__(self, catalog: DatabaseCatalog, storage: Storage, limits: Limits) -> None:
        """Makes it on an open catalog and an open storage, which the caller closes afterwards."""
        self._catalog = catalog
        self._storage = storage
        self._limits = limits
        self._running: set[asyncio.Task[Any]] = set()
        self._receiving = 0

    @property
    def receiving(self) -> int:
        """How many calls send an upload at the moment."""
        return self._receiving

    @asynccontextmanager
    async def receive(self, announced: Announced) -> AsyncIterator[Receiver]:
        """Begins an upload or goes on with one, for as long as the context is open.

        Raises:
            RequestError: It cannot be begun, or not with this offset.
            PartBusy: Another call sends it.
        """
        if (announced.size or 0) > self._limits.file_size:
            raise errors.file_too_large(self._limits.file_size)
        receiver = await self._begin_whole(announced)
        keep = announced.resumable
        self._receiving += 1
        try:
            yield receiver
        except Rejected:
            keep = False
            raise
        finally:
            self._receiving -= 1
            await asyncio.shield(self._start(receiver.end(keep)))

    async def cancel(self, file_id: str, owner: str) -> None:
        """Gives an unfinished upload up.

        Raises:
            RequestError: There is none, or it is somebody else's.
            PartBusy: A call sends it.
        """
        await self._discard(await self._catalog.upload(file_id, owner))

    async def remove_abandoned(self) -> int:
        """Removes the uploads that nobody has gone on with for long, and returns how many these were."""
        before = self._catalog.now() - int(self._limits.abandoned_seconds * 1_000_000)
        return await self._discard_idle(await self._catalog.abandoned(before))

    async def sweep(self) -> None:
        """Removes what a server that was killed has left behind. Does no harm to other processes that are at work."""
        await self._discard_idle(await self._catalog.not_resumable())
        await self.remove_abandoned()
        await self._remove_unknown_parts()
        for names in await asyncio.to_thread(_batches, self._storage.blob_names()):
            await self._catalog.remove_unknown_blobs(names, self._storage.remove_blob)

    async def clean_up(self, interval: float) -> None:
        """Removes abandoned uploads every `interval` seconds until it is cancelled.

        And those whose process was killed, which may still have been in its hands when this process began.
        """
        while True:
            await asyncio.sleep(interval)
            try:
                removed = await self.remove_abandoned()
                before = self._catalog.now() - int(_YOUNG_SECONDS * 1_000_000)
                lone = [each for each in await self._catalog.not_resumable() if each.changed_at < before]
                removed += await self._discard_idle(lone)
                await self._remove_unknown_parts()
            except StoreError as error:
                _log.error("Abandoned uploads could not be removed: %s", error)
                continue
            if removed:
                _log.info("Removed %d abandoned uploads.", removed)

    async def close(self) -> None:
        """Waits for the ends of uploads whose calls are over."""
        while self._running:
            await asyncio.wait(self._running)

    async def _begin_whole(self, announced: Announced) -> Receiver:
        """Begins; and ends again if the call is cancelled meanwhile, as the part would be locked for ever."""
        beginning = self._start(self._begin(announced))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            self._start(self._undo(beginning, announced.resumable))
            raise

    async def _undo(self, beginning: asyncio.Task[Receiver], keep: bool) -> None:
        await asyncio.wait((beginning,))
        if beginning.exception() is None:
            try:
                await beginning.result().end(keep)
            except StoreError as error:
                _log.error("An upload that was cancelled at its beginning could not be stored: %s", error)

    async def _begin(self, announced: Announced) -> Receiver:
        upload = await self._catalog.begin(
            announced.file_id, announced.owner, announced.offset, announced.resumable, self._limits
        )
        try:
            part = await self._storage.open_part(upload.part, announced.offset)
        except PartMissing:
            await self._catalog.note(upload, 0)
            raise errors.offset_beyond_upload(0) from None
        return Receiver(self._catalog, upload, part, announced, self._limits)

    async def _remove_unknown_parts(self) -> None:
        for names in await asyncio.to_thread(_batches, self._storage.part_names()):
            for name in await self._catalog.unknown_parts(names):
                try:
                    await self._storage.discard_part(name)
                except PartBusy:
                    continue

    async def _discard(self, upload: Upload) -> None:
        await self._storage.discard_part(upload.part)
        await self._catalog.forget(upload)

    async def _discard_idle(self, found: list[Upload]) -> int:
        removed = 0
        for upload in found:
            try:
                await self._discard(upload)
            except PartBusy:
                continue
            removed += 1
        return removed

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def _batches(names: Iterator[str]) -> list[list[str]]:
    found = []
    while batch := list(itertools.islice(names, _BATCH)):
        found.append(batch)
    return found


async def in_time(messages: AsyncIterator[_T], seconds: float) -> AsyncGenerator[_T, None]:
    """Iterates over the messages of a client, each of which must come within so many seconds.

    Raises:
        RequestError: UPLOAD_IDLE.
    """
    iterator = aiter(messages)
    while True:
        try:
            async with asyncio.timeout(seconds):
                message = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise errors.upload_idle(seconds) from None
        yield message
