"""Who may write a part: one call of one process, which says again and again that it is still there."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3.bucket import Bucket, Conflict, Missing
from pygrpc.services.files.storage import PartBusy

_log = logging.getLogger(__name__)


class Lease:
    """An object that exists while somebody writes a part.

    Object stores have no locks that end with a process. But they write an object only if there is none, or only over
    the one that is known (If-None-Match, If-Match), and have a clock: an object that is not written for longer than the
    lease lasts belongs to a process that is dead, and whoever wants it may take it.
    """

    def __init__(self, bucket: Bucket, key: str, seconds: float) -> None:
        """For `take`."""
        self._bucket, self._key, self._seconds = bucket, key, seconds
        self._owner = uuid.uuid4().hex
        self._renewals = 0
        self._etag = ""
        self._end = 0.0
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    async def take(cls, bucket: Bucket, key: str, seconds: float) -> Lease:
        """Takes a lease, and keeps it until `release`.

        Raises:
            PartBusy: Somebody has it.
        """
        lease = cls(bucket, key, seconds)
        begin = lease._now()
        try:
            lease._etag = await bucket.put_new(key, lease._content())
        except Conflict:
            lease._etag = await lease._take_over()
        lease._end = begin + seconds
        lease._renewing = asyncio.create_task(lease._renew())
        return lease

    @property
    def held(self) -> bool:
        """Whether nobody else can have it."""
        return self._now() < self._end

    def check(self) -> None:
        """Raises StoreError if the lease is lost, so that somebody else may be at work."""
        if not self.held:
            raise StoreError("the store could not be reached for too long, and the upload may be another process's now")

    async def release(self) -> None:
        """Gives the lease up."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
        # Otherwise it may be somebody else's by now.
        if self.held:
            await self._bucket.delete((self._key,))

    async def _take_over(self) -> str:
        """Takes the lease from somebody whose time is over."""
        try:
            found = await self._bucket.read(self._key)
            if found.data == self._content():
                # The answer to our own request was lost, and that was sent again.
                return found.etag
            if found.age > self._seconds:
                return await self._bucket.put_over(self._key, self._content(), found.etag)
        except (Conflict, Missing):
            pass
        raise PartBusy(self._key)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            begin = self._now()
            self._renewals += 1
            try:
                try:
                    self._etag = await self._bucket.put_over(self._key, self._content(), self._etag)
                except Conflict:
                    found = await self._bucket.read(self._key)
                    if found.data != self._content():
                        raise
                    self._etag = found.etag
            except (Conflict, Missing):
                _log.error("Another process has taken an upload over.")
                self._end = begin
                return
            except StoreError as error:
                _log.warning("An upload could not be kept for this process: %s", error)
            else:
                self._end = begin + self._seconds

    def _content(self) -> bytes:
        # Differs each time, and so does the entity tag.
        return f"{self._owner} {self._renewals}".encode()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def released(lease: Lease) -> None:
    """Gives a lease up; if that fails, it ends by itself."""
    with suppress(StoreError):
        await lease.release()
